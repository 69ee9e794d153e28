//! The files that need no mapping: names of columns that everybody uses, and forms without a header.

use tastemaker_config::{Config, EntityMapping};
use tastemaker_types::{AttributeSchema, Timestamp};

use crate::columns::{Slot, fold};

/// What a file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// One event a row.
    Events,
    /// One item a row.
    Items,
    /// One user a row.
    Users,
}

impl Kind {
    /// The section of `[import]`: `events`, `items` or `users`.
    pub fn section(self) -> &'static str {
        match self {
            Self::Events => "events",
            Self::Items => "items",
            Self::Users => "users",
        }
    }

    /// The key that maps the column no file can do without.
    pub(crate) fn first_key(self) -> &'static str {
        match self {
            Self::Events => "events.columns.user",
            Self::Items => "items.id",
            Self::Users => "users.id",
        }
    }
}

/// The slots of an event, by place in [`event_slots`].
pub(crate) mod event {
    pub(crate) const USER: usize = 0;
    pub(crate) const ITEM: usize = 1;
    pub(crate) const TIMESTAMP: usize = 2;
    pub(crate) const TYPE: usize = 3;
    pub(crate) const VALUE: usize = 4;
    pub(crate) const EVENT_ID: usize = 5;
    pub(crate) const SESSION: usize = 6;
    pub(crate) const REQUEST: usize = 7;
    pub(crate) const PROPERTIES: usize = 8;
}

/// The slots of an item or user before those of its attributes, by place in [`entity_slots`].
pub(crate) mod entity {
    pub(crate) const ID: usize = 0;
    pub(crate) const TIMESTAMP: usize = 1;
    pub(crate) const NESTED: usize = 2;
    pub(crate) const ATTRIBUTES: usize = 3;
}

const USER: [&str; 6] = ["userid", "user", "uid", "customerid", "customer", "visitorid"];
const ITEM: [&str; 8] = ["itemid", "item", "movieid", "movie", "productid", "product", "sku", "articleid"];
const TIMESTAMP: [&str; 7] = ["timestamp", "time", "ts", "datetime", "date", "eventtime", "createdat"];
/// The column of a rating file, whose events are ratings.
pub(crate) const RATING: &str = "rating";

fn words(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// The slots of events, in the order of [`event`].
pub(crate) fn event_slots(config: &Config) -> Vec<Slot> {
    let columns = &config.import.events.columns;
    let slot = |what: &str, key: &str, mapped: &Option<String>, aliases: &[&str], required: bool| Slot {
        what: what.to_owned(),
        key: format!("events.columns.{key}"),
        mapped: mapped.clone(),
        aliases: words(aliases),
        required,
    };
    vec![
        slot("the user's id", "user", &columns.user, &USER, true),
        slot("the item's id", "item", &columns.item, &ITEM, true),
        slot("the time", "timestamp", &columns.timestamp, &TIMESTAMP, true),
        slot("the event type", "type", &columns.event_type, &["type", "eventtype", "event", "action"], false),
        slot("the value", "value", &columns.value, &["value", RATING, "amount"], false),
        slot("the event's id", "event_id", &columns.event_id, &["eventid", "id"], false),
        slot("the session", "session_id", &columns.session_id, &["sessionid", "session"], false),
        slot("the request", "request_id", &columns.request_id, &["requestid"], false),
        slot("the properties", "properties", &None, &["properties"], false),
    ]
}

/// The slots of items or users, in the order of [`entity`], then one for each attribute of the schema.
pub(crate) fn entity_slots(kind: Kind, mapping: &EntityMapping, schema: &AttributeSchema) -> Vec<Slot> {
    let section = kind.section();
    let (own, what) = if kind == Kind::Users { (&USER[..], "the user's id") } else { (&ITEM[..], "the item's id") };
    let ids: Vec<&str> = std::iter::once("id").chain(own.iter().copied()).collect();
    let slot = |what: &str, key: &str, mapped: Option<String>, aliases: Vec<String>, required: bool| Slot {
        what: what.to_owned(),
        key: format!("{section}.{key}"),
        mapped,
        aliases,
        required,
    };
    // A name that the project gave to an attribute is the attribute's.
    let free = |alias: &str| schema.fields().iter().all(|(name, _)| fold(name) != alias).then(|| alias.to_owned());
    let mut slots = vec![
        slot(what, "id", mapping.id.clone(), words(&ids), true),
        slot("the time", "timestamp", None, free("timestamp").into_iter().collect(), false),
        slot("the attributes", "attributes", None, free("attributes").into_iter().collect(), false),
    ];
    slots.extend(schema.fields().iter().map(|(name, _)| {
        let key = format!("attributes.{name}");
        slot(&format!("attribute '{name}'"), &key, mapping.attributes.get(name).cloned(), vec![fold(name)], false)
    }));
    slots
}

/// The columns of a text file without a header, if its form is well known: GroupLens' `.dat` files, and
/// `user, item, timestamp[, type][, value]` or `user, item, rating, timestamp`, told apart by where the time is.
pub(crate) fn columns_by_place(kind: Kind, first: &[String], two_colons: bool) -> Option<Vec<String>> {
    let names: &[&str] = match (kind, two_colons, first.len()) {
        (Kind::Items, true, 3) => &["movie_id", "title", "genres"],
        (Kind::Users, true, 5) => &["user_id", "gender", "age", "occupation", "zip_code"],
        (Kind::Events, _, 3..=5) if is_time(&first[2]) => &["user", "item", "timestamp", "type", "value"],
        (Kind::Events, _, 4) if is_time(&first[3]) => &["user", "item", RATING, "timestamp"],
        _ => return None,
    };
    let mut names = names.get(..first.len()).map(words)?;
    // `user, item, timestamp, 4.5`: the fourth column is a number, so it is no type.
    if first.len() == 4 && names[2] == "timestamp" && first[3].parse::<f64>().is_ok() {
        "value".clone_into(&mut names[3]);
    }
    Some(names)
}

/// Whether a text is surely a time, not a rating: a date, or a number since 1970 that is later than 1973.
fn is_time(text: &str) -> bool {
    match text.parse::<f64>() {
        Ok(number) => number >= 1e8,
        Err(_) => text.parse::<Timestamp>().is_ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_without_a_header_are_told_by_where_the_time_is() {
        let by_place = |text: &str| {
            let first: Vec<String> = text.split(',').map(str::to_owned).collect();
            columns_by_place(Kind::Events, &first, false).map(|names| names.join(","))
        };
        assert_eq!(by_place("1,2,1400000000").as_deref(), Some("user,item,timestamp"));
        assert_eq!(by_place("1,2,2020-01-01,click").as_deref(), Some("user,item,timestamp,type"));
        assert_eq!(by_place("1,2,1400000000,4.5").as_deref(), Some("user,item,timestamp,value"));
        assert_eq!(by_place("1,2,1400000000,click,4.5").as_deref(), Some("user,item,timestamp,type,value"));
        assert_eq!(by_place("196,242,3,881250949").as_deref(), Some("user,item,rating,timestamp"));
        assert_eq!(by_place("a,b,c"), None);
        assert_eq!(by_place("1,2"), None);
    }
}
