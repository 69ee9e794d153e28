//! Tastemaker: log.
