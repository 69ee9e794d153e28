//! Matrices in, models out: implicit-feedback factorisation, exact fold-in of a history at request time, and
//! ranking metrics. No I/O but a matrix file format, no async, no product types: users and items are row numbers.
mod als;
mod encoder;
mod error;
mod factorizer;
mod gram;
mod interactions;
mod kernels;
mod matrix;
pub mod metrics;
mod ranking;
mod svd;

pub use als::{Als, MAX_RANK, Solver, reference};
pub use encoder::QueryEncoder;
pub use error::{ModelError, Side};
pub use factorizer::{EarlyStopping, Factorization, Factorizer, Factors, Progress};
pub use interactions::{Csr, Interactions};
pub use matrix::{MATRIX_HEADER_LEN, Matrix, SharedBytes};
pub use ranking::top_items;
pub use svd::NormalizedSvd;
