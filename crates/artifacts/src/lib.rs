//! Tastemaker: artifacts.
