//! SQL scalar expressions over Arrow batches: one text is parsed and type-checked once against a [`Schema`], folded, and
//! then evaluated by vectorised kernels over any number of rows. Filters, boosts, eligibility rules and row-level
//! features are all written in this language (described in `docs/expressions.md`). Nothing here reads data, and nothing
//! here knows what an item or a user is.
//!
//! ```
//! use arrow_array::{Float64Array, RecordBatch};
//! use tastemaker_expr::{Expr, Params, Schema};
//! use tastemaker_types::{AttributeSchema, AttributeType, Timestamp};
//!
//! let attributes = AttributeSchema::new([("price".to_owned(), AttributeType::Number)]);
//! let schema = Schema::for_attributes(&attributes).with_default_qualifier("item");
//! let params = Params::at(Timestamp::now()).with("max", 200.0);
//! let filter = Expr::compile("item.price < :max", &schema, &params)?;
//!
//! let prices = Float64Array::from(vec![Some(9.5), Some(500.0), None]);
//! let batch = RecordBatch::try_from_iter([("price", std::sync::Arc::new(prices) as _)]).unwrap();
//! assert_eq!(filter.filter(&batch)?.true_count(), 1);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod ast;
mod error;
mod eval;
mod expr;
mod fold;
mod functions;
mod interval;
mod like;
mod list;
mod params;
mod parser;
mod render;
mod schema;
mod typing;

pub use ast::{Ast, Comparison, Literal, Operator};
pub use error::{EvalError, ExprError, Problem};
pub use expr::{Columns, Expr};
pub use functions::Function;
pub use like::LikePattern;
pub use list::InList;
pub use params::{Bind, Params};
pub use schema::{Column, Kind, Schema, arrow_type};

/// The longest expression, in bytes.
pub const MAX_BYTES: usize = 32 * 1024;
/// The deepest nesting of an expression; a chain such as `a + b + c` nests once for each operator, `AND` and `OR`
/// chains do not.
pub const MAX_DEPTH: u16 = 64;
/// The most operators, columns and constants in one expression.
pub const MAX_NODES: usize = 2_048;
/// The most values in one `IN` list, written out or bound.
pub const MAX_LIST: usize = 4_096;
/// The longest `LIKE` pattern, in bytes: matching costs at most the text's length times the longest run between two `%`.
pub const MAX_PATTERN_BYTES: usize = 256;
