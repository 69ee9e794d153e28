//! Tastemaker: expr.
