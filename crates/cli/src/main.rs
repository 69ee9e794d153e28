//! The `tastemaker` binary.
fn main() {}
