//! Matrices in, models out: implicit-feedback factorisation, exact fold-in of a history at request time, and
//! ranking metrics. No I/O but a matrix file format, no async, no product types: users and items are row numbers.
//!
//! ```
//! use std::ops::ControlFlow;
//! use tastemaker_models::{Als, Factorizer, Interactions};
//!
//! // (user, item, weight); repeated pairs add up.
//! let data = Interactions::from_triplets(2, 3, [(0, 0, 1.0), (0, 1, 1.0), (1, 1, 1.0), (1, 2, 5.0)])?;
//! let model = Als { rank: 4, ..Als::default() }.fit(&data, &mut |_| ControlFlow::Continue(()))?;
//!
//! // A user who just clicked item 0: the vector training would have given them.
//! let vector = model.encoder.user_vector(&model.item_factors, &[(0, 1.0)])?;
//! let score = |item: usize| vector.iter().zip(model.item_factors.row(item)).map(|(a, b)| a * b).sum::<f32>();
//! assert!(score(1) > score(2));
//! # Ok::<(), tastemaker_models::ModelError>(())
//! ```
//!
//! The way through: [`Interactions`] → a [`Factorizer`] ([`Als`] or [`NormalizedSvd`]) → a [`Factorization`], whose
//! [`Matrix`] of item factors and [`QueryEncoder`] are all that serving needs. [`top_items`] ranks a whole catalog
//! for many users at once and [`metrics`] scores the rankings.
//!
//! Results are the same bit for bit whatever the number of threads: rows are solved independently, and sums over
//! rows are cut into fixed blocks that are added in order. They may differ between kinds of CPU, since the kernels
//! are chosen at run time.

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
