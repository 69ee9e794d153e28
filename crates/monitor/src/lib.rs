//! Tastemaker: monitor.
