//! Who gets what.

use tastemaker_recommend::{RankRequest, RecommendError, RecommendRequest, SimilarRequest};
use tastemaker_types::Record;

use crate::shop::{Shop, day, ids, item_id, of_group, request, today};

#[test]
fn a_click_changes_the_next_answer() {
    let shop = Shop::stocked("", 400);
    shop.train(8);
    shop.click("visitor", 40);
    let before = shop.recommend("visitor", 10);
    assert!(of_group(&before, 0) >= 8, "a visitor who clicked in group 0 gets {before:?}");
    for item in [41, 45, 49] {
        shop.click("visitor", item);
    }
    let after = shop.recommend("visitor", 10);
    assert_ne!(before, after);
    assert!(of_group(&after, 1) >= 3, "after three clicks in group 1 the answer is {after:?}");
}

#[test]
fn a_new_user_with_one_event_is_personalised() {
    let shop = Shop::stocked("", 400);
    shop.train(8);
    let rankings = shop.state.rankings(today());
    for group in 0..4 {
        let user = format!("new{group}");
        let popular = rankings.popular().iter().map(|row| *row as usize);
        let clicked = popular.filter(|item| item % 4 == group).nth(5).unwrap();
        shop.click(&user, clicked);
        let answer = shop.ask(request(&user, 10));
        assert!(of_group(&ids(&answer), group) >= 8, "one click in group {group} gives {:?}", ids(&answer));
        assert!(!ids(&answer).contains(&clicked), "what was clicked does not come again");
        assert!(answer.degraded.is_empty());
        assert!(answer.items.iter().filter(|item| item.sources.contains(&"embedding")).count() >= 8);
    }
}

#[test]
fn a_user_without_events_gets_popular_and_fresh_items() {
    let shop = Shop::stocked("", 400);
    shop.train(8);
    shop.apply(vec![shop.item(900, true, day(99))]);
    shop.state.refresh(today());
    let answer = shop.ask(request("nobody", 10));
    let rankings = shop.state.rankings(today());
    let most_popular = shop.catalog.snapshot().id(rankings.popular()[0]).unwrap().to_string();
    assert!(answer.items[..2].iter().any(|item| item.item_id == most_popular), "{:?}", ids(&answer));
    assert!(ids(&answer).contains(&900), "an item of yesterday is among {:?}", ids(&answer));
    assert!(answer.degraded.is_empty());
    assert_eq!(answer.items.len(), 10);
}

#[test]
fn without_a_generation_the_answer_is_full_and_says_so() {
    let shop = Shop::stocked("", 400);
    let answer = shop.ask(request("u1", 10));
    assert_eq!(answer.items.len(), 10);
    assert_eq!(answer.degraded, ["no_generation"]);
    assert_eq!(answer.generation, None);
}

#[test]
fn a_new_item_is_found_at_once() {
    let shop = Shop::stocked("", 400);
    shop.train(8);
    assert_eq!(shop.recommend("nobody", 10).len(), 10);
    shop.apply(vec![shop.item(777, true, today())]);
    let only = RecommendRequest { filter: Some("price = 778".to_owned()), ..request("u1", 5) };
    assert_eq!(ids(&shop.ask(only)), [777]);
    assert!(shop.recommend("nobody", 10).contains(&777), "it is fresh before the rankings know it");
}

#[test]
fn what_was_met_does_not_come_again_unless_asked_for() {
    let shop = Shop::stocked("", 80);
    shop.train(8);
    let met: Vec<usize> = (0..40).collect();
    met.iter().for_each(|item| shop.click("fan", *item));
    let answer = shop.recommend("fan", 40);
    assert_eq!(answer.len(), 40);
    assert!(answer.iter().all(|item| !met.contains(item)), "{answer:?}");
    let all = RecommendRequest { include_seen: Some(true), ..request("fan", 80) };
    assert_eq!(shop.ask(all).items.len(), 80);
}

#[test]
fn a_policy_of_no_exclusion_is_overruled_by_a_request() {
    let shop = Shop::stocked("[recommend]\nexclude_seen = \"none\"", 80);
    shop.train(8);
    shop.click("fan", 8);
    assert!(shop.recommend("fan", 80).contains(&8));
    let exclude = RecommendRequest { include_seen: Some(false), ..request("fan", 80) };
    assert!(!ids(&shop.ask(exclude)).contains(&8));
}

#[test]
fn similar_items_are_of_the_same_group_and_not_the_item_itself() {
    let shop = Shop::stocked("", 400);
    let version = shop.train(8);
    let similar = |item: usize| {
        let request = SimilarRequest { item_id: item_id(item), limit: Some(5), ..SimilarRequest::default() };
        shop.recommender.similar(&request).unwrap()
    };
    for item in [0, 1, 2, 3] {
        let answer = similar(item);
        assert_eq!(answer.generation, Some(version));
        assert_eq!(of_group(&ids(&answer), item), 5, "like item {item}: {:?}", ids(&answer));
        assert!(!ids(&answer).contains(&item));
        assert!(answer.items.is_sorted_by(|a, b| a.score >= b.score) && answer.items[0].score <= 1.0 + 1e-5);
    }
    shop.apply(vec![shop.item(900, true, today())]);
    let answer = similar(900);
    assert_eq!((answer.items.len(), answer.degraded.as_slice()), (5, ["no_vector".to_owned()].as_slice()));
    let unknown = SimilarRequest { item_id: "ghost".to_owned(), ..SimilarRequest::default() };
    assert!(matches!(shop.recommender.similar(&unknown), Err(RecommendError::UnknownItem { .. })));
}

#[test]
fn given_items_are_ranked_once_each_and_the_ineligible_left_out() {
    let shop = Shop::stocked("[recommend]\neligibility = \"available\"", 400);
    shop.train(8);
    shop.apply(vec![shop.item(13, false, today())]);
    shop.click("fan", 0);
    let items = [1, 4, 2, 4, 13, 0, 9_999].map(item_id).to_vec();
    let request = RankRequest { user_id: "fan".to_owned(), items, now: Some(today()), ..RankRequest::default() };
    let answer = shop.recommender.rank(&request).unwrap();
    let mut ranked = ids(&answer);
    assert_eq!(of_group(&ranked[..2], 0), 2, "the user's own group comes first in {ranked:?}");
    ranked.sort_unstable();
    assert_eq!(ranked, [0, 1, 2, 4], "ineligible and unknown items are not there; a seen one is");
    assert_eq!(answer.items[0].sources, ["given"]);
}

#[test]
fn requests_out_of_range_are_refused_by_name() {
    let shop = Shop::stocked("[recommend]\nmax_limit = 50", 40);
    let refusal = |request: RecommendRequest| shop.recommender.recommend(&request).unwrap_err().to_string();
    assert_eq!(refusal(request("u1", 0)), "limit is 0; give 1 to 50");
    assert_eq!(refusal(request("u1", 51)), "limit is 51; give 1 to 50");
    assert_eq!(
        refusal(RecommendRequest { candidates: Some(10_001), ..request("u1", 1) }),
        "candidates is 10001; give 1 to 10000"
    );
    assert_eq!(
        refusal(RecommendRequest { exclude: vec!["x".to_owned(); 10_001], ..request("u1", 1) }),
        "exclude has 10001 entries; at most 10000 are allowed"
    );
    assert_eq!(refusal(request("", 1)), "user_id is empty; give a non-empty string");
}

#[test]
fn a_forgotten_user_is_a_new_one() {
    let shop = Shop::stocked("", 400);
    shop.train(8);
    shop.click("fan", 40);
    assert_ne!(shop.recommend("fan", 10), shop.recommend("nobody", 10));
    shop.apply(vec![Record::UserDelete { id: "fan".to_owned(), timestamp: today() }]);
    assert_eq!(shop.recommend("fan", 10), shop.recommend("nobody", 10));
}

#[test]
fn an_answer_carries_the_attributes_that_the_project_names() {
    let shop = Shop::stocked("[recommend]\nattributes = [\"price\", \"group\"]", 40);
    let answer = shop.ask(request("u1", 1));
    assert_eq!(answer.items[0].attributes.keys().collect::<Vec<_>>(), ["group", "price"]);
    let shop = Shop::stocked("", 40);
    assert_eq!(shop.ask(request("u1", 1)).items[0].attributes.len(), 4);
}

#[test]
fn the_same_request_gives_the_same_answer() {
    let shop = Shop::stocked("", 400);
    shop.train(8);
    for user in ["u1", "u2", "nobody"] {
        let first = shop.ask(request(user, 20));
        for _ in 0..3 {
            assert_eq!(shop.ask(request(user, 20)).items, first.items);
        }
    }
}

#[test]
fn an_explanation_tells_the_story_and_changes_nothing() {
    let shop = Shop::stocked("[recommend]\nboost = \"CASE WHEN price < 100 THEN 2 ELSE 1 END\"", 400);
    shop.train(8);
    shop.click("fan", 40);
    let plain = shop.ask(RecommendRequest { exclude: vec![item_id(0)], ..request("fan", 10) });
    let told = shop.ask(RecommendRequest { exclude: vec![item_id(0)], explain: true, ..request("fan", 10) });
    assert_eq!(plain.items, told.items);
    assert!(plain.explain.is_none());
    let story = told.explain.unwrap();
    assert!(story.user.known && story.user.history == 1 && story.user.vector_norm.unwrap() > 0.0);
    assert_eq!(story.user.latest[0].item_id, item_id(40));
    assert_eq!((story.items_in_catalog, story.admitted), (400, 398));
    let retrieval = story.retrieval.as_ref().unwrap();
    assert!(retrieval.found > 300 && retrieval.vectors == 400, "{retrieval:?}");
    for (item, explained) in told.items.iter().zip(&story.items) {
        assert_eq!((&item.item_id, item.score), (&explained.item_id, explained.score));
        let sum: f32 = explained.contributions.values().sum();
        let [(first, before_boost), (second, boosted)] = explained.scored[..] else { panic!("two scorers") };
        assert_eq!((first, second), ("relevance", "boost"));
        assert!((sum - before_boost).abs() < 1e-5 && boosted == item.score);
    }
    let dropped = |id: usize| story.dropped.iter().find(|dropped| dropped.item_id == item_id(id)).map(|d| d.stage);
    assert_eq!(dropped(0), Some("excluded"), "{:?}", story.dropped);
    assert_eq!(dropped(40), Some("seen"), "{:?}", story.dropped);
    assert!(story.trace.stages.iter().any(|stage| stage.stage == "embedding" && stage.candidates_out > 0));
}
