//! A running server as a sink, over HTTP.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tastemaker_types::{EntityUpsert, FeatureRow, FeatureValue, Record};
use ureq::http::StatusCode;

use super::sink::{Sink, Written, fitting};

/// Records in one request.
const REQUEST_RECORDS: usize = 1_000;
/// Bytes of records in one request; servers take 16 MiB unless they are told otherwise.
const REQUEST_BYTES: usize = 4 << 20;

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

    /// Sends a list of records that are JSON already.
    fn send(&self, list: &str, records: &[String]) -> Result<Written> {
        let body = format!("{{\"{list}\":[{}]}}", records.join(","));
        let (url, status, text) = self.post(&format!("/v1/{list}"), &body)?;
        if status == StatusCode::PAYLOAD_TOO_LARGE && records.len() > 1 {
            // Its limits are lower than is usual.
            let (first, second) = records.split_at(records.len() / 2);
            let mut written = self.send(list, first)?;
            written += self.send(list, second)?;
            return Ok(written);
        }
        match serde_json::from_str::<Answer>(&text) {
            Ok(Answer { accepted, duplicates, refused }) => {
                Ok(Written { written: accepted, duplicates, refused_by_server: refused })
            }
            Err(_) => bail!(refusal(&url, status, &text)),
        }
    }

    /// Pushes rows of one feature view.
    fn push(&self, view: &str, rows: &[&FeatureRow]) -> Result<Written> {
        let body = json!({ "push_source_name": view, "df": columns(rows), "to": "online" });
        let (url, status, text) = self.post("/push", &body.to_string())?;
        if status == StatusCode::PAYLOAD_TOO_LARGE && rows.len() > 1 {
            // As JSON, rows may have several times their bytes.
            let (first, second) = rows.split_at(rows.len() / 2);
            let mut written = self.push(view, first)?;
            written += self.push(view, second)?;
            return Ok(written);
        }
        match serde_json::from_str::<u64>(&text) {
            Ok(rows) => Ok(Written { written: rows, ..Written::default() }),
            Err(_) => bail!(refusal(&url, status, &text)),
        }
    }

    /// Gives the whole address, and what was answered. Batches of which some records are refused are an answer.
    fn post(&self, path: &str, body: &str) -> Result<(String, StatusCode, String)> {
        let url = format!("{}{path}", self.url);
        let mut request = self.agent.post(&url).content_type("application/json");
        if let Some(key) = &self.key {
            request = request.header("authorization", format!("Bearer {key}"));
        }
        let mut response = request.send(body).with_context(|| format!("could not reach the server at {url}"))?;
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
        let mut lists: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        let mut views: BTreeMap<&str, Vec<&FeatureRow>> = BTreeMap::new();
        for record in &records {
            let (list, body) = match record {
                Record::Event(event) => ("events", serde_json::to_string(event)?),
                Record::ItemUpsert(item) => ("items", entity(item).to_string()),
                Record::UserUpsert(user) => ("users", entity(user).to_string()),
                Record::FeatureRow(row) => {
                    views.entry(&row.view).or_default().push(row);
                    continue;
                }
                // No file has them.
                Record::ItemDelete { .. } | Record::UserDelete { .. } | Record::Served(_) => continue,
            };
            lists.entry(list).or_default().push(body);
        }
        let mut written = Written::default();
        for (list, bodies) in &lists {
            let mut rest = &bodies[..];
            while !rest.is_empty() {
                let (call, after) = rest.split_at(fitting(rest, REQUEST_RECORDS, REQUEST_BYTES, String::len));
                written += self.send(list, call)?;
                rest = after;
            }
        }
        for (view, rows) in &views {
            let mut rest = &rows[..];
            while !rest.is_empty() {
                let (call, after) =
                    rest.split_at(fitting(rest, REQUEST_RECORDS, REQUEST_BYTES, |row| row.size_bound()));
                written += self.push(view, call)?;
                rest = after;
            }
        }
        Ok(written)
    }
}

fn entity(upsert: &EntityUpsert) -> Value {
    json!({ "id": upsert.id, "attributes": upsert.attributes, "timestamp": upsert.timestamp, "mode": upsert.mode })
}
