//! Variety of an answer, as the project asks for it.

use std::collections::BTreeSet;

use tastemaker_recommend::RecommendRequest;

use crate::shop::{GROUPS, Shop, ids, of_group, request};

#[test]
fn no_more_than_the_cap_share_a_value() {
    let shop = Shop::stocked("[recommend.diversity]\nmax_per = { group = 3 }", 400);
    shop.train(8);
    shop.click("fan", 40);
    let answer = shop.recommend("fan", 12);
    for group in 0..GROUPS {
        assert_eq!(of_group(&answer, group), 3, "{answer:?}");
    }
}

#[test]
fn caps_on_lists_of_tags_hold_for_each_tag() {
    let shop = Shop::stocked("[recommend.diversity]\nmax_per = { tags = 2 }", 400);
    shop.train(8);
    let answer = shop.recommend("u0", 6);
    for tag in 0..3 {
        assert!(answer.iter().filter(|n| *n % 3 == tag).count() <= 2, "{answer:?}");
    }
    assert!((0..GROUPS).all(|group| of_group(&answer, group) <= 2), "{answer:?}");
}

#[test]
fn a_cap_gives_way_rather_than_leave_the_answer_short() {
    let shop = Shop::stocked("[recommend.diversity]\nmax_per = { group = 1 }", 400);
    shop.train(8);
    let answer = shop.recommend("u0", 10);
    assert_eq!(answer.len(), 10);
    let first: BTreeSet<usize> = answer[..GROUPS].iter().map(|n| n % GROUPS).collect();
    assert_eq!(first.len(), GROUPS, "one of each group comes first in {answer:?}");
    let one_group = RecommendRequest { filter: Some("group = 'g2'".to_owned()), ..request("u0", 10) };
    assert_eq!(of_group(&ids(&shop.ask(one_group)), 2), 10);
}

#[test]
fn marginal_relevance_mixes_what_the_user_likes() {
    let plain = Shop::stocked("", 400);
    plain.train(8);
    let varied = Shop::stocked("[recommend.diversity]\nmmr_lambda = 0.3", 400);
    varied.train(8);
    let groups = |shop: &Shop| {
        [40, 44, 48, 41].iter().for_each(|item| shop.click("fan", *item));
        let answer = shop.recommend("fan", 10);
        (0..GROUPS).map(|group| of_group(&answer, group)).max().unwrap()
    };
    let (varied, plain) = (groups(&varied), groups(&plain));
    assert!(varied < plain, "{varied} of one group against {plain}");
}
