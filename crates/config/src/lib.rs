//! Tastemaker: config.
