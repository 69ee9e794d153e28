//! Judging what clients send against the project: event types, attribute schemas, ids and sizes. A record that passes
//! becomes a log record; one that does not gets its reason. What happens to the accepted ones is for the engine.

use std::sync::Arc;

use tastemaker_api::batch::Parsed;
use tastemaker_api::{EntityInput, EventInput, FieldError, RecordResult, RecordStatus, WriteResponse};
use tastemaker_config::Config;
use tastemaker_log::Appended;
use tastemaker_types::{AttributeSchema, EntityUpsert, Event, Record, Timestamp, check_properties, validate_id};

/// The rules of one project.
pub(crate) struct Rules {
    config: Arc<Config>,
    items: AttributeSchema,
    users: AttributeSchema,
}

/// A batch after it was judged: the records to write, and for each record sent either its refusal or its place among
/// the former.
pub(crate) struct Judged {
    /// What to write, in the order sent.
    pub(crate) records: Vec<Record>,
    results: Vec<RecordResult>,
}

impl Judged {
    fn new(capacity: usize) -> Self {
        Self { records: Vec::with_capacity(capacity), results: Vec::with_capacity(capacity) }
    }

    fn take(&mut self, id: Option<String>, judged: Result<Record, FieldError>) {
        let (status, error) = match judged {
            Ok(record) => {
                self.records.push(record);
                (RecordStatus::Accepted, None)
            }
            Err(error) => (RecordStatus::Refused, Some(error)),
        };
        self.results.push(RecordResult { id, status, error });
    }

    /// The answer, once the log has taken the records.
    pub(crate) fn finish(mut self, appended: &[Appended]) -> WriteResponse {
        let accepted = self.results.iter_mut().filter(|r| r.status == RecordStatus::Accepted);
        for (result, appended) in accepted.zip(appended) {
            if appended.duplicate {
                result.status = RecordStatus::Duplicate;
            }
        }
        WriteResponse::new(self.results)
    }
}

impl Rules {
    pub(crate) fn new(config: Arc<Config>) -> Self {
        Self { items: config.items.schema(), users: config.users.schema(), config }
    }

    /// Judges events.
    pub(crate) fn events(&self, events: Vec<Parsed<EventInput>>, now: Timestamp) -> Judged {
        let mut judged = Judged::new(events.len());
        for (index, event) in events.into_iter().enumerate() {
            let at = |field: &str| format!("events[{index}].{field}");
            match event {
                Err(error) => judged.take(None, Err(error)),
                Ok(input) => {
                    let given = input.event_id.clone();
                    let event = input.into_event(now, || uuid::Uuid::now_v7().to_string());
                    match self.event(event, now) {
                        Ok((id, record)) => judged.take(Some(id), Ok(record)),
                        Err((field, message)) => judged.take(given, Err(FieldError { field: at(field), message })),
                    }
                }
            }
        }
        judged
    }

    /// Judges items to write.
    pub(crate) fn items(&self, items: Vec<Parsed<EntityInput>>, now: Timestamp) -> Judged {
        Self::entities(items, "items", now, |upsert| self.item(upsert))
    }

    /// Judges users to write.
    pub(crate) fn users(&self, users: Vec<Parsed<EntityInput>>, now: Timestamp) -> Judged {
        Self::entities(users, "users", now, |upsert| self.user(upsert))
    }

    /// Judges one item.
    pub(crate) fn item(&self, upsert: EntityUpsert) -> Result<Record, FieldError> {
        check_entity(upsert, &self.items, Record::ItemUpsert)
    }

    /// Judges one user.
    pub(crate) fn user(&self, upsert: EntityUpsert) -> Result<Record, FieldError> {
        check_entity(upsert, &self.users, Record::UserUpsert)
    }

    fn entities(
        inputs: Vec<Parsed<EntityInput>>,
        list: &str,
        now: Timestamp,
        judge: impl Fn(EntityUpsert) -> Result<Record, FieldError>,
    ) -> Judged {
        let mut judged = Judged::new(inputs.len());
        for (index, input) in inputs.into_iter().enumerate() {
            match input {
                Err(error) => judged.take(None, Err(error)),
                Ok(input) => {
                    let id = Some(input.id.clone());
                    let record = judge(input.into_upsert(now))
                        .map_err(|error| FieldError { field: format!("{list}[{index}].{}", error.field), ..error });
                    judged.take(id, record);
                }
            }
        }
        judged
    }

    /// The event's id and its record, or the field that is wrong and why.
    pub(crate) fn event(&self, event: Event, now: Timestamp) -> Result<(String, Record), (&'static str, String)> {
        self.check_event(&event, now)?;
        let id = event.event_id.clone();
        let record = Record::Event(event);
        // Everything but the properties is short.
        record.check_size().map_err(|e| ("properties", e.to_string()))?;
        Ok((id, record))
    }

    fn check_event(&self, event: &Event, now: Timestamp) -> Result<(), (&'static str, String)> {
        event.validate_ids().map_err(|e| (id_field(event), e.to_string()))?;
        self.config.events.get(&event.event_type).map_err(|e| ("type", e.to_string()))?;
        event.timestamp.check_not_ahead(now).map_err(|e| ("timestamp", e.to_string()))?;
        check_properties(&event.properties).map_err(|e| ("properties", e.to_string()))
    }
}

/// The first field of an event that is no id, for the place of an error.
fn id_field(event: &Event) -> &'static str {
    let ids = [
        ("event_id", Some(&event.event_id)),
        ("type", Some(&event.event_type)),
        ("user_id", Some(&event.user_id)),
        ("item_id", Some(&event.item_id)),
        ("session_id", event.session_id.as_ref()),
        ("request_id", event.request_id.as_ref()),
    ];
    let wrong = ids.into_iter().find(|(name, id)| id.is_some_and(|id| validate_id(name, id).is_err()));
    wrong.map_or("event_id", |(name, _)| name)
}

fn check_entity(
    upsert: EntityUpsert,
    schema: &AttributeSchema,
    record: fn(EntityUpsert) -> Record,
) -> Result<Record, FieldError> {
    let wrong = |field: &str, message: String| FieldError { field: field.to_owned(), message };
    validate_id("id", &upsert.id).map_err(|e| wrong("id", e.to_string()))?;
    let attributes = schema.coerce_all(upsert.attributes).map_err(|e| wrong("attributes", e.to_string()))?;
    let record = record(EntityUpsert { attributes, ..upsert });
    record.check_size().map_err(|e| wrong("attributes", e.to_string()))?;
    Ok(record)
}

#[cfg(test)]
mod tests {
    use tastemaker_types::{MAX_RECORD_BYTES, Position, attribute};

    use super::*;

    fn rules() -> Rules {
        let toml = "[items.attributes]\nprice = \"number\"\n[events]\nclick = { positive = true }\n";
        Rules::new(Arc::new(Config::parse(toml).unwrap()))
    }

    fn event(json: &str) -> Parsed<EventInput> {
        Ok(serde_json::from_str(json).unwrap())
    }

    #[test]
    fn each_event_is_judged_alone_and_keeps_its_place() {
        let judged = rules().events(
            vec![
                event(r#"{"event_id":"a","type":"click","user_id":"u","item_id":"i"}"#),
                event(r#"{"event_id":"b","type":"clik","user_id":"u","item_id":"i"}"#),
                event(r#"{"event_id":"c","type":"click","user_id":"","item_id":"i"}"#),
                event(r#"{"event_id":"d","type":"click","user_id":"u","item_id":"i"}"#),
            ],
            Timestamp::EPOCH,
        );
        assert_eq!(judged.records.len(), 2);
        let appended = |position, duplicate| Appended { position: Position(position), duplicate };
        let answer = judged.finish(&[appended(0, false), appended(0, true)]);
        let statuses: Vec<_> = answer.results.iter().map(|r| r.status).collect();
        use RecordStatus::{Accepted, Duplicate, Refused};
        assert_eq!(statuses, [Accepted, Refused, Refused, Duplicate]);
        let error = answer.results[1].error.as_ref().unwrap();
        assert_eq!(error.field, "events[1].type");
        assert!(error.message.contains("did you mean 'click'?"));
        assert_eq!(answer.results[2].error.as_ref().unwrap().field, "events[2].user_id");
        assert_eq!((answer.accepted, answer.duplicates, answer.refused), (1, 1, 2));
    }

    #[test]
    fn an_event_without_an_id_gets_one_that_is_answered() {
        let judged = rules().events(vec![event(r#"{"type":"click","user_id":"u","item_id":"i"}"#)], Timestamp::EPOCH);
        let Record::Event(event) = &judged.records[0] else { panic!("no event") };
        assert_eq!(event.event_id.len(), 36);
        assert_eq!(judged.results[0].id.as_ref(), Some(&event.event_id));
    }

    #[test]
    fn attributes_outside_of_the_schema_are_refused_with_a_suggestion() {
        let input = serde_json::from_str(r#"{"id":"i","attributes":{"prise":1}}"#).unwrap();
        let answer = rules().items(vec![Ok(input)], Timestamp::EPOCH).finish(&[]);
        let error = answer.results[0].error.as_ref().unwrap();
        assert_eq!(error.field, "items[0].attributes");
        assert!(error.message.contains("did you mean 'price'?"));
    }

    #[test]
    fn huge_properties_are_refused() {
        let text = "x".repeat(attribute::MAX_TEXT_BYTES + 1);
        let huge = format!(r#"{{"type":"click","user_id":"u","item_id":"i","properties":{{"p":"{text}"}}}}"#);
        let answer = rules().events(vec![event(&huge)], Timestamp::EPOCH).finish(&[]);
        assert_eq!(answer.refused, 1);
    }

    #[test]
    fn a_record_that_is_too_large_in_all_is_refused_alone() {
        let text = "x".repeat(attribute::MAX_TEXT_BYTES);
        let properties: Vec<String> = (0..17).map(|n| format!(r#""p{n}":"{text}""#)).collect();
        let properties = properties.join(",");
        assert!(properties.len() > MAX_RECORD_BYTES);
        let small = r#"{"event_id":"a","type":"click","user_id":"u","item_id":"i"}"#;
        let large =
            format!(r#"{{"event_id":"b","type":"click","user_id":"u","item_id":"i","properties":{{{properties}}}}}"#);
        let judged = rules().events(vec![event(small), event(&large)], Timestamp::EPOCH);
        assert_eq!(judged.records.len(), 1);
        let error = judged.results[1].error.as_ref().unwrap();
        assert_eq!(error.field, "events[1].properties");
        assert!(error.message.contains("at most 1048576"), "{}", error.message);

        let declared: Vec<String> = (0..17).map(|n| format!("t{n} = \"text\"")).collect();
        let config = Config::parse(&format!("[items.attributes]\n{}\n", declared.join("\n"))).unwrap();
        let attributes: Vec<String> = (0..17).map(|n| format!(r#""t{n}":"{text}""#)).collect();
        let large = format!(r#"{{"id":"i","attributes":{{{}}}}}"#, attributes.join(","));
        let items = [r#"{"id":"j"}"#, &large].map(|json| Ok(serde_json::from_str(json).unwrap()));
        let judged = Rules::new(Arc::new(config)).items(items.into(), Timestamp::EPOCH);
        assert_eq!(judged.records.len(), 1);
        assert_eq!(judged.results[1].error.as_ref().unwrap().field, "items[1].attributes");
    }
}
