//! What every operation means, by sorting and scanning the raw events.

use std::collections::{BTreeMap, BTreeSet};

use tastemaker_features::kernel::{Definition, Operation, Role};
use tastemaker_types::FeatureValue;

/// One event, as it arrived.
#[derive(Debug, Clone)]
pub(crate) struct Event {
    /// In microseconds.
    pub(crate) at: i64,
    pub(crate) value: Value,
    pub(crate) group: Option<&'static str>,
    pub(crate) role: Role,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Value {
    None,
    Number(f64),
    Text(&'static str),
}

impl Value {
    fn number(self) -> f64 {
        if let Self::Number(number) = self { number } else { 1.0 }
    }

    fn name(self) -> String {
        match self {
            Self::None => unreachable!("not taken in"),
            Self::Number(number) => number.to_string(),
            Self::Text(text) => text.to_owned(),
        }
    }
}

/// The value of a feature at `now`, of events in the order of their arrival.
pub(crate) fn read(definition: &Definition, events: &[Event], now: i64) -> Option<FeatureValue> {
    let grouped = definition.groups.is_some();
    let taken: Vec<Event> = events.iter().filter(|event| takes(definition, event)).cloned().collect();
    if taken.is_empty() {
        return None;
    }
    if !grouped {
        return aggregate(definition, taken, now);
    }
    let mut groups = BTreeMap::<_, Vec<Event>>::new();
    for event in taken {
        groups.entry(event.group.unwrap()).or_default().push(event);
    }
    let numbers = groups.into_iter().filter_map(|(key, events)| match aggregate(definition, events, now)? {
        FeatureValue::Number(number) => Some((key.to_owned(), number)),
        other => panic!("{other:?}"),
    });
    Some(FeatureValue::Map(numbers.collect()))
}

/// The time of the latest event that a feature takes in.
pub(crate) fn event_time(definition: &Definition, events: &[Event]) -> Option<i64> {
    events.iter().filter(|event| takes(definition, event)).map(|event| event.at).max()
}

fn takes(definition: &Definition, event: &Event) -> bool {
    use Operation as O;
    if definition.groups.is_some() && event.group.is_none() {
        return false;
    }
    match (&definition.operation, event.value) {
        (O::Count | O::TimeSinceLast | O::SessionDuration { .. } | O::SessionEventCount { .. }, _) => true,
        (O::Rate { .. }, value) => !matches!(value, Value::Text(_)),
        (O::Last, Value::Text(_)) => definition.groups.is_none(),
        (O::LastK { .. } | O::Distinct | O::TopK { .. } | O::SessionItems { .. }, value) => value != Value::None,
        (_, value) => matches!(value, Value::Number(_)),
    }
}

/// Of at least one event.
fn aggregate(definition: &Definition, mut events: Vec<Event>, now: i64) -> Option<FeatureValue> {
    use Operation as O;
    let window = match definition.operation {
        O::Decayed { half_life } => Some(64 * half_life.as_micros()),
        _ => definition.window.map(|window| window.as_micros()),
    };
    let tiled = in_window(&events, window, now);
    let numbers: Vec<f64> = tiled.iter().map(|event| event.value.number()).collect();
    let sum: f64 = numbers.iter().sum();
    let count = numbers.len() as f64;
    let with_role =
        |role| tiled.iter().filter(move |event| event.role == role).map(|event| event.value.number()).sum::<f64>();

    // Operations that know the time of each event; the sort keeps the order of arrival of equal times.
    events.sort_by_key(|event| event.at);
    let latest = |k: u32| {
        let kept = events.iter().rev().take(k as usize + 4);
        kept.filter(|event| event.at <= now && window.is_none_or(|window| event.at >= now - window)).take(k as usize)
    };

    Some(FeatureValue::Number(match definition.operation {
        O::Count => count,
        O::Sum => sum,
        O::Mean => some(&numbers, sum / count)?,
        O::Min => some(&numbers, numbers.iter().copied().fold(f64::INFINITY, f64::min))?,
        O::Max => some(&numbers, numbers.iter().copied().fold(f64::NEG_INFINITY, f64::max))?,
        O::Variance => some(&numbers, numbers.iter().map(|x| (x - sum / count).powi(2)).sum::<f64>() / count)?,
        O::Rate { prior, prior_mean } => {
            let denominator = with_role(Role::Denominator) + prior;
            if denominator <= 0.0 {
                return None;
            }
            (with_role(Role::Numerator) + prior * prior_mean) / denominator
        }
        O::Decayed { half_life } => tiled
            .iter()
            .map(|event| event.value.number() * (-(now - event.at) as f64 / half_life.as_micros() as f64).exp2())
            .sum(),
        O::Distinct => tiled.iter().map(|event| format!("{:?}", event.value)).collect::<BTreeSet<_>>().len() as f64,
        O::TopK { k } => {
            let mut counts = BTreeMap::<String, f64>::new();
            tiled.iter().for_each(|event| *counts.entry(event.value.name()).or_default() += 1.0);
            let mut counts: Vec<_> = counts.into_iter().collect();
            counts.sort_by(|a, b| b.1.total_cmp(&a.1));
            counts.truncate(k as usize);
            return Some(FeatureValue::Map(counts));
        }
        O::Last => match latest(1).next()?.value {
            Value::Text(text) => return Some(FeatureValue::Text(text.to_owned())),
            value => value.number(),
        },
        O::LastK { k } => return Some(FeatureValue::Texts(latest(k).map(|event| event.value.name()).collect())),
        O::TimeSinceLast => (now - latest(1).next()?.at) as f64 / 1e6,
        O::SessionDuration { gap } => session(&events, gap.as_micros(), now)?
            .map_or(0.0, |session| (session.last().unwrap().at - session[0].at) as f64 / 1e6),
        O::SessionEventCount { gap } => {
            session(&events, gap.as_micros(), now)?.map_or(0.0, |session| session.len() as f64)
        }
        O::SessionItems { gap, k } => {
            let mut items = Vec::new();
            for event in session(&events, gap.as_micros(), now)?.unwrap_or_default().iter().rev() {
                if !items.contains(&event.value.name()) && items.len() < k as usize {
                    items.push(event.value.name());
                }
            }
            return Some(FeatureValue::Texts(items));
        }
    }))
}

fn some(numbers: &[f64], value: f64) -> Option<f64> {
    (!numbers.is_empty()).then_some(value)
}

/// The events of the tiles that overlap the window, if they are among the 66 latest tiles.
fn in_window(events: &[Event], window: Option<i64>, now: i64) -> Vec<Event> {
    let Some(window) = window else { return events.to_vec() };
    let hop = (window / 32).max(1_000_000);
    let begins = |event: &Event| event.at.div_euclid(hop) * hop;
    let tiles: BTreeSet<i64> = events.iter().map(begins).collect();
    let kept: BTreeSet<i64> = tiles.into_iter().rev().take(66).collect();
    let counts = |tile: i64| kept.contains(&tile) && tile <= now && tile + hop > now - window;
    events.iter().filter(|event| counts(begins(event))).cloned().collect()
}

/// Of sorted events, the session at `now`: none if none has begun, and none inside if the last one is over.
fn session(sorted: &[Event], gap: i64, now: i64) -> Option<Option<&[Event]>> {
    let session = sorted.chunk_by(|a, b| b.at - a.at <= gap).rfind(|session| session[0].at <= now)?;
    Some((now - session.last().unwrap().at <= gap).then_some(session))
}
