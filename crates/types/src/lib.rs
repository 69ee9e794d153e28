//! The words that every other crate shares: ids, attribute values, events, log records, time, windows, and the
//! "did you mean" helper. Nothing here does I/O, and nothing here knows about storage, models or HTTP.

pub mod attribute;
pub mod feature;
pub mod id;
pub mod property;
pub mod record;
mod rfc3339;
pub mod size;
pub mod suggest;
pub mod time;

pub use attribute::{AttributeError, AttributeSchema, AttributeType, Attributes, Value};
pub use feature::{FeatureRow, FeatureValue};
pub use id::{IdError, MAX_ID_BYTES, validate_id};
pub use property::{MAX_PROPERTIES, PropertyError, check_properties};
pub use record::{EntityUpsert, Event, Position, Record, Served, ServedFeatures, ServedItem, UpsertMode};
pub use size::{MAX_RECORD_BYTES, TooLarge};
pub use suggest::{did_you_mean, nearest};
pub use time::{TimeError, Timestamp, Window};
