//! The state that serves, record by record.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use proptest::prelude::*;
use tastemaker_features::{EventMeaning, OnlineState, SeenBy, StateOptions, User};
use tastemaker_store::Catalog;
use tastemaker_types::{
    AttributeSchema, AttributeType, Attributes, EntityUpsert, Event, Position, Record, Timestamp, UpsertMode, Value,
    Window,
};

fn at(days: i64) -> Timestamp {
    Timestamp::EPOCH.plus(Window::from_days(20_000 + days))
}

fn options(seen_by: SeenBy) -> StateOptions {
    let positive = EventMeaning { positive: true, weight: 1.0, min_value: None };
    let events = HashMap::from([
        ("impression".to_owned(), EventMeaning { positive: false, ..positive }),
        ("click".to_owned(), positive),
        ("purchase".to_owned(), EventMeaning { weight: 5.0, ..positive }),
        ("rating".to_owned(), EventMeaning { min_value: Some(4.0), ..positive }),
    ]);
    StateOptions { events, history_length: 50, seen_length: 100, seen_by, popular_window: Window::from_days(32) }
}

fn state(seen_by: SeenBy) -> OnlineState {
    let attributes = AttributeSchema::new([("price".to_owned(), AttributeType::Number)]);
    OnlineState::new(options(seen_by), Arc::new(Catalog::new(attributes)))
}

fn event(kind: &str, user: &str, item: &str, days: i64, value: Option<f64>) -> Record {
    Record::Event(Event {
        event_id: String::new(),
        event_type: kind.to_owned(),
        user_id: user.to_owned(),
        item_id: item.to_owned(),
        timestamp: at(days),
        value,
        session_id: None,
        received: None,
        request_id: None,
        properties: BTreeMap::new(),
    })
}

fn numbered(records: Vec<Record>) -> Vec<(Position, Record)> {
    (0..).map(Position).zip(records).collect()
}

fn user_upsert(id: &str, mode: UpsertMode, attributes: &[(&str, f64)]) -> Record {
    let attributes = attributes.iter().map(|(name, value)| ((*name).to_owned(), Value::Number(*value))).collect();
    Record::UserUpsert(EntityUpsert { id: id.to_owned(), attributes, mode, timestamp: at(0) })
}

#[test]
fn an_event_makes_item_and_user_exist() {
    let catalog = Arc::new(Catalog::new(AttributeSchema::default()));
    let state = OnlineState::new(options(SeenBy::Positive), Arc::clone(&catalog));
    assert_eq!((state.position(), state.user_count()), (None, 0));
    state.apply(&numbered(vec![event("click", "ann", "apple", 1, None)]));
    let row = catalog.snapshot().row("apple").unwrap();
    let ann = state.user("ann", at(1)).unwrap();
    assert_eq!((ann.history[0].row, ann.history[0].weight, ann.seen.as_slice()), (row, 1.0, [row].as_slice()));
    assert_eq!((state.position(), state.user_count()), (Some(Position(0)), 1));
    assert_eq!(state.user("bob", at(1)), None);
}

#[test]
fn what_an_event_says_is_up_to_its_type_and_value() {
    let records = || {
        numbered(vec![
            event("impression", "ann", "shown", 1, None),
            event("click", "ann", "clicked", 2, None),
            event("purchase", "ann", "bought", 3, None),
            event("rating", "ann", "loved", 4, Some(4.0)),
            event("rating", "ann", "hated", 5, Some(3.5)),
            event("rating", "ann", "unrated", 6, None),
            event("undeclared", "ann", "odd", 7, None),
        ])
    };
    for (seen_by, seen) in [(SeenBy::Nothing, 0), (SeenBy::Positive, 3), (SeenBy::Anything, 7)] {
        let state = state(seen_by);
        state.apply(&records());
        let ann = state.user("ann", at(9)).unwrap();
        assert_eq!(ann.history.iter().map(|liked| liked.weight).collect::<Vec<_>>(), [1.0, 5.0, 1.0]);
        assert_eq!(ann.seen.len(), seen, "{seen_by:?}");
    }
}

#[test]
fn a_deleted_user_is_forgotten_and_starts_anew() {
    let state = state(SeenBy::Positive);
    state.apply(&numbered(vec![
        user_upsert("ann", UpsertMode::Replace, &[("age", 30.0)]),
        event("click", "ann", "apple", 1, None),
        Record::UserDelete { id: "ann".to_owned(), timestamp: at(2) },
    ]));
    assert_eq!((state.user("ann", at(3)), state.user_count()), (None, 0));
    state.apply(&[(Position(3), event("click", "ann", "pear", 3, None))]);
    let ann = state.user("ann", at(3)).unwrap();
    assert_eq!((ann.history.len(), ann.attributes), (1, Attributes::new()));
    assert_eq!(state.rankings(at(3)).popular().len(), 2, "what the user added to popularity stays");
}

#[test]
fn attributes_are_replaced_or_merged_as_the_upsert_says() {
    let state = state(SeenBy::Nothing);
    let attributes = || state.user("ann", at(0)).unwrap().attributes.into_keys().collect::<Vec<_>>();
    state.apply(&numbered(vec![user_upsert("ann", UpsertMode::Replace, &[("a", 1.0), ("b", 1.0)])]));
    state.apply(&numbered(vec![user_upsert("ann", UpsertMode::Merge, &[("c", 1.0)])]));
    assert_eq!(attributes(), ["a", "b", "c"]);
    state.apply(&numbered(vec![user_upsert("ann", UpsertMode::Replace, &[("d", 1.0)])]));
    assert_eq!(attributes(), ["d"]);
}

#[test]
fn rankings_follow_events_deletions_and_the_clock() {
    let state = state(SeenBy::Nothing);
    let item = |id: &str| {
        Record::ItemUpsert(EntityUpsert {
            id: id.to_owned(),
            attributes: Attributes::new(),
            mode: UpsertMode::Replace,
            timestamp: at(0),
        })
    };
    state.apply(&numbered(vec![
        item("a"),
        item("b"),
        event("click", "u", "a", 1, None),
        event("click", "v", "a", 1, None),
    ]));
    state.apply(&numbered(vec![event("click", "u", "b", 20, None)]));
    assert_eq!(state.rankings(at(20)).popular(), [0, 1]);
    assert_eq!(state.rankings(at(40)).popular(), [1, 0], "the clicks on a have left the window, with no event needed");
    state.apply(&[(Position(9), Record::ItemDelete { id: "b".to_owned(), timestamp: at(41) })]);
    state.refresh(at(40));
    assert_eq!(state.rankings(at(40)).popular(), [0]);
    assert_eq!(state.rankings(at(40)).newest(), [(0, at(0))]);
}

#[test]
fn readers_go_on_while_the_writer_applies() {
    let state = state(SeenBy::Anything);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let (state, done) = (&state, &done);
        for _ in 0..2 {
            scope.spawn(move || {
                let mut longest = 0;
                while !done.load(Ordering::Acquire) {
                    if let Some(user) = state.user("u7", at(0)) {
                        assert!(user.history.is_sorted_by(|a, b| a.at >= b.at), "latest first at every moment");
                        assert!(user.history.len() >= longest, "a history of fewer items than before");
                        longest = user.history.len();
                    }
                    state.rankings(at(0));
                }
            });
        }
        for n in 0..2_000u64 {
            let record = event("click", &format!("u{}", n % 10), &format!("i{}", n % 500), (n / 100) as i64, None);
            state.apply(&[(Position(n), record)]);
        }
        done.store(true, Ordering::Release);
    });
    assert_eq!(state.position(), Some(Position(1_999)));
    assert_eq!(state.user_count(), 10);
}

#[test]
fn users_are_listed_in_the_order_of_their_ids() {
    let state = state(SeenBy::Nothing);
    state.apply(&numbered((0..300).rev().map(|n| event("click", &format!("u{n:03}"), "i", 0, None)).collect()));
    let mut listed: Vec<String> = Vec::new();
    loop {
        let page = state.user_ids_after(listed.last().map(String::as_str), 70);
        assert!(page.len() <= 70);
        if page.is_empty() {
            break;
        }
        listed.extend(page);
    }
    assert_eq!(listed, (0..300).map(|n| format!("u{n:03}")).collect::<Vec<_>>());
    assert!(state.user_ids_after(None, 0).is_empty());
}

fn records() -> impl Strategy<Value = Vec<Record>> {
    let record = (0u8..12, 0u8..4, 0u8..6, 0i64..60).prop_map(|(kind, user, item, days)| {
        let (user, item) = (format!("u{user}"), format!("i{item}"));
        match kind {
            0 => Record::UserDelete { id: user, timestamp: at(days) },
            1 => Record::ItemDelete { id: item, timestamp: at(days) },
            2 => Record::ItemUpsert(EntityUpsert {
                id: item,
                attributes: Attributes::from([("price".to_owned(), Value::Number(days as f64))]),
                mode: UpsertMode::Replace,
                timestamp: at(days),
            }),
            3 => user_upsert(&user, UpsertMode::Merge, &[("age", days as f64)]),
            4 => event("impression", &user, &item, days, None),
            5 => event("purchase", &user, &item, days, None),
            _ => event("click", &user, &item, days, None),
        }
    });
    proptest::collection::vec(record, 0..60)
}

fn summary(state: &OnlineState) -> (Vec<Option<User>>, Vec<u32>, usize) {
    state.refresh(at(60));
    let users = (0..4).map(|n| state.user(&format!("u{n}"), at(60))).collect();
    (users, state.rankings(at(60)).popular().to_vec(), state.user_count())
}

proptest! {
    #[test]
    fn a_replay_in_batches_of_any_size_is_the_live_state(records in records(), batch in 1usize..20) {
        let (live, replayed) = (state(SeenBy::Anything), state(SeenBy::Anything));
        let records = numbered(records);
        records.iter().for_each(|record| live.apply(std::slice::from_ref(record)));
        records.chunks(batch).for_each(|chunk| replayed.apply(chunk));
        prop_assert_eq!(summary(&live), summary(&replayed));
        prop_assert_eq!(live.position(), replayed.position());
    }
}
