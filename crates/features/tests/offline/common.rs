//! A project, its records, and files of rows.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch};
use parquet::arrow::ArrowWriter;
use tastemaker_config::{Config, FeatureViewConfig};
use tastemaker_features::offline::{Historical, HistoricalOptions, OfflineError};
use tastemaker_features::set::{FeatureSet, SharedFeatures};
use tastemaker_features::table::EntityRows;
use tastemaker_log::{EventLog, LogOptions, LogReader};
use tastemaker_types::{
    Attributes, EntityUpsert, Event, FeatureRow, FeatureValue, Record, Timestamp, UpsertMode, Value, Window,
};

pub(crate) const PROJECT: &str = r#"
[items.attributes]
category = "tag"
price = "number"

[users.attributes]
country = "tag"

[events]
click = { positive = true }
purchase = { positive = true, conversion = true }

[[features]]
entity = "user"
name = "clicks_30m"
aggregate = "count"
events = ["click"]
window = "30m"

[[features]]
entity = "user"
name = "spent"
aggregate = "sum"
events = ["purchase"]
value = "item.price"
filter = "item.price > 1"
ttl = "2h"
default = -1

[[features]]
entity = "user"
name = "by_category"
aggregate = "count"
group_by = "item.category"

[[features]]
entity = "user"
name = "latest"
aggregate = "last_k"
k = 3

[[features]]
entity = "item"
name = "purchases_per_click"
aggregate = "rate"
events = ["purchase"]
per = ["click"]
window = "1h"

[[features]]
entity = "pair"
name = "clicks"
aggregate = "count"
events = ["click"]

[[features]]
entity = "pair"
name = "dear"
expression = "item.price / nullif(user.spent, 0) + coalesce(pair.clicks, 0)"

[[features]]
entity = "user"
name = "at_home"
expression = "user.country = 'ch' and context.now > timestamp '1970-01-01T00:00:00Z'"

[[feature_views]]
name = "worth"
entity = "user"
ttl = "1h"
features = { value = "number", taste = "vector", segment = "text" }
created_time_column = "created"

[[feature_views]]
name = "affinity"
entity = "pair"
features = { affinity = "number" }
"#;

pub(crate) struct Project {
    pub(crate) config: Config,
    pub(crate) set: SharedFeatures,
}

impl Project {
    pub(crate) fn new(text: &str) -> Self {
        let config = Config::parse(text).unwrap();
        let set = Arc::new(FeatureSet::compile(&config).unwrap());
        Self { config, set }
    }

    /// The features of a file of rows, in its order.
    pub(crate) fn historical(
        &self,
        names: &[&str],
        views: &[FeatureViewConfig],
        log: &Path,
        rows: &Path,
        include_late: bool,
    ) -> Result<Vec<RecordBatch>, OfflineError> {
        let wanted = names.iter().map(|name| self.set.by_reference(name).unwrap()).collect();
        let work = tempfile::tempdir().unwrap();
        let options = HistoricalOptions { include_late, statuses: true, work_dir: work.path().to_owned() };
        let log = log.is_dir().then(|| LogReader::open(log).unwrap());
        let historical = Historical::new(&self.set, wanted, views, log, options)?;
        let mut batches = Vec::new();
        // Small chunks, so that a file is several.
        for chunk in EntityRows::open(rows, 5)? {
            let chunk = historical.chunk(chunk?, &mut |_| ControlFlow::Continue(()))?;
            chunk.write(|batch| {
                batches.push(batch.clone());
                Ok::<_, OfflineError>(())
            })?;
        }
        Ok(batches)
    }
}

pub(crate) fn at(minutes: i64) -> Timestamp {
    Timestamp::EPOCH.plus(Window::from_days(20_000)).plus(Window::from_millis(minutes * 60_000))
}

pub(crate) fn event(number: usize, kind: &str, user: &str, item: &str, at: Timestamp) -> Record {
    Record::Event(Event {
        event_id: format!("e{number}"),
        event_type: kind.to_owned(),
        user_id: user.to_owned(),
        item_id: item.to_owned(),
        timestamp: at,
        value: None,
        session_id: None,
        received: None,
        request_id: None,
        properties: Attributes::new(),
    })
}

pub(crate) fn upsert(id: &str, attributes: &[(&str, Value)], mode: UpsertMode, timestamp: Timestamp) -> EntityUpsert {
    let attributes = attributes.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
    EntityUpsert { id: id.to_owned(), attributes, mode, timestamp }
}

pub(crate) fn worth(user: &str, event: Timestamp, created: Option<Timestamp>, value: f64) -> Record {
    Record::FeatureRow(FeatureRow {
        view: "worth".to_owned(),
        user_id: Some(user.to_owned()),
        item_id: None,
        event_timestamp: event,
        created,
        values: vec![
            ("value".to_owned(), FeatureValue::Number(value)),
            ("taste".to_owned(), FeatureValue::Vector(vec![value as f32, 0.5])),
        ],
    })
}

/// A log of these records.
pub(crate) fn write_log(dir: &Path, records: Vec<Record>) {
    let log = EventLog::open(dir, LogOptions::default(), Box::new(|_| {})).unwrap();
    if !records.is_empty() {
        log.append(records).unwrap();
    }
    log.close().unwrap();
}

pub(crate) fn write_parquet(path: &Path, columns: Vec<(&str, ArrayRef)>) {
    let batch = RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(n, a)| (n, a, true))).unwrap();
    let mut writer = ArrowWriter::try_new(std::fs::File::create(path).unwrap(), batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}
