//! Tastemaker: testkit.
