//! Metrics: what is measured ([`catalogue`]), and the [`Monitor`] that records it and renders it for Prometheus. Nothing
//! here knows HTTP or recommending: the server records into it at the places where things happen.
//!
//! Invariant: a label never holds a user id, an item id or a raw path, so the number of series is bounded by the code.

pub mod catalogue;
mod definition;
mod monitor;
mod process;

pub use definition::{CounterMetric, Definition, GaugeMetric, HistogramMetric, Kind};
pub use monitor::Monitor;
