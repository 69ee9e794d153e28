//! Features in boosts, conditions, explanations and the log.

use std::collections::BTreeMap;
use std::sync::Arc;

use tastemaker_config::Entity;
use tastemaker_features::set::{FeatureId, FeatureSet};
use tastemaker_features::{Fetched, OnlineState, ReadPlan};
use tastemaker_recommend::{
    RankRequest, RecommendError, RecommendRequest, Recommendation, Recommender, SimilarRequest, state_options,
};
use tastemaker_store::Catalog;
use tastemaker_types::{
    Attributes, EntityUpsert, FeatureRow, FeatureValue, Position, Record, Timestamp, UpsertMode, Value, Window,
};

use crate::shop::{Shop, click, config, ids, item_id, of_group, request, today};

/// What the shop knows of users and items beyond attributes.
const FEATURES: &str = r#"
[recommend.context]
device = "tag"
discount = "number"

[users.attributes]
limit = "number"

[[features]]
entity = "user"
name = "recent_click_count"
aggregate = "count"
events = ["click"]
window = "30m"

[[features]]
entity = "item"
name = "clicks"
aggregate = "count"
events = ["click"]

[[features]]
entity = "pair"
name = "clicks"
aggregate = "count"
events = ["click"]

[[features]]
entity = "pair"
name = "share"
expression = "pair.clicks / nullif(item.clicks, 0)"

[[feature_views]]
name = "stock"
entity = "item"
features = { stock = "number", place = "text" }
"#;

fn project(recommend: &str) -> String {
    format!("[recommend]\n{recommend}\n{FEATURES}")
}

fn stocked(recommend: &str, items: usize) -> Shop {
    Shop::stocked(&project(recommend), items)
}

fn stock(item: usize, stock: f64) -> Record {
    Record::FeatureRow(FeatureRow {
        view: "stock".to_owned(),
        user_id: None,
        item_id: Some(item_id(item)),
        event_timestamp: today(),
        created: None,
        values: vec![("stock".to_owned(), FeatureValue::Number(stock))],
    })
}

fn user(id: &str, limit: f64) -> Record {
    let attributes = Attributes::from([("limit".to_owned(), Value::Number(limit))]);
    Record::UserUpsert(EntityUpsert { id: id.to_owned(), attributes, mode: UpsertMode::Replace, timestamp: today() })
}

fn filtered(filter: &str, user: &str, limit: usize) -> RecommendRequest {
    RecommendRequest { filter: Some(filter.to_owned()), ..request(user, limit) }
}

fn context(name: &str, value: Value) -> Attributes {
    Attributes::from([(name.to_owned(), value)])
}

#[test]
fn a_boost_by_a_feature_changes_the_order() {
    let plain = stocked("", 40).recommend("nobody", 10);
    let shop = stocked("boost = \"1 + 9 * (item.stock > 100)\"", 40);
    assert_eq!(shop.recommend("nobody", 10), plain, "without a value the boost is neutral");
    shop.apply(vec![stock(plain[0], 5.0), stock(plain[6], 500.0)]);
    let boosted = shop.recommend("nobody", 10);
    assert_eq!(boosted[0], plain[6]);
    let rest: Vec<usize> = plain.iter().copied().filter(|item| *item != plain[6]).collect();
    assert_eq!(boosted[1..], rest);
}

#[test]
fn a_click_changes_a_feature_and_with_it_the_order_at_once() {
    let shop = stocked("boost = \"CASE WHEN user.recent_click_count > 1 AND group = 'g1' THEN 100 ELSE 1 END\"", 400);
    shop.train(8);
    shop.click("fan", 40);
    assert_eq!(of_group(&shop.recommend("fan", 10), 1), 0, "the fan's taste is group 0");
    shop.click("fan", 44);
    assert!(of_group(&shop.recommend("fan", 10), 1) >= 8, "{:?}", shop.recommend("fan", 10));
    let later = RecommendRequest { now: Some(today().plus(Window::from_millis(31 * 60_000))), ..request("fan", 10) };
    let answer = shop.recommender.recommend(&later).unwrap();
    assert_eq!(of_group(&ids(&answer), 1), 0, "half an hour later the clicks are no longer recent");
}

#[test]
fn an_answer_filtered_by_features_is_full() {
    let items = 4_000;
    let shop = stocked("eligibility = \"available AND item.stock > 0\"", items);
    shop.train(8);
    assert!(shop.recommend("u1", 50).is_empty(), "what is not known to be in stock is not served");
    // One of forty is there: among twice the candidates there are too few.
    shop.apply((0..items).map(|n| stock(n, f64::from(u8::from(n % 40 == 0)))).collect());
    for user in ["u1", "nobody"] {
        let answer = shop.ask(RecommendRequest { explain: true, ..request(user, 50) });
        assert_eq!(answer.items.len(), 50, "{user}");
        assert!(ids(&answer).iter().all(|n| n % 40 == 0), "{:?}", ids(&answer));
        assert!(answer.degraded.is_empty(), "{:?}", answer.degraded);
        let story = answer.explain.unwrap();
        assert!(story.trace.stage("feature_filter").unwrap().candidates_in > 1_000, "it looked further");
        assert!(story.dropped.iter().any(|dropped| dropped.stage == "feature_filter"));
    }
    shop.apply(vec![stock(80, 0.0)]);
    assert!(!shop.recommend("nobody", 100).contains(&80), "what was sold is served no more");
}

#[test]
fn what_reads_attributes_alone_is_pushed_before_retrieval() {
    let shop = stocked("eligibility = \"price <= 30 AND (item.stock > 0 OR item.clicks > 0) AND available\"", 400);
    shop.train(8);
    shop.apply((0..400).filter(|n| n % 2 == 0).map(|n| stock(n, 1.0)).collect());
    let answer = shop.ask(RecommendRequest { explain: true, ..filtered("price > 10 AND item.stock > 0", "nobody", 5) });
    let story = answer.explain.as_ref().unwrap();
    assert_eq!(story.admitted, 20, "items 10 to 29 at prices 11 to 30");
    assert!(answer.items.len() == 5 && ids(&answer).iter().all(|n| n % 2 == 0 && (10..30).contains(n)));
}

#[test]
fn conditions_may_compare_items_with_their_user() {
    let shop = stocked("", 400);
    shop.train(8);
    shop.apply(vec![user("frugal", 12.0)]);
    let answer = shop.ask(filtered("price <= user.limit", "frugal", 100));
    let mut cheap = ids(&answer);
    cheap.sort_unstable();
    assert_eq!(cheap, (0..12).collect::<Vec<_>>());
    assert!(shop.ask(filtered("price <= user.limit", "nobody", 10)).items.is_empty(), "NULL is not true");
    shop.click("frugal", 5);
    let again = RecommendRequest { include_seen: Some(true), ..filtered("pair.clicks > 0", "frugal", 10) };
    assert_eq!(ids(&shop.ask(again)), [5]);
}

#[test]
fn the_context_is_read_and_checked() {
    let shop = stocked("boost = \"CASE WHEN context.device = 'phone' AND group = 'g2' THEN 100 ELSE 1 END\"", 400);
    let on = |context: Attributes| RecommendRequest { context, ..request("nobody", 10) };
    let phone = shop.ask(on(context("device", Value::Text("phone".to_owned()))));
    assert_eq!(of_group(&ids(&phone), 2), 10);
    assert_ne!(of_group(&shop.recommend("nobody", 10), 2), 10);
    let cheap = RecommendRequest {
        context: context("discount", Value::Number(8.0)),
        ..filtered("price - context.discount <= 0", "nobody", 100)
    };
    assert_eq!(shop.ask(cheap).items.len(), 8);

    let refusal = |context| shop.recommender.recommend(&on(context)).unwrap_err();
    let unknown = refusal(context("devise", Value::Bool(true)));
    assert!(matches!(unknown, RecommendError::Context(_)));
    assert!(unknown.to_string().contains("did you mean 'device'?"), "{unknown}");
    let wrong = refusal(context("discount", Value::Text("much".to_owned()))).to_string();
    assert!(wrong.contains("discount") && wrong.contains("number"), "{wrong}");
}

#[test]
fn ranked_and_similar_items_meet_conditions_on_features_too() {
    let shop = stocked("eligibility = \"item.stock > 0\"\nboost = \"1 + coalesce(user.recent_click_count, 0)\"", 400);
    shop.train(8);
    shop.apply((0..400).filter(|n| n % 3 == 0).map(|n| stock(n, 1.0)).collect());
    let items = (0..20).map(item_id).collect();
    let rank = RankRequest { user_id: "u1".to_owned(), items, now: Some(today()), ..RankRequest::default() };
    let mut ranked = ids(&shop.recommender.rank(&rank).unwrap());
    ranked.sort_unstable();
    assert_eq!(ranked, [0, 3, 6, 9, 12, 15, 18]);
    let similar = SimilarRequest { item_id: item_id(9), limit: Some(10), now: Some(today()), ..Default::default() };
    let similar = ids(&shop.recommender.similar(&similar).unwrap());
    assert!(similar.len() == 10 && similar.iter().all(|n| n % 3 == 0 && *n != 9), "{similar:?}");
}

#[test]
fn a_spent_budget_leaves_conditions_on_features_in_force_and_the_answer_full() {
    let mut settings = config(&project("eligibility = \"item.stock > 0\""));
    settings.recommend.budget = Window::from_micros(0);
    let shop = Shop::with_config(&settings, |_| {});
    shop.stock(400);
    shop.apply((0..400).filter(|n| n % 3 == 0).map(|n| stock(n, 1.0)).collect());
    let answer = shop.ask(request("u1", 10));
    assert!(answer.items.len() == 10 && ids(&answer).iter().all(|n| n % 3 == 0), "{:?}", ids(&answer));
}

#[test]
fn unknown_features_are_refused_with_a_suggestion() {
    let refusal = |recommend: &str| {
        let settings = config(&project(recommend));
        let shop = Shop::with_config(&config(&project("")), |_| {});
        Recommender::new(&settings, shop.catalog.clone(), shop.state.clone()).err().unwrap().to_string()
    };
    for (setting, suggestion) in [
        ("boost = \"1 + user.recent_clik_count\"", "did you mean 'user.recent_click_count'?"),
        ("eligibility = \"item.stok > 0\"", "did you mean 'stock'?"),
        ("eligibility = \"context.devise = 'tv'\"", "did you mean 'context.device'?"),
        ("features = [\"user.recent_clik_count\"]", "did you mean 'user.recent_click_count'?"),
    ] {
        let refused = refusal(setting);
        assert!(refused.starts_with("recommend.") && refused.contains(suggestion), "{setting}: {refused}");
    }
    let shop = stocked("", 40);
    let error = shop.recommender.recommend(&filtered("pair.click > 0", "u1", 5)).unwrap_err();
    assert!(matches!(error, RecommendError::Filter(_)));
    assert!(error.to_string().contains("did you mean 'pair.clicks'?"), "{error}");
}

#[test]
fn an_explanation_shows_the_features_of_each_item() {
    let shop = stocked("boost = \"1 + coalesce(pair.share, 0)\"\nfeatures = [\"user.recent_click_count\"]", 40);
    let answer = shop.ask(RecommendRequest { explain: true, include_seen: Some(true), ..request("u1", 40) });
    let story = answer.explain.unwrap();
    for item in &story.items {
        let names: Vec<&str> = item.features.keys().map(String::as_str).collect();
        assert_eq!(names, ["item.clicks", "pair.clicks", "pair.share", "user.recent_click_count"]);
    }
    let clicked = story.items.iter().find(|item| item.features["pair.clicks"].is_number()).unwrap();
    let number = |name: &str| clicked.features[name].as_f64().unwrap();
    assert_eq!(number("pair.share"), number("pair.clicks") / number("item.clicks"));
    assert_eq!(number("user.recent_click_count"), 0.0, "the clicks were twenty days ago");
}

/// The values of `answer` as read again from the log alone, each entity as of its logged version.
fn replayed(shop: &Shop, user_id: &str, answer: &Recommendation) -> Vec<(String, Vec<Option<FeatureValue>>)> {
    let logged = answer.features.as_ref().unwrap();
    let settings = config(FEATURES);
    let catalog = Arc::new(Catalog::new(settings.items.schema()));
    let set = Arc::new(FeatureSet::compile(&settings).unwrap());
    let state = OnlineState::with_features(state_options(&settings), Arc::clone(&catalog), Arc::clone(&set));
    let wanted: Vec<FeatureId> = logged.values.iter().map(|(name, _)| set.by_reference(name).unwrap()).collect();
    let plan = ReadPlan::new(&set, wanted);
    let items = answer.items.len();
    let (mut user, mut of_items, mut of_pairs) = (None, vec![None; items], vec![None; items]);
    // Nothing is applied before the first look, so that what was never heard of is read as that.
    let mut look = |at: Option<Position>| {
        let row = |item: &str| catalog.snapshot().row(item);
        if logged.user_version == at {
            user = Some(state.fetch_users(&plan, [user_id].into_iter(), answer.at, None));
        }
        for (place, item) in answer.items.iter().enumerate() {
            let id = item.item_id.as_str();
            if logged.item_versions[place] == at {
                of_items[place] = Some(state.fetch_items(&plan, &[row(id)], answer.at, None).fetched);
            }
            if logged.pair_versions[place] == at {
                of_pairs[place] = Some(state.fetch_pairs(&plan, [(user_id, row(id))].into_iter(), answer.at));
            }
        }
    };
    look(None);
    for record in shop.log.lock().unwrap().iter() {
        state.apply(std::slice::from_ref(record));
        look(Some(record.0));
    }
    let all = |parts: Vec<Option<Fetched>>| Fetched::concat(parts.into_iter().map(Option::unwrap).collect()).unwrap();
    let (of_items, of_pairs) = (all(of_items), all(of_pairs));
    let fetched = [(Entity::User, user.as_ref().unwrap()), (Entity::Item, &of_items), (Entity::Pair, &of_pairs)];
    let columns = plan.assemble(items, answer.at, &logged.context, &fetched).unwrap();
    let names = logged.values.iter().map(|(name, _)| name.clone());
    names.zip(columns.into_iter().map(|c| c.cells.into_iter().map(|cell| cell.value).collect())).collect()
}

#[test]
fn what_is_logged_is_what_the_logged_versions_give() {
    let recommend = "eligibility = \"item.clicks > 0 AND price <> 9\"\nboost = \"1 + coalesce(pair.share, 0)\"\nlog_features = 1.0\nfeatures = [\"user.recent_click_count\", \"stock:stock\"]\ndiversity = { max_per = { group = 2 } }";
    let shop = stocked(recommend, 200);
    shop.train(8);
    shop.apply((0..50).map(|n| stock(n, n as f64)).collect());
    let again = |user: &str| RecommendRequest { include_seen: Some(true), ..request(user, 30) };
    let mut answers = Vec::new();
    for n in 0..10 {
        let user = format!("u{}", n * 7 % 12);
        answers.push((user.clone(), shop.ask(again(&user))));
        // The world moves on after each answer, and not in the order of time.
        shop.apply(vec![click(&user, n * 5, today().minus(Window::from_millis(n as i64 * 60_000))), stock(n, -1.0)]);
        shop.apply(vec![shop.item(n, true, today()), Record::UserDelete { id: format!("u{n}"), timestamp: today() }]);
    }
    answers.push(("nobody".to_owned(), shop.ask(again("nobody"))));
    let mut shares = 0;
    for (user, answer) in &answers {
        let logged = answer.features.as_ref().unwrap();
        let names: Vec<&str> = logged.values.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(
            names.iter().collect::<std::collections::BTreeSet<_>>().into_iter().copied().collect::<Vec<_>>(),
            ["item.clicks", "item.stock", "pair.clicks", "pair.share", "user.recent_click_count"]
        );
        assert!(answer.at == today() && answer.items.len() == 30);
        assert_eq!((logged.item_versions.len(), logged.pair_versions.len()), (30, 30));
        assert!(logged.item_versions.iter().all(Option::is_some));
        assert_eq!(logged.values, replayed(&shop, user, answer), "for {user}");
        let share = logged.values.iter().find(|(name, _)| name == "pair.share").unwrap();
        shares += share.1.iter().flatten().count();
    }
    assert!(shares > 20, "only {shares} pairs met");
}

#[test]
fn a_share_of_the_answers_is_logged_with_values_and_all_with_versions() {
    let shop = stocked("features = [\"user.recent_click_count\"]\nlog_features = 0.3", 40);
    let ask = |n: usize| {
        let request_id = Some(format!("request-{n}"));
        shop.ask(RecommendRequest { request_id, ..request("u1", 5) }).features.unwrap()
    };
    let answers: Vec<_> = (0..300).map(ask).collect();
    assert!(answers.iter().all(|logged| logged.user_version.is_some() && logged.item_versions.len() == 5));
    let with_values = answers.iter().filter(|logged| !logged.values.is_empty()).count();
    assert!((60..120).contains(&with_values), "{with_values} of 300");
    assert_eq!(ask(0), answers[0], "the same request is logged the same way again");
    let context = context("device", Value::Text("tv".to_owned()));
    let told = shop.ask(RecommendRequest { context: context.clone(), ..request("u1", 5) });
    assert_eq!(told.features.unwrap().context, context);
}

#[test]
fn values_that_are_too_large_for_the_log_are_left_out() {
    let shop = stocked("features = [\"stock:place\"]\nlog_features = 1.0", 40);
    let place = |bytes: usize| {
        Record::FeatureRow(FeatureRow {
            view: "stock".to_owned(),
            user_id: None,
            item_id: Some(item_id(7)),
            event_timestamp: today(),
            created: None,
            values: vec![("place".to_owned(), FeatureValue::Text("x".repeat(bytes)))],
        })
    };
    let values = || shop.ask(request("nobody", 40)).features.unwrap().values;
    shop.apply(vec![place(500_000)]);
    assert_eq!(values()[0].1.len(), 40);
    shop.apply(vec![place(600_000)]);
    assert!(values().is_empty());
}

#[test]
fn where_nothing_needs_features_none_are_read() {
    let shop = stocked("log_features = 1.0", 40);
    let answer = shop.ask(RecommendRequest { explain: true, ..request("u1", 5) });
    assert!(answer.features.is_none());
    assert!(answer.explain.unwrap().items.iter().all(|item| item.features.is_empty()));
    assert!(shop.ask(filtered("item.clicks > 0", "u1", 5)).features.is_some(), "this request needs one");
}

#[test]
fn a_request_is_answered_as_of_its_own_time() {
    let shop = stocked("", 40);
    shop.apply(vec![user("ann", 1.0)]);
    shop.click("ann", 3);
    let at = |minutes: i64| -> Vec<usize> {
        let now: Timestamp = today().plus(Window::from_millis(minutes * 60_000));
        let params = BTreeMap::new();
        let request = RecommendRequest { now: Some(now), params, ..filtered("user.recent_click_count > 0", "ann", 5) };
        ids(&shop.recommender.recommend(&request).unwrap())
    };
    assert_eq!((at(1).len(), at(60).len()), (5, 0));
}
