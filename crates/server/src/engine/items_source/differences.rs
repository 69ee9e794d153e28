//! What the catalog lacks, or has otherwise than the database, as records for the log. Where both agree there is none, so that reading a
//! row again, which the feed does by design, writes nothing.

use std::sync::Arc;

use tastemaker_source::{Known, State};
use tastemaker_store::CatalogSnapshot;
use tastemaker_types::{EntityUpsert, Record, Timestamp, UpsertMode};

/// Why rows were read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cause {
    /// The catalog lacked them. What it has by now came from elsewhere, and may be newer.
    Lacking,
    /// They come next in the feed.
    Feed,
    /// They were said to have changed: where there is no row, the item is gone. Else it may be known from elsewhere, such as from its events.
    Notice,
}

/// A row that cannot be an item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) id: String,
    pub(super) reason: Arc<str>,
}

/// What came of a comparison.
#[derive(Debug, Default)]
pub(super) struct Differences {
    pub(super) records: Vec<Record>,
    pub(super) refused: usize,
    /// The first of them.
    pub(super) refusal: Option<Refusal>,
}

/// Compares what was read with what is known.
pub(super) fn differences(
    catalog: &CatalogSnapshot,
    read: &[(String, Known)],
    cause: Cause,
    now: Timestamp,
) -> Differences {
    let mut found = Differences::default();
    for (id, known) in read {
        let row = catalog.row(id);
        let alive = row.filter(|row| catalog.alive(*row));
        match &known.state {
            State::Present(attributes) => {
                let agrees = || alive.is_some_and(|row| catalog.attributes(row) == **attributes);
                if agrees() || (cause == Cause::Lacking && describes(catalog, id)) {
                    continue;
                }
                // An item that was never seen is as old as its row; any other changes now, after all that is known of it.
                let timestamp = match row {
                    None => known.updated.map_or(now, |updated| updated.min(now)),
                    Some(_) => now,
                };
                let attributes = attributes.as_ref().clone();
                let upsert = EntityUpsert { id: id.clone(), attributes, mode: UpsertMode::Replace, timestamp };
                found.records.push(Record::ItemUpsert(upsert));
            }
            // A row that says so, or none where there should be one.
            State::Absent if alive.is_some() && (known.updated.is_some() || cause == Cause::Notice) => {
                found.records.push(Record::ItemDelete { id: id.clone(), timestamp: now });
            }
            State::Absent => {}
            State::Refused(reason) => {
                found.refused += 1;
                let refusal = || Refusal { id: id.clone(), reason: Arc::clone(reason) };
                found.refusal.get_or_insert_with(refusal);
            }
        }
    }
    found
}

/// Whether an item is known with an attribute, or without any where none is declared.
pub(super) fn describes(catalog: &CatalogSnapshot, id: &str) -> bool {
    let attributes = catalog.attribute_schema().fields().len();
    catalog.row(id).is_some_and(|row| {
        catalog.alive(row) && (attributes == 0 || (0..attributes).any(|index| catalog.value(row, index).is_some()))
    })
}

/// Whether a record takes an item away.
pub(super) fn is_deletion(record: &Record) -> bool {
    matches!(record, Record::ItemDelete { .. })
}

#[cfg(test)]
mod tests {
    use tastemaker_config::Config;
    use tastemaker_store::{Catalog, ItemChange};
    use tastemaker_types::{Attributes, Value};

    use super::*;

    const NOW: Timestamp = Timestamp::from_micros(1_000_000);

    fn present(price: f64, updated: i64) -> Known {
        let attributes = Attributes::from([("price".to_owned(), Value::Number(price))]);
        let updated = Some(Timestamp::from_micros(updated));
        Known { updated, state: State::Present(Arc::new(attributes)) }
    }

    /// `a` costs 1, `gone` was deleted, `seen` is known from an event.
    fn catalog() -> Catalog {
        let config = Config::parse("[items.attributes]\nprice = \"number\"").unwrap();
        let catalog = Catalog::new(config.items.schema());
        let attributes = Attributes::from([("price".to_owned(), Value::Number(1.0))]);
        let upsert = |id: &str| EntityUpsert {
            id: id.to_owned(),
            attributes: attributes.clone(),
            mode: UpsertMode::Replace,
            timestamp: NOW,
        };
        let (a, gone) = (upsert("a"), upsert("gone"));
        catalog.apply(&[
            ItemChange::Upsert(&a),
            ItemChange::Upsert(&gone),
            ItemChange::Delete { id: "gone", timestamp: NOW },
            ItemChange::Seen { id: "seen", timestamp: NOW },
        ]);
        catalog
    }

    fn told(read: &[(&str, Known)], cause: Cause) -> Vec<(char, String, i64)> {
        let read: Vec<_> = read.iter().map(|(id, known)| ((*id).to_owned(), known.clone())).collect();
        let found = differences(&catalog().snapshot(), &read, cause, NOW);
        let tell = |record: Record| match record {
            Record::ItemUpsert(upsert) => ('+', upsert.id, upsert.timestamp.as_micros()),
            Record::ItemDelete { id, timestamp } => ('-', id, timestamp.as_micros()),
            other => panic!("{other:?}"),
        };
        found.records.into_iter().map(tell).collect()
    }

    #[test]
    fn what_agrees_is_not_written_again() {
        assert_eq!(told(&[("a", present(1.0, 7))], Cause::Notice), []);
        assert_eq!(told(&[("a", present(2.0, 7))], Cause::Notice), [('+', "a".to_owned(), 1_000_000)]);
    }

    #[test]
    fn a_new_item_is_as_old_as_its_row_and_none_is_of_the_future() {
        let read = [("new", present(1.0, 7)), ("future", present(1.0, 9_000_000)), ("gone", present(1.0, 7))];
        let upsert = |id: &str, at| ('+', id.to_owned(), at);
        let expected = [upsert("new", 7), upsert("future", 1_000_000), upsert("gone", 1_000_000)];
        assert_eq!(told(&read, Cause::Feed), expected);
    }

    #[test]
    fn what_was_lacking_is_left_alone_once_it_is_there() {
        assert_eq!(told(&[("a", present(2.0, 7))], Cause::Lacking), []);
        let read = [("new", present(1.0, 7)), ("gone", present(1.0, 7)), ("seen", present(1.0, 7))];
        let upsert = |id: &str, at| ('+', id.to_owned(), at);
        let expected = [upsert("new", 7), upsert("gone", 1_000_000), upsert("seen", 1_000_000)];
        assert_eq!(told(&read, Cause::Lacking), expected);
    }

    #[test]
    fn an_item_goes_if_its_row_says_so_or_if_it_is_missing_after_a_change() {
        let deleted = Known { updated: Some(Timestamp::from_micros(7)), state: State::Absent };
        let deletion = |id: &str| ('-', id.to_owned(), 1_000_000);
        let read = [("a", deleted.clone()), ("gone", deleted.clone()), ("never", deleted)];
        assert_eq!(told(&read, Cause::Feed), [deletion("a")]);
        let read = [("a", Known::ABSENT), ("seen", Known::ABSENT), ("never", Known::ABSENT)];
        assert_eq!(told(&read, Cause::Feed), []);
        assert_eq!(told(&read, Cause::Notice), [deletion("a"), deletion("seen")]);
    }

    #[test]
    fn a_row_that_cannot_be_an_item_changes_nothing_and_is_told() {
        let refused = Known { updated: None, state: State::Refused("too large".into()) };
        let read = [("a".to_owned(), refused)];
        let found = differences(&catalog().snapshot(), &read, Cause::Notice, NOW);
        assert!(found.records.is_empty());
        let refusal = Refusal { id: "a".to_owned(), reason: "too large".into() };
        assert_eq!((found.refused, found.refusal), (1, Some(refusal)));
    }
}
