//! Where imported records go: into the event log, or to a server that has it open.

use std::collections::BTreeMap;
use std::ops::AddAssign;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use tastemaker_config::Config;
use tastemaker_log::{EventLog, LogError, LogOptions};
use tastemaker_types::{EntityUpsert, FeatureRow, FeatureValue, Record};
use ureq::http::StatusCode;

use super::unchanged::Unchanged;

/// What became of the records of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub(crate) struct Written {
    /// New records in the log.
    pub(crate) written: u64,
    /// Records that were there already, and were not written again.
    pub(crate) duplicates: u64,
    /// Records that the server refused.
    pub(crate) refused_by_server: u64,
}

impl AddAssign for Written {
    fn add_assign(&mut self, other: Self) {
        self.written += other.written;
        self.duplicates += other.duplicates;
        self.refused_by_server += other.refused_by_server;
    }
}

/// Takes records for good.
pub(crate) trait Sink {
    /// Returns when they are on disk.
    fn write(&mut self, records: Vec<Record>) -> Result<Written>;
}

/// The project's event log, opened as its writer.
pub(crate) struct Log {
    log: EventLog,
    entities: Option<Unchanged>,
}

impl Log {
    /// Opens the log; `entities` for files of items or users.
    pub(crate) fn open(config: &Config, entities: bool) -> Result<Self> {
        let options = LogOptions { segment_bytes: config.storage.segment_size.bytes(), ..LogOptions::default() };
        let log = match EventLog::open(config.storage.log_dir(), options, Box::new(|_| {})) {
            Err(error @ LogError::Locked { .. }) => bail!(
                "{error}. If that is a running server, it takes the file too: add --url http://{} (and --key KEY if it \
                 asks for one)",
                config.server.listen
            ),
            other => other?,
        };
        let entities = entities.then(|| Unchanged::read(&log.reader())).transpose()?;
        Ok(Self { log, entities })
    }

    /// Commits and lets go of the log.
    pub(crate) fn close(self) -> Result<()> {
        Ok(self.log.close()?)
    }
}

impl Sink for Log {
    fn write(&mut self, mut records: Vec<Record>) -> Result<Written> {
        let given = records.len() as u64;
        if let Some(entities) = &mut self.entities {
            records.retain(|record| entities.changes(record));
        }
        let appended = self.log.append(records)?;
        let written = appended.iter().filter(|appended| !appended.duplicate).count() as u64;
        Ok(Written { written, duplicates: given - written, refused_by_server: 0 })
    }
}

/// Records in one request.
const REQUEST_RECORDS: usize = 1_000;

/// A running server, over HTTP.
pub(crate) struct Http {
    agent: ureq::Agent,
    url: String,
    key: Option<String>,
}

/// What the API answers to a batch.
#[derive(Deserialize)]
struct Answer {
    accepted: u64,
    duplicates: u64,
    refused: u64,
}

impl Http {
    /// A server at `url`, such as `http://127.0.0.1:8080`.
    pub(crate) fn new(url: &str, key: Option<&str>) -> Result<Self> {
        ensure!(
            url.starts_with("http://"),
            "--url is '{url}'; give one that starts with http:// (there is no TLS here: use it on this machine or through a tunnel)"
        );
        let config =
            ureq::Agent::config_builder().timeout_global(Some(Duration::from_secs(60))).http_status_as_error(false);
        Ok(Self {
            agent: config.build().into(),
            url: url.trim_end_matches('/').to_owned(),
            key: key.map(str::to_owned),
        })
    }

    /// Pushes rows of feature views.
    fn push(&self, records: &[Record]) -> Result<Written> {
        let mut views: BTreeMap<&str, Vec<&FeatureRow>> = BTreeMap::new();
        for record in records {
            if let Record::FeatureRow(row) = record {
                views.entry(&row.view).or_default().push(row);
            }
        }
        let mut written = Written::default();
        for (view, rows) in views {
            let body = json!({ "push_source_name": view, "df": columns(&rows), "to": "online" });
            let (url, status, text) = self.post("/push", &body)?;
            match serde_json::from_str::<u64>(&text) {
                Ok(rows) => written.written += rows,
                Err(_) => bail!(refusal(&url, status, &text)),
            }
        }
        Ok(written)
    }

    fn send(&self, path: &str, body: &Value) -> Result<Written> {
        let (url, status, text) = self.post(path, body)?;
        match serde_json::from_str::<Answer>(&text) {
            Ok(Answer { accepted, duplicates, refused }) => {
                Ok(Written { written: accepted, duplicates, refused_by_server: refused })
            }
            Err(_) => bail!(refusal(&url, status, &text)),
        }
    }

    /// Gives the whole address, and what was answered. Batches of which some records are refused are an answer.
    fn post(&self, path: &str, body: &Value) -> Result<(String, StatusCode, String)> {
        let url = format!("{}{path}", self.url);
        let mut request = self.agent.post(&url);
        if let Some(key) = &self.key {
            request = request.header("authorization", format!("Bearer {key}"));
        }
        let mut response = request.send_json(body).with_context(|| format!("could not reach the server at {url}"))?;
        let status = response.status();
        let text = response.body_mut().read_to_string().with_context(|| format!("{url} broke off its answer"))?;
        Ok((url, status, text))
    }
}

fn refusal(url: &str, status: StatusCode, text: &str) -> String {
    let problem: Value = serde_json::from_str(text).unwrap_or_default();
    let detail = problem.get("detail").and_then(Value::as_str).unwrap_or(text);
    let hint = match status.as_u16() {
        401 | 403 => "; give a key that may write with --key",
        _ => "",
    };
    format!("{url} answered {status}: {detail}{hint}")
}

/// Rows of one view as columns.
fn columns(rows: &[&FeatureRow]) -> Map<String, Value> {
    let mut names: Vec<&str> = rows.iter().flat_map(|row| row.values.iter().map(|(name, _)| name.as_str())).collect();
    names.sort_unstable();
    names.dedup();
    let column = |of: &dyn Fn(&FeatureRow) -> Value| rows.iter().map(|row| of(row)).collect::<Value>();
    let mut columns = Map::new();
    let first = rows.first();
    if first.is_some_and(|row| row.user_id.is_some()) {
        columns.insert("user_id".to_owned(), column(&|row| json!(row.user_id)));
    }
    if first.is_some_and(|row| row.item_id.is_some()) {
        columns.insert("item_id".to_owned(), column(&|row| json!(row.item_id)));
    }
    columns.insert("event_timestamp".to_owned(), column(&|row| json!(row.event_timestamp)));
    // A table that does not say when its rows were written says that they were when they happened; a push would take the present.
    columns.insert("created".to_owned(), column(&|row| json!(row.created.unwrap_or(row.event_timestamp))));
    for name in names {
        let value =
            |row: &FeatureRow| row.values.iter().find(|(known, _)| known == name).map(|(_, value)| plain(value));
        columns.insert(name.to_owned(), column(&|row| value(row).unwrap_or_default()));
    }
    columns
}

/// A value as the API takes it.
fn plain(value: &FeatureValue) -> Value {
    match value {
        FeatureValue::Number(number) => json!(number),
        FeatureValue::Text(text) => json!(text),
        FeatureValue::Bool(truth) => json!(truth),
        FeatureValue::Time(time) => json!(time),
        FeatureValue::Texts(texts) => json!(texts),
        FeatureValue::Vector(vector) => json!(vector),
        FeatureValue::Map(map) => json!(map),
    }
}

impl Sink for Http {
    fn write(&mut self, records: Vec<Record>) -> Result<Written> {
        let mut written = Written::default();
        for chunk in records.chunks(REQUEST_RECORDS) {
            let bodies = |make: fn(&Record) -> Option<Value>| chunk.iter().filter_map(make).collect::<Vec<_>>();
            let events = bodies(|record| match record {
                Record::Event(event) => serde_json::to_value(event).ok(),
                _ => None,
            });
            let items = bodies(|record| match record {
                Record::ItemUpsert(item) => Some(entity(item)),
                _ => None,
            });
            let users = bodies(|record| match record {
                Record::UserUpsert(user) => Some(entity(user)),
                _ => None,
            });
            for (name, bodies) in [("events", events), ("items", items), ("users", users)] {
                if !bodies.is_empty() {
                    written += self.send(&format!("/v1/{name}"), &json!({ name: bodies }))?;
                }
            }
            written += self.push(chunk)?;
        }
        Ok(written)
    }
}

fn entity(upsert: &EntityUpsert) -> Value {
    json!({ "id": upsert.id, "attributes": upsert.attributes, "timestamp": upsert.timestamp, "mode": upsert.mode })
}
