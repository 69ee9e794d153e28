//! Tastemaker: models.
