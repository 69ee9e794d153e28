//! Declared features from project file to value.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::collections::HashMap;
use std::sync::Arc;

use tastemaker_config::{Config, Entity};
use tastemaker_features::set::FeatureSet;
use tastemaker_features::{Cell, OnlineState, ReadPlan, SeenBy, StateOptions, Status};
use tastemaker_store::Catalog;
use tastemaker_types::{
    Attributes, EntityUpsert, Event, FeatureRow, FeatureValue, Position, Record, Timestamp, UpsertMode, Value, Window,
};

const PROJECT: &str = r#"
[items.attributes]
category = "tag"
price = "number"

[users.attributes]
country = "tag"

[events]
click = { positive = true }
purchase = { positive = true, weight = 5.0, conversion = true }

[recommend.context]
device = "tag"

[[features]]
entity = "user"
name = "recent_click_count"
aggregate = "count"
events = ["click"]
window = "30m"

[[features]]
entity = "user"
name = "session_duration"
aggregate = "session_duration"
gap = "30m"

[[features]]
entity = "user"
name = "spent_by_category"
aggregate = "sum"
events = ["purchase"]
group_by = "item.category"

[[features]]
entity = "user"
name = "usual_price"
aggregate = "mean"
events = ["purchase"]
value = "item.price"
filter = "item.price > 1"
ttl = "30d"
default = 10

[[features]]
entity = "item"
name = "ctr"
aggregate = "rate"
events = ["click"]
per = ["impression"]
prior = 10
prior_mean = 0.1

[[features]]
entity = "pair"
name = "clicks"
aggregate = "count"
events = ["click"]

[[features]]
entity = "pair"
name = "dear"
expression = "item.price / nullif(user.usual_price, 0) > 1.5 AND pair.double_clicks > 1 AND coalesce(context.device, '') <> 'kiosk'"

[[features]]
entity = "pair"
name = "double_clicks"
expression = "2 * pair.clicks"

[[feature_views]]
name = "worth"
entity = "user"
ttl = "7d"
features = { lifetime_value = "number", taste = "vector" }
"#;

struct World {
    state: OnlineState,
    catalog: Arc<Catalog>,
    log: u64,
}

impl World {
    fn new(project: &str) -> Self {
        let config = Config::parse(project).unwrap();
        let set = Arc::new(FeatureSet::compile(&config).unwrap());
        let catalog = Arc::new(Catalog::new(config.items.schema()));
        let options = StateOptions {
            events: HashMap::new(),
            history_length: 10,
            seen_length: 10,
            seen_by: SeenBy::Nothing,
            popular_window: Window::from_days(1),
        };
        Self { state: OnlineState::with_features(options, Arc::clone(&catalog), set), catalog, log: 0 }
    }

    fn write(&mut self, records: Vec<Record>) {
        let records: Vec<_> = (self.log..).map(Position).zip(records).collect();
        self.log += records.len() as u64;
        self.state.apply(&records);
    }

    fn read(&self, names: &[&str], user: &str, item: Option<&str>, now: Timestamp) -> HashMap<String, Cell> {
        let set = self.state.features();
        let ids = names.iter().map(|name| set.by_reference(name).unwrap()).collect();
        let plan = ReadPlan::new(set, ids);
        let row = item.and_then(|item| self.catalog.snapshot().row(item));
        let users = self.state.fetch_users(&plan, [user].into_iter(), now, None);
        let items = self.state.fetch_items(&plan, &[row], now, None).fetched;
        let pairs = self.state.fetch_pairs(&plan, [(user, row)].into_iter(), now);
        let fetched = [(Entity::User, &users), (Entity::Item, &items), (Entity::Pair, &pairs)];
        let columns = plan.assemble(1, now, &Attributes::new(), &fetched).unwrap();
        names.iter().map(|name| (*name).to_owned()).zip(columns.into_iter().map(|mut c| c.cells.remove(0))).collect()
    }
}

fn at(minutes: i64) -> Timestamp {
    Timestamp::EPOCH.plus(Window::from_days(20_000)).plus(Window::from_millis(minutes * 60_000))
}

fn event(kind: &str, user: &str, item: &str, minutes: i64, value: Option<f64>) -> Record {
    Record::Event(Event {
        event_id: format!("{kind}{user}{item}{minutes}"),
        event_type: kind.to_owned(),
        user_id: user.to_owned(),
        item_id: item.to_owned(),
        timestamp: at(minutes),
        value,
        session_id: None,
        received: None,
        request_id: None,
        properties: Attributes::new(),
    })
}

fn item(id: &str, category: &str, price: f64) -> Record {
    let attributes = Attributes::from([
        ("category".to_owned(), Value::Text(category.to_owned())),
        ("price".to_owned(), Value::Number(price)),
    ]);
    Record::ItemUpsert(EntityUpsert { id: id.to_owned(), attributes, mode: UpsertMode::Replace, timestamp: at(0) })
}

fn number(cell: &Cell) -> Option<f64> {
    match cell.value {
        Some(FeatureValue::Number(number)) => Some(number),
        _ => None,
    }
}

#[test]
fn one_declaration_counts_decays_groups_and_combines() {
    let mut world = World::new(PROJECT);
    world.write(vec![
        item("tea", "drinks", 4.0),
        item("pot", "kitchen", 20.0),
        event("click", "ann", "tea", 0, None),
        event("impression", "ann", "tea", 1, None),
        event("purchase", "ann", "tea", 2, Some(8.0)),
        // What the price is later does not change what it was at the purchase.
        item("tea", "drinks", 400.0),
        event("click", "ann", "pot", 10, None),
    ]);
    let read = world.read(
        &[
            "recent_click_count",
            "session_duration",
            "spent_by_category",
            "usual_price",
            "item.ctr",
            "pair.clicks",
            "dear",
        ],
        "ann",
        Some("pot"),
        at(10),
    );
    assert_eq!(number(&read["recent_click_count"]), Some(2.0));
    assert_eq!(number(&read["session_duration"]), Some(600.0));
    assert_eq!(read["spent_by_category"].value, Some(FeatureValue::Map(vec![("drinks".to_owned(), 8.0)])));
    assert_eq!(number(&read["usual_price"]), Some(4.0));
    assert_eq!(number(&read["item.ctr"]), Some((1.0 + 1.0) / 10.0));
    assert_eq!(number(&read["pair.clicks"]), Some(1.0));
    assert_eq!(read["dear"].value, Some(FeatureValue::Bool(true)), "20 / 4 > 1.5, clicked once, no kiosk");
    assert_eq!(read["dear"].event_time, Some(at(10)));

    // No event is needed for values to fall.
    let later = world.read(&["recent_click_count", "session_duration"], "ann", None, at(60));
    assert_eq!((number(&later["recent_click_count"]), number(&later["session_duration"])), (Some(0.0), Some(0.0)));
}

#[test]
fn numbers_name_groups_as_they_name_top_values() {
    let grouped = |aggregate: &str| {
        let more = "[[features]]\nentity = \"user\"\nname = \"by\"\n";
        let mut world = World::new(&format!("{PROJECT}\n{more}{aggregate}\n"));
        world.write([3.0, 0.0, -0.0, 2.5].map(|value| event("click", "ann", "tea", 0, Some(value))).to_vec());
        world.read(&["by"], "ann", None, at(0))["by"].value.clone()
    };
    let named = |names: [(&str, f64); 3]| Some(FeatureValue::Map(names.map(|(name, n)| (name.to_owned(), n)).to_vec()));
    assert_eq!(grouped("aggregate = \"count\"\ngroup_by = \"value\""), named([("0", 2.0), ("2.5", 1.0), ("3", 1.0)]));
    assert_eq!(grouped("aggregate = \"top_k\"\nvalue = \"value\""), named([("0", 2.0), ("2.5", 1.0), ("3", 1.0)]));
}

#[test]
fn statuses_are_honest_and_ttls_are_enforced() {
    let mut world = World::new(PROJECT);
    world.write(vec![item("tea", "drinks", 4.0), event("purchase", "ann", "tea", 0, Some(8.0))]);
    let read = |user: &str, now| world.read(&["usual_price", "recent_click_count"], user, None, now);
    let month = 30 * 24 * 60;
    let fresh = read("ann", at(month));
    assert_eq!((number(&fresh["usual_price"]), fresh["usual_price"].status), (Some(4.0), Status::Present));
    assert_eq!(fresh["recent_click_count"], Cell { value: None, status: Status::NotFound, event_time: None });
    let stale = read("ann", at(month + 1));
    assert_eq!(stale["usual_price"].status, Status::OutsideMaxAge);
    assert_eq!((number(&stale["usual_price"]), stale["usual_price"].event_time), (Some(10.0), Some(at(0))));
    let nobody = read("bob", at(1));
    assert_eq!((number(&nobody["usual_price"]), nobody["usual_price"].status), (Some(10.0), Status::NotFound));
}

/// A row of the view `worth` of ann.
fn worth(minutes: i64, created: Option<i64>, value: f64) -> Record {
    Record::FeatureRow(FeatureRow {
        view: "worth".to_owned(),
        user_id: Some("ann".to_owned()),
        item_id: None,
        event_timestamp: at(minutes),
        created: created.map(at),
        values: vec![("lifetime_value".to_owned(), FeatureValue::Number(value))],
    })
}

#[test]
fn defaults_are_of_the_type_of_their_feature() {
    let more = r#"
[[features]]
entity = "user"
name = "last"
aggregate = "last"
default = "nothing"

[[features]]
entity = "user"
name = "often"
expression = "user.recent_click_count > 3"
default = false

[[feature_views]]
name = "profile"
entity = "user"
features = { segment = "text", vip = "bool", age = "number" }
defaults = { segment = "new", vip = false, age = 30 }
"#;
    let world = World::new(&format!("{PROJECT}{more}"));
    let names = ["last", "often", "segment", "vip", "age"];
    let cells = world.read(&names, "bob", None, at(0));
    let text = |text: &str| FeatureValue::Text(text.to_owned());
    let (no, age) = (FeatureValue::Bool(false), FeatureValue::Number(30.0));
    let expected = [text("nothing"), no.clone(), text("new"), no, age];
    for (name, value) in names.into_iter().zip(expected) {
        assert_eq!(cells[name], Cell { value: Some(value), status: Status::NotFound, event_time: None }, "{name}");
    }
}

#[test]
fn an_expression_without_a_value_says_why() {
    let more = r#"
[[features]]
entity = "user"
name = "next"
expression = "user.aging + 1"

[[features]]
entity = "user"
name = "aging"
aggregate = "count"
events = ["click"]
ttl = "1h"

[[features]]
entity = "user"
name = "abroad"
expression = "user.country <> 'nz'"

[[features]]
entity = "user"
name = "by_phone"
expression = "context.device = 'phone'"

[[features]]
entity = "pair"
name = "both"
expression = "user.next + item.price"
"#;
    let mut world = World::new(&format!("{PROJECT}{more}"));
    let country = Attributes::from([("country".to_owned(), Value::Text("nz".to_owned()))]);
    let ann = EntityUpsert { id: "ann".to_owned(), attributes: country, mode: UpsertMode::Replace, timestamp: at(0) };
    world.write(vec![item("tea", "drinks", 4.0), event("click", "ann", "tea", 0, None), Record::UserUpsert(ann)]);
    let statuses = |user: &str, item: &str, now| {
        let cells = world.read(&["next", "abroad", "by_phone", "both"], user, Some(item), at(now));
        ["next", "abroad", "by_phone", "both"].map(|name| cells[name].status)
    };
    use Status::{NotFound, NullValue, OutsideMaxAge, Present};
    assert_eq!(statuses("ann", "tea", 60), [Present, Present, NullValue, Present]);
    assert_eq!(statuses("ann", "tea", 61), [OutsideMaxAge, Present, NullValue, OutsideMaxAge]);
    assert_eq!(
        statuses("ann", "unknown", 1),
        [Present, Present, NullValue, NullValue],
        "of one of the two nothing is known"
    );
    assert_eq!(statuses("bob", "unknown", 1), [NotFound, NotFound, NullValue, NotFound]);
}

#[test]
fn the_newest_row_of_a_view_counts_however_late_others_come() {
    let mut world = World::new(PROJECT);
    let row = |minutes, created, value| worth(minutes, Some(created), value);
    world.write(vec![row(10, 10, 1.0), row(5, 50, 2.0)]);
    let value = |world: &World| number(&world.read(&["lifetime_value"], "ann", None, at(60))["lifetime_value"]);
    assert_eq!(value(&world), Some(1.0), "an older event time comes late");
    world.write(vec![row(10, 12, 3.0), row(10, 11, 4.0)]);
    assert_eq!(value(&world), Some(3.0), "of one event time the last created counts");
    world.write(vec![row(10, 12, 3.0)]);
    assert_eq!(value(&world), Some(3.0));
    let week = 7 * 24 * 60;
    let read = |now| world.read(&["worth:lifetime_value", "worth:taste"], "ann", None, now);
    assert_eq!(read(at(week + 10))["worth:lifetime_value"].status, Status::Present, "just as old as the ttl");
    assert_eq!(read(at(week + 11))["worth:lifetime_value"].status, Status::OutsideMaxAge);
    assert_eq!(read(at(60))["worth:taste"].status, Status::NullValue);
    // What is forgotten is gone, and what was created before does not come back.
    let status = |world: &World| world.read(&["lifetime_value"], "ann", None, at(63))["lifetime_value"].status;
    world.write(vec![Record::UserDelete { id: "ann".to_owned(), timestamp: at(61) }]);
    assert_eq!(status(&world), Status::NotFound);
    world.write(vec![row(60, 61, 5.0)]);
    assert_eq!(status(&world), Status::NotFound);
    world.write(vec![row(60, 62, 5.0)]);
    assert_eq!(status(&world), Status::Present);
}

#[test]
fn rows_of_the_future_wait_for_their_time_and_hide_none_before_it() {
    let mut world = World::new(PROJECT);
    let value = |world: &World, now| number(&world.read(&["lifetime_value"], "ann", None, at(now))["lifetime_value"]);
    world.write(vec![worth(10, Some(10), 1.0), worth(100, Some(10), 3.0), worth(60, Some(11), 2.0)]);
    assert_eq!([11, 59, 60, 99, 100, 900].map(|now| value(&world, now)), [1.0, 1.0, 2.0, 2.0, 3.0, 3.0].map(Some));
    assert_eq!(world.state.newest_row(0, at(20)), Some(at(10)), "the age of a view is none of the future");
    assert_eq!(world.state.newest_row(0, at(100)), Some(at(100)));
    // A late row of the present does not take their places, and they not its.
    world.write(vec![worth(15, Some(20), 1.5)]);
    assert_eq!([20, 60, 100].map(|now| value(&world, now)), [1.5, 2.0, 3.0].map(Some));
    // Of very many rows ahead the latest are kept, and the present one.
    world.write((0..200).map(|n| worth(1_000 + n, Some(30), 100.0 + n as f64)).collect());
    assert_eq!(value(&world, 31), Some(1.5));
    assert_eq!([1_168, 1_199, 5_000].map(|now| value(&world, now)), [268.0, 299.0, 299.0].map(Some));
    // A read that began just before the newest row finds the one before it.
    let second = |row: Record, seconds: i64| match row {
        Record::FeatureRow(mut row) => {
            row.event_timestamp = row.event_timestamp.plus(Window::from_millis(seconds * 1_000));
            row.created = Some(row.event_timestamp);
            Record::FeatureRow(row)
        }
        other => other,
    };
    let mut world = World::new(PROJECT);
    world.write((0..100).map(|n| second(worth(1, None, n as f64), n)).collect());
    assert_eq!(value(&world, 100), Some(99.0));
    let just_before = at(1).plus(Window::from_millis(98_999));
    assert_eq!(number(&world.read(&["lifetime_value"], "ann", None, just_before)["lifetime_value"]), Some(98.0));
}

#[test]
fn a_value_of_the_type_that_a_feature_had_before_is_no_value_of_it() {
    let mut world = World::new(&PROJECT.replace("lifetime_value = \"number\"", "lifetime_value = \"text\""));
    world.write(vec![worth(10, None, 12.5)]);
    let read = &world.read(&["lifetime_value"], "ann", None, at(11))["lifetime_value"];
    assert_eq!(*read, Cell { value: None, status: Status::NullValue, event_time: Some(at(10)) });
}

#[test]
fn how_the_log_is_cut_into_calls_does_not_matter() {
    let records = || {
        let mut records = Vec::new();
        for n in 0..200i64 {
            let id = format!("i{}", n % 7);
            match n % 5 {
                0 => records.push(item(&id, ["a", "b", "c"][n as usize % 3], n as f64)),
                3 => records.push(event("purchase", "ann", &id, n, Some(n as f64))),
                _ => records.push(event("click", "ann", &id, n * 7 % 200, None)),
            }
        }
        records
    };
    let names = ["spent_by_category", "usual_price", "recent_click_count", "pair.clicks", "dear"];
    let read = |chunk: usize| {
        let mut world = World::new(PROJECT);
        records().chunks(chunk).for_each(|records| world.write(records.to_vec()));
        let mut cells: Vec<_> = world.read(&names, "ann", Some("i3"), at(200)).into_iter().collect();
        cells.sort_by(|a, b| a.0.cmp(&b.0));
        cells
    };
    let one_by_one = read(1);
    for chunk in [2, 7, 50, 200] {
        assert_eq!(read(chunk), one_by_one, "in calls of {chunk}");
    }
}

#[test]
fn mistakes_name_their_place_and_a_remedy() {
    let errors = [
        ("filter = \"pric > 1\"", "features[0].filter", "known: item.category, item.price"),
        ("value = \"item.category\"", "features[0].value", "number"),
        ("filter = \"timestamp > now()\"", "features[0].filter", "now()"),
        ("filter = \"now() > timestamp '2026-01-01T00:00:00Z'\"", "features[0].filter", "now()"),
        ("window = \"30m\"\ngroup_by = \"item.colour\"", "features[0].group_by", "unknown"),
    ];
    for (line, key, hint) in errors {
        let text = format!(
            "[items.attributes]\ncategory = \"tag\"\nprice = \"number\"\n[[features]]\nentity = \"user\"\nname = \"x\"\naggregate = \"sum\"\n{line}\n"
        );
        let error = FeatureSet::compile(&Config::parse(&text).unwrap()).unwrap_err().to_string();
        assert!(error.starts_with(key) && error.contains(hint) && error.contains("(feature 'user.x')"), "{error}");
    }
    for (line, key, hint) in [
        ("default = \"x\"", "features[0].default", "the default is a text, but the feature is a number; give a number"),
        ("group_by = \"type\"\ndefault = 7", "features[0].default", "a map; only features"),
        (
            "[[feature_views]]\nname = \"v\"\nentity = \"user\"\nfeatures = { vip = \"bool\" }\ndefaults = { vip = 1 }",
            "feature_views[0].defaults.vip",
            "give true or false",
        ),
    ] {
        let text = format!("[[features]]\nentity = \"user\"\nname = \"x\"\naggregate = \"sum\"\n{line}\n");
        let error = FeatureSet::compile(&Config::parse(&text).unwrap()).unwrap_err().to_string();
        assert!(error.starts_with(key) && error.contains(hint), "{error}");
    }
    for (service, message) in [
        ("[]", "feature_services.home: it names no feature; name those that callers get, or remove the service"),
        ("[\"dear\", \"dear\"]", "feature_services.home: 'dear' is named twice; remove one"),
        (
            "[\"dear\", \"taste\", \"worth:taste\"]",
            "feature_services.home: 'taste' and 'worth:taste' are one feature; remove one",
        ),
    ] {
        let text = format!("{PROJECT}\n[feature_services]\nhome = {service}\n");
        let error = FeatureSet::compile(&Config::parse(&text).unwrap()).unwrap_err().to_string();
        assert_eq!(error, message);
    }
    let config = Config::parse(PROJECT).unwrap();
    let set = FeatureSet::compile(&config).unwrap();
    for (wrong, hint) in [
        ("recent_clik_count", "did you mean 'recent_click_count'?"),
        ("user.usual_prise", "did you mean 'user.usual_price'?"),
        ("worth.taste", "did you mean 'worth:taste'?"),
        ("item.double_clicks", "did you mean 'pair.double_clicks'?"),
    ] {
        let error = set.by_reference(wrong).unwrap_err();
        assert!(error.contains(hint), "{error}");
    }
    for (entity, wrong, hint) in [
        (Entity::User, "user.cuontry = 'nz'", "did you mean 'user.country'?"),
        (Entity::Pair, "item.prise > 1", "did you mean 'item.price'?"),
        (Entity::User, "context.devise = 'phone'", "did you mean 'context.device'?"),
    ] {
        let error = set.compile_expression(wrong, entity).unwrap_err();
        assert!(error.contains(hint), "{error}");
    }
    let circle = "[[features]]\nentity = \"user\"\nname = \"a\"\nexpression = \"user.b\"\n[[features]]\nentity = \"user\"\nname = \"b\"\nexpression = \"user.a + 1\"\n";
    let error = FeatureSet::compile(&Config::parse(circle).unwrap()).unwrap_err().to_string();
    assert!(error.starts_with("features[0].expression") && error.contains("circle"), "{error}");
}
