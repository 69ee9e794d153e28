//! What a metric is: a name, a help text, label names, and for a histogram its bucket bounds. The number of labels is
//! part of the type, so a metric cannot be recorded with a label missing.

/// What a metric does over time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts observations by size; these are the upper bounds of its buckets, ascending, in the metric's unit.
    Histogram(&'static [f64]),
}

impl Kind {
    /// As Prometheus writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram(_) => "histogram",
        }
    }
}

/// One metric, whatever its kind.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Definition {
    /// Its name, with the unit and, for a counter, `_total` at the end.
    pub name: &'static str,
    /// One sentence.
    pub help: &'static str,
    /// The names of its labels, in the order in which values are given.
    pub labels: &'static [&'static str],
    /// Counter, gauge or histogram.
    pub kind: Kind,
}

/// A counter with `N` labels.
#[derive(Debug)]
pub struct CounterMetric<const N: usize>(pub(crate) Definition);

/// A gauge with `N` labels.
#[derive(Debug)]
pub struct GaugeMetric<const N: usize>(pub(crate) Definition);

/// A histogram with `N` labels.
#[derive(Debug)]
pub struct HistogramMetric<const N: usize>(pub(crate) Definition);

/// How many labels a list has; gives an empty list its type.
pub(crate) const fn label_count(labels: &[&str]) -> usize {
    labels.len()
}

/// Declares metrics as statics and lists all of them, in one place, so that the list cannot drift.
macro_rules! metrics {
    (@type counter $labels:expr) => { CounterMetric<{ label_count(&$labels) }> };
    (@type gauge $labels:expr) => { GaugeMetric<{ label_count(&$labels) }> };
    (@type histogram $labels:expr) => { HistogramMetric<{ label_count(&$labels) }> };
    (@new counter $definition:expr) => { CounterMetric($definition) };
    (@new gauge $definition:expr) => { GaugeMetric($definition) };
    (@new histogram $definition:expr) => { HistogramMetric($definition) };
    (@kind counter) => { Kind::Counter };
    (@kind gauge) => { Kind::Gauge };
    (@kind histogram $buckets:expr) => { Kind::Histogram($buckets) };
    ($($(#[doc = $help:literal])+ $kind:ident $ident:ident = $name:literal $labels:expr $(, $buckets:expr)?;)+) => {
        $(
            $(#[doc = $help])+
            pub static $ident: metrics!(@type $kind $labels) = metrics!(@new $kind Definition {
                name: $name,
                help: concat!($($help),+).trim_ascii(),
                labels: &$labels,
                kind: metrics!(@kind $kind $($buckets)?),
            });
        )+
        /// Every metric there is, in the order of the documentation.
        pub static ALL: &[&Definition] = &[$(&$ident.0),+];
    };
}
pub(crate) use metrics;
