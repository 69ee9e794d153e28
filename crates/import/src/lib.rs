//! Tastemaker: import.
