//! What may be in an answer, and that the answer is full of it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

use tastemaker_expr::Bind;
use tastemaker_recommend::{RecommendError, RecommendRequest};
use tastemaker_types::Record;

use crate::shop::{Shop, ids, item_id, number, of_group, request, today};

#[test]
fn filters_act_before_truncation() {
    let shop = Shop::stocked("", 2_000);
    shop.train(8);
    shop.click("fan", 40);
    let few = RecommendRequest { candidates: Some(10), ..request("fan", 10) };
    assert!(of_group(&ids(&shop.ask(few.clone())), 0) >= 8, "the fan's taste is group 0");
    let other = RecommendRequest { filter: Some("group = 'g3'".to_owned()), explain: true, ..few };
    let answer = shop.ask(other);
    assert_eq!(of_group(&ids(&answer), 3), 10, "{:?}", ids(&answer));
    let found = answer.explain.unwrap().trace.stage("embedding").unwrap().candidates_out;
    assert!(found >= 10, "retrieval itself found {found} items of the other group");
}

#[test]
fn the_answer_is_full_at_every_selectivity() {
    let items = 4_000;
    let shop = Shop::stocked("", items);
    shop.train(8);
    shop.click("fan", 40);
    for user in ["fan", "nobody"] {
        for passing in [items, items / 2, items / 20, items / 200, items / 2_000] {
            let limit = 10.min(passing);
            let filter = format!("price > {}", items - passing);
            let answer = shop.ask(RecommendRequest { filter: Some(filter), ..request(user, limit) });
            assert_eq!(answer.items.len(), limit, "{user} at {passing} of {items}");
            assert!(ids(&answer).iter().all(|n| *n >= items - passing), "{:?}", ids(&answer));
        }
    }
}

#[test]
fn everything_is_served_when_everything_is_asked_for() {
    let shop = Shop::stocked("", 100);
    shop.train(8);
    let mut all = shop.recommend("nobody", 1_000);
    all.sort_unstable();
    assert_eq!(all, (0..100).collect::<Vec<_>>());
}

#[test]
fn excluded_items_are_not_served() {
    let shop = Shop::stocked("", 400);
    shop.train(8);
    let first = shop.recommend("u1", 10);
    let exclude: Vec<String> = first.iter().map(|n| item_id(*n)).chain(["never heard of".to_owned()]).collect();
    let second = ids(&shop.ask(RecommendRequest { exclude, ..request("u1", 10) }));
    assert_eq!(second.len(), 10);
    assert!(second.iter().all(|item| !first.contains(item)));
}

#[test]
fn a_filter_that_is_none_says_where_and_what_to_write() {
    let shop = Shop::stocked("", 40);
    let refusal = |filter: &str| {
        let request = RecommendRequest { filter: Some(filter.to_owned()), ..request("u1", 5) };
        shop.recommender.recommend(&request).unwrap_err()
    };
    let error = refusal("prise < 5");
    assert!(matches!(error, RecommendError::Filter(_)));
    assert!(error.to_string().contains("price"), "{error}");
    assert!(matches!(refusal("price +"), RecommendError::Filter(_)));
    assert!(matches!(refusal("price + 1"), RecommendError::Filter(_)));
    assert!(matches!(refusal("price < :most"), RecommendError::Filter(_)));
}

#[test]
fn parameters_are_bound_and_told_apart() {
    let shop = Shop::stocked("", 400);
    shop.train(8);
    for most in [1.0, 7.0, 3.0, 7.0] {
        let answer = shop.ask(RecommendRequest {
            filter: Some("price <= :most".to_owned()),
            params: BTreeMap::from([("most".to_owned(), Bind::Number(most))]),
            ..request("u1", 100)
        });
        let mut items = ids(&answer);
        items.sort_unstable();
        let expected: Vec<usize> = (0..most as usize).filter(|n| !shop_seen(&shop).contains(n)).collect();
        assert_eq!(items, expected, "at most {most}");
    }
}

fn shop_seen(shop: &Shop) -> Vec<usize> {
    let catalog = shop.catalog.snapshot();
    let user = shop.state.user("u1", today()).unwrap();
    user.seen.iter().map(|row| number(catalog.id(*row).unwrap())).collect()
}

#[test]
fn an_unavailable_item_is_never_served() {
    let shop = Shop::stocked("[recommend]\neligibility = \"available AND price < 1000\"", 200);
    shop.train(8);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let (shop, done) = (&shop, &done);
        // Takes one item after another away and brings it back; it is away during the whole of each check.
        scope.spawn(move || {
            for n in (0..200).cycle().take(600) {
                shop.apply(vec![if n % 2 == 0 {
                    shop.item(n, false, today())
                } else {
                    Record::ItemDelete { id: item_id(n), timestamp: today() }
                }]);
                let answer = shop.ask(request("nobody", 150));
                assert!(!ids(&answer).contains(&n), "item {n} was taken away before the request");
                assert_eq!(answer.items.len(), 150);
                shop.apply(vec![shop.item(n, true, today())]);
            }
            done.store(true, Ordering::Release);
        });
        // Meanwhile others ask; whatever they get was eligible at the end of their request.
        scope.spawn(move || {
            while !done.load(Ordering::Acquire) {
                let answer = shop.ask(request("u1", 50));
                assert_eq!(answer.items.len(), 50);
                assert!(answer.degraded.is_empty(), "{:?}", answer.degraded);
            }
        });
    });
}

#[test]
fn an_item_without_attributes_is_not_eligible() {
    let shop = Shop::stocked("[recommend]\neligibility = \"available\"", 40);
    shop.click("u1", 3_000);
    let answer = shop.recommend("nobody", 100);
    assert_eq!(answer.len(), 40);
    assert!(!answer.contains(&3_000), "the item was only ever seen in an event");
}

#[test]
fn eligibility_may_depend_on_the_time() {
    let config = "[recommend]\neligibility = \"price < 20 OR now() > TIMESTAMP '2026-04-12T00:00:00Z'\"";
    let shop = Shop::stocked(config, 40);
    let at = |now: &str| {
        let request = RecommendRequest { now: Some(now.parse().unwrap()), ..request("nobody", 100) };
        shop.recommender.recommend(&request).unwrap().items.len()
    };
    assert_eq!(at("2026-04-11T23:59:00Z"), 19);
    assert_eq!(at("2026-04-12T00:01:00Z"), 40);
}
