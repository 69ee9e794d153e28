//! Rows to events.

use std::collections::{HashMap, HashSet};

use tastemaker_config::{Config, EventTypes, TimestampUnit};
use tastemaker_types::{Attributes, Event, IdError, Record, TimeError, Timestamp, check_properties};
use xxhash_rust::xxh3::Xxh3;

use crate::coerce::{self, Mistake};
use crate::columns::{Columns, fold};
use crate::row::{Cell, Row};
use crate::well_known::{RATING, event, event_slots};

/// Makes events of rows.
pub(crate) struct EventMaker {
    types: EventTypes,
    /// The type of every event, if the project says so.
    constant: Option<String>,
    unit: Option<TimestampUnit>,
    ids: IdMaker,
}

/// A mistake and the slot it was made in.
pub(crate) type Refused = (Option<usize>, Mistake);

impl EventMaker {
    pub(crate) fn new(config: &Config) -> (Self, Columns) {
        let mapping = &config.import.events;
        let maker = Self {
            types: config.events.types.clone(),
            constant: mapping.event_type.clone(),
            unit: mapping.file.timestamp_unit,
            ids: IdMaker::default(),
        };
        (maker, Columns::new(event_slots(config)))
    }

    /// The type of events whose row gives none: as the project says, else `rating` for a file of ratings, else the first
    /// positive type.
    pub(crate) fn default_type(&self, columns: &Columns) -> &str {
        if let Some(constant) = &self.constant {
            return constant;
        }
        let ratings = fold(columns.name(event::VALUE)) == RATING && self.types.get(RATING).is_ok();
        if ratings {
            return RATING;
        }
        // One that needs a value to count as positive is no choice for rows that give none.
        let positive = self.types.iter().filter(|(_, settings)| settings.positive);
        positive
            .min_by_key(|(_, settings)| settings.min_value.is_some())
            .map_or(tastemaker_config::IMPRESSION, |(name, _)| name)
    }

    /// What is assumed of every row, to tell the user.
    pub(crate) fn notice(&self, columns: &Columns) -> Option<String> {
        (!columns.has(event::TYPE) && self.constant.is_none()).then(|| {
            let name = self.default_type(columns);
            format!("no column gives the event type, so every event is a '{name}'; --set import.events.type=NAME changes that")
        })
    }

    /// One event.
    pub(crate) fn record(&mut self, row: Row<'_>, columns: &Columns) -> Result<Record, Refused> {
        let mut cells = columns.sort(row);
        let mut take = |slot: usize| cells.get_mut(slot).map(std::mem::take).unwrap_or_default();
        let at = |slot: usize| move |mistake: Mistake| (Some(slot), mistake);
        let missing = |slot: usize| columns.missing(slot);
        let user_id = coerce::text(take(event::USER)).map_err(at(event::USER))?.ok_or_else(|| missing(event::USER))?;
        let item_id = coerce::text(take(event::ITEM)).map_err(at(event::ITEM))?.ok_or_else(|| missing(event::ITEM))?;
        let time = coerce::time(take(event::TIMESTAMP), self.unit).map_err(at(event::TIMESTAMP))?;
        let timestamp = time.ok_or_else(|| missing(event::TIMESTAMP))?;
        let event_type = coerce::text(take(event::TYPE)).map_err(at(event::TYPE))?;
        let event_type = event_type.unwrap_or_else(|| self.default_type(columns).to_owned());
        if let Err(error) = self.types.get(&event_type) {
            return Err((Some(event::TYPE), Mistake::new("unknown event type", error.to_string())));
        }
        let value = coerce::number(take(event::VALUE)).map_err(at(event::VALUE))?;
        let session_id = coerce::text(take(event::SESSION)).map_err(at(event::SESSION))?;
        let request_id = coerce::text(take(event::REQUEST)).map_err(at(event::REQUEST))?;
        let properties = properties(take(event::PROPERTIES)).map_err(at(event::PROPERTIES))?;
        let given = coerce::text(take(event::EVENT_ID)).map_err(at(event::EVENT_ID))?;
        let event_id = given.clone().unwrap_or_default();
        let now = Timestamp::now();
        let received = (timestamp > now).then_some(now);
        let mut event = Event {
            event_id,
            event_type,
            user_id,
            item_id,
            timestamp,
            received,
            value,
            session_id,
            request_id,
            properties,
        };
        if given.is_none() {
            event.event_id = self.ids.id_of(&event);
        }
        let ahead = |error: TimeError| (Some(event::TIMESTAMP), Mistake::new("in the future", error.to_string()));
        event.timestamp.check_not_ahead(now).map_err(ahead)?;
        event.validate_ids().map_err(|error| (slot_of(&error), Mistake::new("bad id", error.to_string())))?;
        check_properties(&event.properties)
            .map_err(|error| (Some(event::PROPERTIES), Mistake::new("bad properties", error.to_string())))?;
        let record = Record::Event(event);
        record.check_size().map_err(|error| (None, Mistake::new("too large", error.to_string())))?;
        Ok(record)
    }
}

/// The slot of a bad id.
fn slot_of(error: &IdError) -> Option<usize> {
    let (IdError::Empty { what } | IdError::TooLong { what, .. } | IdError::Control { what, .. }) = error;
    match *what {
        "user_id" => Some(event::USER),
        "item_id" => Some(event::ITEM),
        "event_id" => Some(event::EVENT_ID),
        "session_id" => Some(event::SESSION),
        "request_id" => Some(event::REQUEST),
        _ => None,
    }
}

/// An object, or the text of one, as in exported files.
fn properties(cell: Cell<'_>) -> Result<Attributes, Mistake> {
    let parsed = match cell {
        Cell::Empty => return Ok(Attributes::new()),
        Cell::Object(map) => serde_json::from_value(map.into()),
        Cell::Text(text) => serde_json::from_str(&text),
        other => return Err(Mistake::new("not properties", format!("{} is not a JSON object", other.describe()))),
    };
    parsed.map_err(|error| {
        let reason = format!("properties are a JSON object of texts, numbers, booleans and lists of texts: {error}");
        Mistake::new("not properties", reason)
    })
}

/// Makes ids from the content of events, so that the same file gives the same ids. Rows that are alike in everything get
/// an ordinal, so that each counts.
#[derive(Default)]
struct IdMaker {
    seen: HashSet<u64>,
    repeats: HashMap<u64, u32>,
}

impl IdMaker {
    /// `import:` and 128 bits of a hash over type, user, item, time and value, and `-n` for the n-th repetition. It must
    /// never change: ids of earlier imports are in the logs.
    fn id_of(&mut self, event: &Event) -> String {
        let mut hasher = Xxh3::new();
        for text in [&event.event_type, &event.user_id, &event.item_id] {
            hasher.update(&(text.len() as u64).to_le_bytes());
            hasher.update(text.as_bytes());
        }
        hasher.update(&event.timestamp.as_micros().to_le_bytes());
        if let Some(value) = event.value {
            hasher.update(&value.to_bits().to_le_bytes());
        }
        let digest = hasher.digest128();
        // The low half is enough to notice a repetition: at worst a stranger gets an ordinal too.
        let low = digest as u64;
        if self.seen.insert(low) {
            return format!("import:{digest:032x}");
        }
        let repeats = self.repeats.entry(low).or_default();
        *repeats += 1;
        format!("import:{digest:032x}-{repeats}")
    }
}

#[cfg(test)]
mod tests {
    use tastemaker_types::Timestamp;

    use super::*;

    fn event(user: &str, value: Option<f64>) -> Event {
        Event {
            event_id: String::new(),
            event_type: "click".into(),
            user_id: user.into(),
            item_id: "i".into(),
            timestamp: Timestamp::from_micros(1_000_000),
            value,
            session_id: None,
            received: None,
            request_id: None,
            properties: Attributes::new(),
        }
    }

    #[test]
    fn ids_come_from_the_content_and_stay_as_they_are() {
        let mut ids = IdMaker::default();
        let made = [ids.id_of(&event("u", None)), ids.id_of(&event("u", Some(0.0))), ids.id_of(&event("u", None))];
        let expected = [
            "ddc613cf4d34d61d8751932c31ddf427",
            "ee93e46caca904be401c8204b7fa4bd3",
            "ddc613cf4d34d61d8751932c31ddf427-1",
        ];
        assert_eq!(made, expected.map(|id| format!("import:{id}")));
    }
}
