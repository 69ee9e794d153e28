//! Random events in random order: the kernel agrees with the reference, also after a merge and after being stored.

use proptest::prelude::*;
use proptest::sample::select;
use tastemaker_features::kernel::{Definition, EntityState, Input, InputValue, Kernel, Operation, Role};
use tastemaker_types::{FeatureValue, Timestamp};

use super::reference::{self, Event, Value};
use super::{definition, seconds};

const SECOND: i64 = 1_000_000;
const GAP: i64 = 30;
/// Later than all events.
const NEVER: Timestamp = Timestamp::from_micros(i64::MAX);

/// Every operation but sessions, with and without windows (hops of 1 s, 3.125 s and 10 s), grouped and not.
fn windowed() -> Vec<Definition> {
    use Operation as O;
    let operations = [
        O::Count,
        O::Sum,
        O::Mean,
        O::Min,
        O::Max,
        O::Variance,
        O::Last,
        O::LastK { k: 3 },
        O::Distinct,
        O::TopK { k: 2 },
        O::Rate { prior: 0.0, prior_mean: 0.0 },
        O::Rate { prior: 2.5, prior_mean: 0.1 },
        O::TimeSinceLast,
    ];
    let mut definitions = vec![];
    for operation in operations {
        for window in [None, Some(5), Some(100), Some(320)] {
            definitions.push(definition(operation.clone(), window.map(seconds), None));
            if !matches!(operation, O::LastK { .. } | O::TopK { .. }) {
                definitions.push(definition(operation.clone(), window.map(seconds), Some(4)));
            }
        }
    }
    for half_life in [2, 45] {
        definitions.push(definition(O::Decayed { half_life: seconds(half_life) }, None, None));
        definitions.push(definition(O::Decayed { half_life: seconds(half_life) }, None, Some(4)));
    }
    definitions
}

fn sessions() -> Vec<Definition> {
    let gap = seconds(GAP);
    let mut definitions = vec![definition(Operation::SessionItems { gap, k: 3 }, None, None)];
    for groups in [None, Some(4)] {
        definitions.push(definition(Operation::SessionDuration { gap }, None, groups));
        definitions.push(definition(Operation::SessionEventCount { gap }, None, groups));
    }
    definitions
}

/// An event at some half second of the range, so that many have equal times.
fn event(seconds: std::ops::RangeInclusive<i64>) -> impl Strategy<Value = Event> {
    let value = prop_oneof![
        1 => Just(Value::None),
        6 => (-400..400_i32).prop_map(|n| Value::Number(f64::from(n) / 4.0)),
        4 => (0..6_i32).prop_map(|n| Value::Number(f64::from(n))),
        4 => select(vec!["a", "b", "c", "d", "é", "2"]).prop_map(Value::Text),
    ];
    let group = select(vec![None, Some("x"), Some("y"), Some("z"), Some("")]);
    let role = select(vec![Role::Numerator, Role::Denominator, Role::Denominator]);
    let half_seconds = seconds.start() * 2..=seconds.end() * 2;
    (half_seconds, value, group, role).prop_map(|(half, value, group, role)| Event {
        at: half * SECOND / 2,
        value,
        group,
        role,
    })
}

fn apply(kernel: &Kernel, state: &mut EntityState, events: &[Event]) {
    events.iter().for_each(|event| apply_at(kernel, state, event, None));
}

/// Applies an event that was received before its time, if that is given.
fn apply_at(kernel: &Kernel, state: &mut EntityState, event: &Event, received: Option<i64>) {
    let value = match event.value {
        Value::None => InputValue::None,
        Value::Number(number) => InputValue::Number(number),
        Value::Text(text) => InputValue::Text(text),
    };
    let input = |feature| Input { feature, value, group: event.group, role: event.role };
    let inputs: Vec<_> = (0..kernel.len() as u16).map(input).collect();
    let at = Timestamp::from_micros(event.at);
    match received {
        Some(received) => kernel.apply_ahead(state, at, Timestamp::from_micros(received), &inputs),
        None => kernel.apply(state, at, &inputs),
    };
}

/// Whether values of equal times do not compete. Here two states are merged, so that their order is not that of the reference.
fn same_in_any_order(operation: &Operation) -> bool {
    !matches!(operation, Operation::Last | Operation::LastK { .. } | Operation::SessionItems { .. })
}

/// Equal but for rounding.
fn close(one: &Option<FeatureValue>, other: &Option<FeatureValue>) -> bool {
    let near = |a: f64, b: f64| (a - b).abs() <= 1e-9 * a.abs().max(b.abs()) + 1e-11;
    match (one, other) {
        (Some(FeatureValue::Number(a)), Some(FeatureValue::Number(b))) => near(*a, *b),
        (Some(FeatureValue::Map(a)), Some(FeatureValue::Map(b))) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.0 == b.0 && near(a.1, b.1))
        }
        _ => one == other,
    }
}

/// Holds every feature to the reference at each `now`: applied one by one, in two halves that are merged, and from stored bytes.
fn check(definitions: Vec<Definition>, events: &[Event], split: usize, nows: &[i64]) -> Result<(), TestCaseError> {
    let kernel = Kernel::new(definitions.clone()).unwrap();
    let (mut whole, mut merged, mut second) = Default::default();
    apply(&kernel, &mut whole, events);
    let (before, after) = events.split_at(split.min(events.len()));
    apply(&kernel, &mut merged, before);
    apply(&kernel, &mut second, after);
    kernel.merge(&mut merged, &second);
    let stored = kernel.decode(&kernel.encode(&whole)).unwrap();
    prop_assert_eq!(&stored, &whole);

    let mut values = vec![Some(FeatureValue::Bool(true)); 3];
    for (feature, definition) in definitions.iter().enumerate() {
        let expected = reference::event_time(definition, events).map(Timestamp::from_micros);
        prop_assert_eq!(kernel.event_time(&whole, feature, NEVER), expected);
        prop_assert_eq!(kernel.event_time(&merged, feature, NEVER), expected);
    }
    for &now in nows {
        kernel.read_all(&whole, Timestamp::from_micros(now), &mut values);
        prop_assert_eq!(values.len(), definitions.len());
        for (feature, definition) in definitions.iter().enumerate() {
            let expected = reference::read(definition, events, now);
            prop_assert!(close(&values[feature], &expected), "{definition:?} {:?} ≠ {expected:?}", values[feature]);
            let read = kernel.read(&merged, feature, Timestamp::from_micros(now));
            prop_assert!(close(&read, &expected), "merged: {definition:?} {read:?} ≠ {expected:?}");
            if let Some(FeatureValue::Map(groups)) = &expected
                && definition.groups.is_some()
                && let Some((group, number)) = groups.first()
            {
                let read = kernel.read_group(&whole, feature, group, Timestamp::from_micros(now));
                prop_assert!(close(&read.map(FeatureValue::Number), &Some(FeatureValue::Number(*number))));
            }
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn every_operation_is_what_a_scan_of_the_events_says(
        events in proptest::collection::vec(event(-200..=400), 0..100),
        split in 0usize..100,
        nows in proptest::collection::vec(-300 * SECOND..900 * SECOND, 4),
    ) {
        check(windowed(), &events, split, &nows)?;
    }

    #[test]
    fn events_of_clocks_that_run_ahead_count_from_their_own_time_on(
        events in proptest::collection::vec((event(0..=4 * GAP), 0..100i64, any::<bool>()), 0..60),
        later in proptest::collection::vec(0..300 * SECOND, 2),
    ) {
        let definitions: Vec<Definition> = windowed().into_iter().chain(sessions()).collect();
        let kernel = Kernel::new(definitions.clone()).unwrap();
        let (mut state, mut clock, mut second) = (EntityState::default(), 0, EntityState::default());
        for (number, (event, ahead, is_ahead)) in events.iter().enumerate() {
            // The present goes on; an event says it is later than that, or not.
            clock = clock.max(if *is_ahead { event.at - ahead * SECOND } else { event.at });
            let into = if number % 3 == 0 { &mut second } else { &mut state };
            apply_at(&kernel, into, event, (event.at > clock).then_some(clock));
        }
        kernel.merge(&mut state, &second);
        let state = kernel.decode(&kernel.encode(&state)).unwrap();
        for now in later.into_iter().map(|later| clock + later) {
            let known: Vec<Event> = events.iter().map(|(event, ..)| event.clone()).filter(|event| event.at <= now).collect();
            for (feature, definition) in definitions.iter().enumerate() {
                let at = Timestamp::from_micros(now);
                let expected = reference::event_time(definition, &known).map(Timestamp::from_micros);
                prop_assert_eq!(kernel.event_time(&state, feature, at), expected);
                if same_in_any_order(&definition.operation) {
                    let (read, expected) = (kernel.read(&state, feature, at), reference::read(definition, &known, now));
                    prop_assert!(close(&read, &expected), "{definition:?} {read:?} ≠ {expected:?}");
                }
            }
        }
    }

    #[test]
    fn sessions_of_events_in_any_order_are_those_of_the_sorted_events(
        // In four gaps there are never more than four sessions.
        events in proptest::collection::vec(event(0..=4 * GAP), 0..20),
        split in 0usize..20,
        nows in proptest::collection::vec(-SECOND..200 * SECOND, 4),
    ) {
        check(sessions(), &events, split, &nows)?;
    }

    #[test]
    fn long_histories_that_are_late_by_less_than_a_gap_have_the_sessions_of_the_sorted_events(
        steps in proptest::collection::vec((event(0..=0), 0..80i64, 0..=GAP), 1..60),
        split in 0usize..60,
        later in 0..2 * GAP,
    ) {
        let mut clock = 0;
        let events: Vec<_> = steps.into_iter().map(|(mut event, step, late)| {
            // Most are close to the one before.
            clock += if step < 40 { step / 4 } else { step } * SECOND;
            event.at = clock - late * SECOND;
            event
        }).collect();
        let all_see_it = sessions().into_iter().filter(|definition| {
            definition.groups.is_none() && !matches!(definition.operation, Operation::SessionItems { .. })
        });
        check(all_see_it.collect(), &events, split, &[clock, clock + later * SECOND])?;
    }
}
