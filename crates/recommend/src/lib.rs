//! Tastemaker: recommend.
