//! Where imported records go: into the event log, or to a server that has it open.

use std::ops::AddAssign;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tastemaker_config::Config;
use tastemaker_log::{EventLog, LogError, LogOptions};
use tastemaker_types::{EntityUpsert, Record};

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

    fn send(&self, path: &str, body: &Value) -> Result<Written> {
        let url = format!("{}{path}", self.url);
        let mut request = self.agent.post(&url);
        if let Some(key) = &self.key {
            request = request.header("authorization", format!("Bearer {key}"));
        }
        let mut response = request.send_json(body).with_context(|| format!("could not reach the server at {url}"))?;
        let status = response.status();
        let text = response.body_mut().read_to_string().with_context(|| format!("{url} broke off its answer"))?;
        match serde_json::from_str::<Answer>(&text) {
            Ok(Answer { accepted, duplicates, refused }) => {
                Ok(Written { written: accepted, duplicates, refused_by_server: refused })
            }
            Err(_) => {
                let problem: Value = serde_json::from_str(&text).unwrap_or_default();
                let detail = problem.get("detail").and_then(Value::as_str).unwrap_or(&text);
                let hint = match status.as_u16() {
                    401 | 403 => "; give a key that may write with --key",
                    _ => "",
                };
                bail!("{url} answered {status}: {detail}{hint}")
            }
        }
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
        }
        Ok(written)
    }
}

fn entity(upsert: &EntityUpsert) -> Value {
    json!({ "id": upsert.id, "attributes": upsert.attributes, "timestamp": upsert.timestamp, "mode": upsert.mode })
}
