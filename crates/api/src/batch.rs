//! Many records in one request: each is judged alone, so that a bad one does not stop the good ones, and the answer has
//! one result for each, in the order sent.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::{FieldError, Problem, ProblemKind, json};

/// A request whose body is a list of records under one name, such as `{"events": [...]}`.
pub trait BatchRequest: DeserializeOwned {
    /// One record of the list.
    type Record: DeserializeOwned;
    /// The name of the list.
    const FIELD: &'static str;
    /// Whether the body may also be one bare record.
    const SINGLE: bool;
    /// The list.
    fn into_records(self) -> Vec<Self::Record>;
}

/// A record, or what is wrong with it.
pub type Parsed<T> = Result<T, FieldError>;

/// Reads a batch; a record that does not fit is an `Err` in its place.
///
/// # Errors
/// A [`Problem`] if the body as a whole is not such a batch.
pub fn parse_batch<B: BatchRequest>(body: &[u8]) -> Result<Vec<Parsed<B::Record>>, Box<Problem>> {
    // Nearly every batch is good: one pass reads it. The slow way is for telling the bad from the good.
    if let Ok(batch) = json::read::<B>(body) {
        return Ok(batch.into_records().into_iter().map(Ok).collect());
    }
    let invalid = |detail: String| Box::new(Problem::new(ProblemKind::InvalidRequest, detail));
    let Value::Object(mut fields) = json::parse_value(body)? else {
        return Err(invalid(format!("the body must be an object such as {{\"{}\": [...]}}", B::FIELD)));
    };
    match fields.remove(B::FIELD) {
        Some(Value::Array(records)) => match fields.keys().next() {
            Some(other) => Err(Box::new(Problem::field(
                ProblemKind::InvalidRequest,
                other,
                format!("unknown field '{other}' beside '{}'", B::FIELD),
            ))),
            None => Ok(records.into_iter().enumerate().map(|(index, r)| record::<B>(index, r)).collect()),
        },
        Some(_) => Err(Box::new(Problem::field(ProblemKind::InvalidRequest, B::FIELD, "must be a list"))),
        None if B::SINGLE => Ok(vec![json::fields(Value::Object(fields), "")]),
        None => Err(invalid(format!("the body has no '{0}'; send {{\"{0}\": [...]}}", B::FIELD))),
    }
}

fn record<B: BatchRequest>(index: usize, value: Value) -> Parsed<B::Record> {
    json::fields(value, &format!("{}[{index}]", B::FIELD))
}

/// Reads one record that came as JSON of its own; a fault is given with its place, which starts with `at`.
///
/// # Errors
/// What is wrong with it.
pub fn parse_record<T: DeserializeOwned>(text: &[u8], at: &str) -> Parsed<T> {
    let broken = |error| FieldError { field: at.to_owned(), message: format!("is not valid JSON: {error}") };
    serde_json::from_slice::<serde::de::IgnoredAny>(text).map_err(broken)?;
    json::fields(&mut serde_json::Deserializer::from_slice(text), at)
}

/// Reads one record that is already known to be JSON.
///
/// # Errors
/// What is wrong with it.
pub fn parse_value<T: DeserializeOwned>(value: Value) -> Parsed<T> {
    json::fields(value, "")
}

/// What became of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum RecordStatus {
    /// It is durable and applied.
    Accepted,
    /// An event with this id was accepted before; nothing was done.
    Duplicate,
    /// It is wrong; nothing was done.
    Refused,
}

/// What became of one record of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RecordResult {
    /// The event's, item's or user's id; left out if it could not be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// What became of it.
    pub status: RecordStatus,
    /// Why it was refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<FieldError>,
}

/// What became of a request's records.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WriteResponse {
    /// How many were accepted.
    pub accepted: usize,
    /// How many were known already.
    pub duplicates: usize,
    /// How many were refused.
    pub refused: usize,
    /// One result for each record, in the order sent.
    pub results: Vec<RecordResult>,
}

impl WriteResponse {
    /// Counts the results.
    pub fn new(results: Vec<RecordResult>) -> Self {
        let count = |status| results.iter().filter(|r| r.status == status).count();
        Self {
            accepted: count(RecordStatus::Accepted),
            duplicates: count(RecordStatus::Duplicate),
            refused: count(RecordStatus::Refused),
            results,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{EventsRequest, ItemsRequest};

    #[test]
    fn a_bad_record_does_not_stop_the_good_ones() {
        let body = br#"{"events":[
            {"type":"click","user_id":"u","item_id":"i"},
            {"type":"click","user_id":"u","item_id":"i","value":"much"},
            {"type":"click","usr_id":"u","item_id":"i"},
            7,
            ["an-id","click","u","i"]]}"#;
        let records = parse_batch::<EventsRequest>(body).unwrap();
        assert!(records[0].is_ok());
        assert_eq!(records[1].as_ref().unwrap_err().field, "events[1].value");
        assert_eq!(records[2].as_ref().unwrap_err().message, "unknown field 'usr_id'; did you mean 'user_id'?");
        assert_eq!(records[3].as_ref().unwrap_err().field, "events[3]");
        assert_eq!(records[4].as_ref().unwrap_err().message, "a list is given; give an object");
        assert!(parse_batch::<EventsRequest>(br#"[[{"type":"click","user_id":"u","item_id":"i"}]]"#).is_err());
    }

    #[test]
    fn one_bare_item_is_a_batch_of_one() {
        let records = parse_batch::<ItemsRequest>(br#"{"id":"i","attributes":{"price":2}}"#).unwrap();
        assert_eq!(records.len(), 1);
        assert_eq!(records[0].as_ref().unwrap().id, "i");
    }

    #[test]
    fn what_is_no_batch_is_refused_as_a_whole() {
        for (body, part) in [
            ("[]", "must be an object"),
            ("{}", "no 'events'"),
            (r#"{"events":{}}"#, "must be a list"),
            (r#"{"events":[],"more":1}"#, "unknown field 'more'"),
            ("{", "not valid JSON"),
        ] {
            let problem = parse_batch::<EventsRequest>(body.as_bytes()).unwrap_err();
            assert!(problem.detail.contains(part), "{body}: {}", problem.detail);
        }
    }
}
