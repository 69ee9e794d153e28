//! Tastemaker: server.
