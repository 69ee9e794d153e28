//! Tastemaker: store.
