//! The slow way: for each row everything that was known by then is found, sorted and applied to an empty state.

use std::collections::BTreeMap;

use tastemaker_config::Entity;
use tastemaker_features::kernel::{EntityState, Input, InputValue, Kernel, Role};
use tastemaker_features::set::FeatureSet;
use tastemaker_types::{Attributes, FeatureValue, Record, Timestamp, UpsertMode, Value, Window};

/// An event with what its item was when it was logged.
struct Seen<'a> {
    kind: &'a str,
    user: &'a str,
    item: &'a str,
    at: Timestamp,
    price: Option<f64>,
    category: Option<String>,
}

/// A row of the view `worth`.
#[derive(Debug, Clone)]
pub(crate) struct Worth {
    pub(crate) user: String,
    pub(crate) event: Timestamp,
    pub(crate) created: Timestamp,
    pub(crate) value: Option<f64>,
}

pub(crate) struct Reference<'a> {
    set: &'a FeatureSet,
    log: &'a [Record],
    table: &'a [Worth],
}

fn number(value: Option<&Value>) -> Option<f64> {
    if let Some(Value::Number(number)) = value { Some(*number) } else { None }
}

fn text(value: Option<&Value>) -> Option<String> {
    if let Some(Value::Text(text)) = value { Some(text.clone()) } else { None }
}

impl<'a> Reference<'a> {
    pub(crate) fn new(set: &'a FeatureSet, log: &'a [Record], table: &'a [Worth]) -> Self {
        Self { set, log, table }
    }

    fn events(&self) -> Vec<Seen<'a>> {
        let mut items: BTreeMap<&str, Attributes> = BTreeMap::new();
        let mut events = Vec::new();
        for record in self.log {
            match record {
                Record::ItemUpsert(upsert) => {
                    let attributes = items.entry(&upsert.id).or_default();
                    if upsert.mode == UpsertMode::Replace {
                        attributes.clear();
                    }
                    attributes.extend(upsert.attributes.clone());
                }
                Record::ItemDelete { id, .. } => drop(items.remove(id.as_str())),
                Record::Event(event) => {
                    let attribute = |name| items.get(event.item_id.as_str()).and_then(|item| item.get(name));
                    events.push(Seen {
                        kind: &event.event_type,
                        user: &event.user_id,
                        item: &event.item_id,
                        at: event.timestamp,
                        price: number(attribute("price")),
                        category: text(attribute("category")),
                    });
                }
                Record::UserDelete { id, .. } => events.push(Seen {
                    kind: "deleted",
                    user: id,
                    item: "",
                    at: Timestamp::EPOCH,
                    price: None,
                    category: None,
                }),
                _ => {}
            }
        }
        events
    }

    /// The events of an entity in the order of time, of users without those before a deletion.
    fn known(
        &self,
        events: &'a [Seen<'a>],
        user: Option<&str>,
        item: Option<&str>,
        now: Timestamp,
    ) -> Vec<&'a Seen<'a>> {
        let from = user.and_then(|user| events.iter().rposition(|event| event.kind == "deleted" && event.user == user));
        let mut known: Vec<&Seen<'_>> = events
            .iter()
            .skip(from.unwrap_or(0))
            .filter(|event| event.kind != "deleted" && event.at <= now)
            .filter(|event| user.is_none_or(|user| event.user == user) && item.is_none_or(|item| event.item == item))
            .collect();
        known.sort_by_key(|event| event.at);
        known
    }

    fn kernel(&self, entity: Entity) -> &Kernel {
        self.set.streams(entity).kernel()
    }

    fn read(&self, entity: Entity, state: &EntityState, feature: usize, now: Timestamp) -> Option<FeatureValue> {
        self.kernel(entity).read(state, feature, now)
    }

    /// The values of all features of the project, by name.
    pub(crate) fn row(&self, user: &str, item: &str, now: Timestamp) -> BTreeMap<&'static str, Option<FeatureValue>> {
        let events = self.events();
        let input = |feature, value| Input { feature, value, ..Input::default() };
        let (mut of_user, mut last_purchase) = (EntityState::default(), None);
        for event in self.known(&events, Some(user), None, now) {
            let mut inputs = Vec::new();
            if event.kind == "click" {
                inputs.push(input(0, InputValue::None));
            }
            if let Some(price) = event.price.filter(|price| event.kind == "purchase" && *price > 1.0) {
                inputs.push(input(1, InputValue::Number(price)));
                last_purchase = last_purchase.max(Some(event.at));
            }
            if let Some(category) = &event.category {
                inputs.push(Input { group: Some(category), ..input(2, InputValue::None) });
            }
            inputs.push(input(3, InputValue::Text(event.item)));
            self.kernel(Entity::User).apply(&mut of_user, event.at, &inputs);
        }
        let mut of_item = EntityState::default();
        for event in self.known(&events, None, Some(item), now) {
            let role = match event.kind {
                "purchase" => Role::Numerator,
                "click" => Role::Denominator,
                _ => continue,
            };
            let input = Input { role, ..input(0, InputValue::None) };
            self.kernel(Entity::Item).apply(&mut of_item, event.at, &[input]);
        }
        let mut of_pair = EntityState::default();
        for event in self.known(&events, Some(user), Some(item), now) {
            if event.kind == "click" {
                self.kernel(Entity::Pair).apply(&mut of_pair, event.at, &[input(0, InputValue::None)]);
            }
        }

        let spent = self.read(Entity::User, &of_user, 1, now);
        let spent = match last_purchase {
            Some(at) if at >= now.minus(Window::from_millis(2 * 3_600_000)) => spent,
            _ => Some(FeatureValue::Number(-1.0)),
        };
        let clicks = self.read(Entity::Pair, &of_pair, 0, now);
        let as_number = |value: &Option<FeatureValue>| match value {
            Some(FeatureValue::Number(number)) => Some(*number),
            _ => None,
        };
        let price = number(self.attributes(item, now, false).get("price"));
        let dear = price
            .zip(as_number(&spent).filter(|spent| *spent != 0.0))
            .map(|(price, spent)| price / spent + as_number(&clicks).unwrap_or(0.0));
        let country = text(self.attributes(user, now, true).get("country"));
        let worth = self.worth(user, now);
        BTreeMap::from([
            ("clicks_30m", self.read(Entity::User, &of_user, 0, now)),
            ("spent", spent),
            ("by_category", self.read(Entity::User, &of_user, 2, now)),
            ("latest", self.read(Entity::User, &of_user, 3, now)),
            ("purchases_per_click", self.read(Entity::Item, &of_item, 0, now)),
            ("clicks", clicks),
            ("dear", dear.map(FeatureValue::Number)),
            ("at_home", country.map(|country| FeatureValue::Bool(country == "ch"))),
            ("value", worth.map(FeatureValue::Number)),
        ])
    }

    fn attributes(&self, id: &str, now: Timestamp, of_user: bool) -> Attributes {
        let mut attributes = Attributes::new();
        for record in self.log {
            match record {
                Record::ItemUpsert(upsert) | Record::UserUpsert(upsert)
                    if matches!(record, Record::UserUpsert(_)) == of_user
                        && upsert.id == id
                        && upsert.timestamp <= now =>
                {
                    if upsert.mode == UpsertMode::Replace {
                        attributes.clear();
                    }
                    attributes.extend(upsert.attributes.clone());
                }
                Record::ItemDelete { id: deleted, timestamp } if !of_user && deleted == id && *timestamp <= now => {
                    attributes.clear();
                }
                // However early somebody asks: they are forgotten.
                Record::UserDelete { id: deleted, .. } if of_user && deleted == id => attributes.clear(),
                _ => {}
            }
        }
        attributes
    }

    fn worth(&self, user: &str, now: Timestamp) -> Option<f64> {
        let mut rows: Vec<Worth> = Vec::new();
        let mut deleted = Timestamp::from_micros(i64::MIN);
        for record in self.log {
            match record {
                Record::FeatureRow(row)
                    if row.user_id.as_deref() == Some(user)
                        && row.created.unwrap_or(row.event_timestamp) <= deleted => {}
                Record::FeatureRow(row) if row.user_id.as_deref() == Some(user) => rows.push(Worth {
                    user: user.to_owned(),
                    event: row.event_timestamp,
                    created: row.created.unwrap_or(row.event_timestamp),
                    value: row.values.iter().find_map(|(name, value)| match value {
                        FeatureValue::Number(number) if name == "value" => Some(*number),
                        _ => None,
                    }),
                }),
                Record::UserDelete { id, timestamp } if id == user => {
                    rows.clear();
                    deleted = *timestamp;
                }
                _ => {}
            }
        }
        rows.extend(self.table.iter().filter(|row| row.user == user && row.created > deleted).cloned());
        rows.retain(|row| row.event <= now && row.created <= now);
        let newest = rows.iter().max_by_key(|row| (row.event, row.created))?;
        (newest.event >= now.minus(Window::from_millis(3_600_000))).then_some(newest.value)?
    }
}
