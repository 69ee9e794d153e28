//! Tastemaker: features.
