//! Tastemaker: api.
