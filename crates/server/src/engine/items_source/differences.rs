//! What the catalog lacks, or has otherwise than the database, as records for the log. Where both agree there is none, so that reading a
//! row again, which the feed does by design, writes nothing.

use std::sync::Arc;

use tastemaker_source::{Known, State};
use tastemaker_store::CatalogSnapshot;
use tastemaker_types::{EntityUpsert, Record, Timestamp, UpsertMode};

/// What it means that there is no row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Missing {
    /// Nothing: an item may be known from elsewhere, such as from its events.
    Unknown,
    /// The item is gone: it was said to have changed.
    Gone,
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
    missing: Missing,
    now: Timestamp,
) -> Differences {
    let mut found = Differences::default();
    for (id, known) in read {
        let row = catalog.row(id);
        let alive = row.filter(|row| catalog.alive(*row));
        match &known.state {
            State::Present(attributes) => {
                if alive.is_some_and(|row| catalog.attributes(row) == **attributes) {
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
            State::Absent if alive.is_some() && (known.updated.is_some() || missing == Missing::Gone) => {
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

    fn told(read: &[(&str, Known)], missing: Missing) -> Vec<(char, String, i64)> {
        let read: Vec<_> = read.iter().map(|(id, known)| ((*id).to_owned(), known.clone())).collect();
        let found = differences(&catalog().snapshot(), &read, missing, NOW);
        let tell = |record: Record| match record {
            Record::ItemUpsert(upsert) => ('+', upsert.id, upsert.timestamp.as_micros()),
            Record::ItemDelete { id, timestamp } => ('-', id, timestamp.as_micros()),
            other => panic!("{other:?}"),
        };
        found.records.into_iter().map(tell).collect()
    }

    #[test]
    fn what_agrees_is_not_written_again() {
        assert_eq!(told(&[("a", present(1.0, 7))], Missing::Gone), []);
        assert_eq!(told(&[("a", present(2.0, 7))], Missing::Gone), [('+', "a".to_owned(), 1_000_000)]);
    }

    #[test]
    fn a_new_item_is_as_old_as_its_row_and_none_is_of_the_future() {
        let read = [("new", present(1.0, 7)), ("future", present(1.0, 9_000_000)), ("gone", present(1.0, 7))];
        let upsert = |id: &str, at| ('+', id.to_owned(), at);
        let expected = [upsert("new", 7), upsert("future", 1_000_000), upsert("gone", 1_000_000)];
        assert_eq!(told(&read, Missing::Unknown), expected);
    }

    #[test]
    fn an_item_goes_if_its_row_says_so_or_if_it_is_missing_after_a_change() {
        let deleted = Known { updated: Some(Timestamp::from_micros(7)), state: State::Absent };
        let deletion = |id: &str| ('-', id.to_owned(), 1_000_000);
        let read = [("a", deleted.clone()), ("gone", deleted.clone()), ("never", deleted)];
        assert_eq!(told(&read, Missing::Unknown), [deletion("a")]);
        let read = [("a", Known::ABSENT), ("seen", Known::ABSENT), ("never", Known::ABSENT)];
        assert_eq!(told(&read, Missing::Unknown), []);
        assert_eq!(told(&read, Missing::Gone), [deletion("a"), deletion("seen")]);
    }

    #[test]
    fn a_row_that_cannot_be_an_item_changes_nothing_and_is_told() {
        let refused = Known { updated: None, state: State::Refused("too large".into()) };
        let read = [("a".to_owned(), refused)];
        let found = differences(&catalog().snapshot(), &read, Missing::Gone, NOW);
        assert!(found.records.is_empty());
        let refusal = Refusal { id: "a".to_owned(), reason: "too large".into() };
        assert_eq!((found.refused, found.refusal), (1, Some(refusal)));
    }
}
