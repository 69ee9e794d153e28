//! From an entry of a stream to an event: what its fields are, and what stands in for those that are left out. Whether the project takes the event
//! is for `ingest`.

use serde_json::{Map, Number, Value};
use tastemaker_api::batch::{Parsed, parse_record, parse_value};
use tastemaker_api::{EventInput, FieldError};
use tastemaker_types::{Record, Timestamp};

use crate::ingest::Rules;

/// The one field of an entry that holds a whole event as JSON.
const WHOLE: &str = "event";
/// Ids of entries that Redis makes begin with the milliseconds since 1970. Before this one (2001), somebody else made them.
const FIRST_TIME: i64 = 1_000_000_000_000;

/// Names and values as Redis has them.
pub(super) type Fields = [(Vec<u8>, Vec<u8>)];

/// The record of an entry. Without an `event_id`, it gets one that is always the same for this entry; without a time, that at which the entry was
/// added.
pub(super) fn record(rules: &Rules, stream: &str, id: &str, fields: &Fields, now: Timestamp) -> Parsed<Record> {
    let mut input = read(fields)?;
    input.timestamp = input.timestamp.or_else(|| added(id, now));
    let event = input.into_event(now, || format!("{stream}:{id}"));
    match rules.event(event, now) {
        Ok((_, record)) => Ok(record),
        Err((field, message)) => Err(wrong(field, message)),
    }
}

fn read(fields: &Fields) -> Parsed<EventInput> {
    if let [(name, json)] = fields
        && name == WHOLE.as_bytes()
    {
        return parse_record(json, WHOLE);
    }
    let mut object = Map::new();
    for (name, value) in fields {
        let name = String::from_utf8_lossy(name).into_owned();
        if name == WHOLE {
            return Err(wrong(WHOLE, "holds a whole event, so no other field can be beside it"));
        }
        let Ok(text) = std::str::from_utf8(value) else {
            return Err(wrong(&name, "is not UTF-8; write texts in UTF-8"));
        };
        let value = match name.as_str() {
            "value" | "timestamp" => number(text),
            "properties" => serde_json::from_str(text).map_err(|error| {
                wrong(&name, format!("is not valid JSON: {error}; write an object such as {{\"device\":\"tv\"}}"))
            })?,
            _ => Value::from(text),
        };
        if object.insert(name.clone(), value).is_some() {
            return Err(wrong(&name, "is given twice; give it once"));
        }
    }
    parse_value(Value::Object(object))
}

/// All values in Redis are texts: one that is a number is meant as one. What is none is refused, or read as a time, as in any event.
fn number(text: &str) -> Value {
    serde_json::from_str::<Number>(text).map_or_else(|_| Value::from(text), Value::Number)
}

/// When the entry was added, if its id says so.
fn added(id: &str, now: Timestamp) -> Option<Timestamp> {
    let millis: i64 = id.split('-').next()?.parse().ok()?;
    let time = Timestamp::from_micros(millis.checked_mul(1_000)?);
    (millis >= FIRST_TIME && time <= now).then_some(time)
}

fn wrong(field: &str, message: impl Into<String>) -> FieldError {
    FieldError { field: field.to_owned(), message: message.into() }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tastemaker_config::Config;
    use tastemaker_types::Event;

    use super::*;

    const NOW: Timestamp = Timestamp::from_micros(1_800_000_000_000_000);

    fn read_as(id: &str, fields: &[(&str, &str)]) -> Result<Event, (String, String)> {
        let rules = Rules::new(Arc::new(Config::default()));
        let fields: Vec<_> = fields.iter().map(|(f, v)| (f.as_bytes().to_vec(), v.as_bytes().to_vec())).collect();
        match record(&rules, "shop:events", id, &fields, NOW) {
            Ok(Record::Event(event)) => Ok(event),
            Ok(other) => panic!("no event: {other:?}"),
            Err(error) => Err((error.field, error.message)),
        }
    }

    #[test]
    fn fields_are_those_of_an_event_and_texts_of_numbers_are_numbers() {
        let fields = [
            ("event_id", "e1"),
            ("type", "rating"),
            ("user_id", "7"),
            ("item_id", "ä🦀"),
            ("value", "4.5"),
            ("timestamp", "1700000000"),
            ("properties", r#"{"device":"tv"}"#),
        ];
        let event = read_as("1-0", &fields).unwrap();
        assert_eq!((event.event_id.as_str(), event.user_id.as_str(), event.item_id.as_str()), ("e1", "7", "ä🦀"));
        assert_eq!((event.value, event.timestamp), (Some(4.5), Timestamp::from_micros(1_700_000_000_000_000)));
        assert_eq!(event.properties.len(), 1);

        let whole = r#"{"event_id":"e1","type":"rating","user_id":"7","item_id":"ä🦀","value":4.5,"timestamp":1700000000,"properties":{"device":"tv"}}"#;
        assert_eq!(read_as("1-0", &[("event", whole)]).unwrap(), event, "the other way to write it");
    }

    #[test]
    fn what_is_left_out_follows_from_the_entry_so_that_a_second_delivery_is_a_duplicate() {
        let fields = [("type", "click"), ("user_id", "u"), ("item_id", "i")];
        let event = read_as("1700000000123-4", &fields).unwrap();
        assert_eq!(event.event_id, "shop:events:1700000000123-4");
        assert_eq!(event.timestamp, Timestamp::from_micros(1_700_000_000_123_000));
        for made_by_hand in ["7-0", "9999999999999-0", "99999999999999999999-0"] {
            assert_eq!(read_as(made_by_hand, &fields).unwrap().timestamp, NOW, "{made_by_hand}");
        }
    }

    #[test]
    fn what_is_wrong_is_told_with_its_field() {
        let good = [("type", "click"), ("user_id", "u"), ("item_id", "i")];
        type Case = (&'static [(&'static str, &'static str)], &'static str, &'static str);
        let cases: [Case; 8] = [
            (&[("value", "much")], "value", "give a number"),
            (&[("timestamp", "soon")], "timestamp", "is not a time"),
            (&[("properties", "tv")], "properties", "not valid JSON"),
            (&[("properties", "[1]")], "properties", "give an object"),
            (&[("usr_id", "u")], "usr_id", "did you mean 'user_id'?"),
            (&[("user_id", "v")], "user_id", "given twice"),
            (&[("event", "{}")], "event", "no other field"),
            (&[("session_id", "")], "session_id", "is empty"),
        ];
        for (more, field, part) in cases {
            let (place, message) = read_as("1-0", &[&good, more].concat()).unwrap_err();
            assert!(place == field && message.contains(part), "{more:?}: {place}: {message}");
        }
        assert_eq!(read_as("1-0", &[("event", "{")]).unwrap_err().0, "event");
        let (place, message) =
            read_as("1-0", &[("event", r#"{"type":"clik","user_id":"u","item_id":"i"}"#)]).unwrap_err();
        assert!(place == "type" && message.contains("did you mean 'click'?"), "{place}: {message}");
        assert!(read_as("1-0", &[("type", "click")]).unwrap_err().1.contains("user_id"));
    }
}
