//! Tastemaker: training.
