//! What `demo` brings along.

pub(crate) mod data;
