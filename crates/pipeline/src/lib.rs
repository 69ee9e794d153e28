//! Tastemaker: pipeline.
