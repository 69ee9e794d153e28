//! The recorder. One [`Monitor`] per engine, passed by reference: no process-wide recorder, so that two engines in one
//! process (as in tests) do not mix their figures.

use std::time::{Duration, Instant};

use metrics::{Key, Label, Level, Metadata, Recorder};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder};

use crate::definition::{CounterMetric, Definition, GaugeMetric, HistogramMetric, Kind};
use crate::{catalogue, process};

const METADATA: Metadata<'static> = Metadata::new("tastemaker", Level::INFO, None);

/// Records metrics and renders them in the Prometheus text format.
pub struct Monitor {
    recorder: PrometheusRecorder,
    handle: PrometheusHandle,
    started: Instant,
}

impl Default for Monitor {
    fn default() -> Self {
        Self::new()
    }
}

impl Monitor {
    /// With every metric of the [`catalogue`] described, and those without labels present from the start.
    pub fn new() -> Self {
        let mut builder = PrometheusBuilder::new();
        for definition in catalogue::ALL {
            if let Kind::Histogram(bounds) = definition.kind {
                // Fails for an empty list of bounds alone, which a test of the catalogue excludes.
                builder = match builder.set_buckets_for_metric(Matcher::Full(definition.name.to_owned()), bounds) {
                    Ok(builder) => builder,
                    Err(_) => PrometheusBuilder::new(),
                };
            }
        }
        let recorder = builder.build_recorder();
        let handle = recorder.handle();
        for definition in catalogue::ALL {
            let (name, help) = (definition.name.into(), definition.help.into());
            let bare = definition.labels.is_empty().then(|| Key::from_static_name(definition.name));
            match definition.kind {
                Kind::Counter => {
                    recorder.describe_counter(name, None, help);
                    bare.iter().for_each(|key| recorder.register_counter(key, &METADATA).increment(0));
                }
                Kind::Gauge => {
                    recorder.describe_gauge(name, None, help);
                    bare.iter().for_each(|key| recorder.register_gauge(key, &METADATA).set(0.0));
                }
                Kind::Histogram(_) => {
                    recorder.describe_histogram(name, None, help);
                    bare.iter().for_each(|key| drop(recorder.register_histogram(key, &METADATA)));
                }
            }
        }
        Self { recorder, handle, started: Instant::now() }
    }

    /// Adds `by` to a counter.
    pub fn count<const N: usize>(&self, metric: &CounterMetric<N>, labels: [&str; N], by: u64) {
        if by > 0 {
            self.recorder.register_counter(&key(&metric.0, labels), &METADATA).increment(by);
        }
    }

    /// Raises a counter that something else counts to its present total.
    pub fn count_to<const N: usize>(&self, metric: &CounterMetric<N>, labels: [&str; N], total: u64) {
        self.recorder.register_counter(&key(&metric.0, labels), &METADATA).absolute(total);
    }

    /// Sets a gauge.
    pub fn set<const N: usize>(&self, metric: &GaugeMetric<N>, labels: [&str; N], value: f64) {
        self.recorder.register_gauge(&key(&metric.0, labels), &METADATA).set(value);
    }

    /// Moves a gauge by `delta`.
    pub fn adjust<const N: usize>(&self, metric: &GaugeMetric<N>, labels: [&str; N], delta: f64) {
        self.recorder.register_gauge(&key(&metric.0, labels), &METADATA).increment(delta);
    }

    /// Observes a duration.
    pub fn observe<const N: usize>(&self, metric: &HistogramMetric<N>, labels: [&str; N], duration: Duration) {
        self.recorder.register_histogram(&key(&metric.0, labels), &METADATA).record(duration.as_secs_f64());
    }

    /// Runs `work` so that what it records with the `metrics` macros, on this thread, lands here.
    pub fn within<T>(&self, work: impl FnOnce() -> T) -> T {
        metrics::with_local_recorder(&self.recorder, work)
    }

    /// Everything in the Prometheus text format, with the figures of the process taken now.
    pub fn render(&self) -> String {
        self.set(&catalogue::UPTIME_SECONDS, [], self.started.elapsed().as_secs_f64());
        if let Some(usage) = process::usage() {
            self.set(&catalogue::MEMORY_BYTES, [], usage.resident_bytes as f64);
            self.set(&catalogue::OPEN_FILES, [], usage.open_files as f64);
        }
        self.handle.render()
    }

    /// Folds observations into their buckets. Call it every few seconds: they pile up in memory otherwise until someone
    /// asks for [`Monitor::render`].
    pub fn upkeep(&self) {
        self.handle.run_upkeep();
    }
}

fn key<const N: usize>(definition: &Definition, labels: [&str; N]) -> Key {
    if N == 0 {
        return Key::from_static_name(definition.name);
    }
    let labels: Vec<Label> =
        definition.labels.iter().zip(labels).map(|(name, value)| Label::new(*name, value.to_owned())).collect();
    Key::from_parts(definition.name, labels)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line<'a>(text: &'a str, start: &str) -> &'a str {
        text.lines().find(|l| l.starts_with(start)).unwrap_or_else(|| panic!("no {start} in\n{text}"))
    }

    #[test]
    fn a_new_monitor_shows_its_metrics_before_anything_happens() {
        let text = Monitor::new().render();
        assert_eq!(line(&text, "tastemaker_served_log_dropped_total "), "tastemaker_served_log_dropped_total 0");
        assert!(text.contains("# HELP tastemaker_log_lag_records Records appended but not applied yet."));
        assert!(text.contains("# TYPE tastemaker_log_commit_duration_seconds histogram"));
    }

    #[test]
    fn requests_land_in_their_buckets_and_counters() {
        let monitor = Monitor::new();
        let labels = ["/v1/users/{id}", "GET", "404"];
        for millis in [1, 99, 101] {
            monitor.count(&catalogue::HTTP_REQUESTS, labels, 1);
            monitor.observe(&catalogue::HTTP_SECONDS, labels, Duration::from_millis(millis));
        }
        let text = monitor.render();
        let labels = r#"route="/v1/users/{id}",method="GET",status="404""#;
        assert!(line(&text, &format!("tastemaker_http_requests_total{{{labels}}}")).ends_with(" 3"));
        let bucket = |le: &str| format!("tastemaker_http_request_duration_seconds_bucket{{{labels},le=\"{le}\"}}");
        assert!(line(&text, &bucket("0.1")).ends_with(" 2"));
        assert!(line(&text, &bucket("0.15")).ends_with(" 3"));
    }

    #[test]
    fn two_monitors_do_not_mix() {
        let (one, other) = (Monitor::new(), Monitor::new());
        one.count(&catalogue::SERVED_DROPPED, [], 5);
        assert!(line(&one.render(), "tastemaker_served_log_dropped_total").ends_with(" 5"));
        assert!(line(&other.render(), "tastemaker_served_log_dropped_total").ends_with(" 0"));
    }

    #[test]
    fn the_process_is_measured() {
        let text = Monitor::new().render();
        let bytes: f64 = line(&text, "process_resident_memory_bytes").rsplit(' ').next().unwrap().parse().unwrap();
        assert!(bytes > 100_000.0);
    }
}
