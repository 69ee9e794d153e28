//! Generations: loaded only if whole, swapped in one step, never mixed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tastemaker_artifacts::{ENCODER, Generation, INDEX, ITEM_FACTORS, ITEM_IDS, write_ids};
use tastemaker_recommend::{GenerationError, ServingGeneration};

use crate::shop::{Shop, about, ids, request};

#[test]
fn a_generation_swap_under_concurrent_requests_never_mixes_versions() {
    let shop = Shop::stocked("", 400);
    shop.state.refresh(crate::shop::today());
    let load = |rank| Arc::new(ServingGeneration::load(&shop.publish(rank), &shop.catalog).unwrap());
    let generations = [load(4), load(8)];
    // What each of them answers alone.
    let mut expected: BTreeMap<(u64, usize), Vec<usize>> = BTreeMap::new();
    for generation in &generations {
        shop.recommender.install(Arc::clone(generation));
        for user in 0..8 {
            expected.insert((generation.version(), user), shop.recommend(&format!("u{user}"), 20));
        }
    }
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let (shop, done, expected) = (&shop, &done, &expected);
        for thread in 0..3 {
            scope.spawn(move || {
                let mut seen = BTreeMap::new();
                for n in 0.. {
                    if done.load(Ordering::Acquire) && n > 50 {
                        break;
                    }
                    let user = (n + thread) % 8;
                    let answer = shop.ask(request(&format!("u{user}"), 20));
                    assert!(answer.degraded.is_empty(), "{:?}", answer.degraded);
                    let version = answer.generation.unwrap();
                    assert_eq!(ids(&answer), expected[&(version, user)], "user {user} of generation {version}");
                    *seen.entry(version).or_insert(0) += 1;
                }
            });
        }
        for n in 0..300 {
            shop.recommender.install(Arc::clone(&generations[n % 2]));
            std::thread::yield_now();
        }
        done.store(true, Ordering::Release);
    });
}

#[test]
fn items_that_the_catalog_does_not_know_are_never_found() {
    let shop = Shop::stocked("", 400);
    let generation = shop.publish(8);
    let smaller = Shop::stocked("", 400);
    smaller.apply(vec![tastemaker_types::Record::ItemDelete {
        id: crate::shop::item_id(7),
        timestamp: crate::shop::today(),
    }]);
    let other = Shop::stocked("", 200);
    for (shop, known) in [(smaller, 400), (other, 200)] {
        let loaded = ServingGeneration::load(&generation, &shop.catalog).unwrap();
        assert_eq!(loaded.len(), known);
        shop.recommender.install(Arc::new(loaded));
        let answer = shop.recommend("nobody", 400);
        assert!(!answer.is_empty() && answer.iter().all(|n| *n < known));
    }
}

/// The files of a good generation, some of them replaced, as a generation of its own.
fn tampered(shop: &Shop, replace: &[(&str, Vec<u8>)], rank: usize, items: usize) -> Generation {
    let good = shop.publish(8);
    let draft = shop.generations.begin().unwrap();
    for name in [ITEM_IDS, ITEM_FACTORS, ENCODER, INDEX] {
        let bytes = replace.iter().find(|(replaced, _)| *replaced == name).map(|(_, bytes)| bytes.clone());
        let bytes = bytes.unwrap_or_else(|| std::fs::read(good.file(name).unwrap()).unwrap());
        std::fs::write(draft.file(name).unwrap(), bytes).unwrap();
    }
    let version = draft.publish(about(rank, items)).unwrap();
    shop.generations.load(version).unwrap()
}

#[test]
fn a_generation_that_does_not_fit_together_is_refused_by_name() {
    let shop = Shop::stocked("", 400);
    let refusal = |replace: &[(&str, Vec<u8>)], rank, items| {
        ServingGeneration::load(&tampered(&shop, replace, rank, items), &shop.catalog).err().unwrap()
    };
    let good = ServingGeneration::load(&tampered(&shop, &[], 8, 400), &shop.catalog);
    assert_eq!(good.unwrap().len(), 400);

    assert!(matches!(refusal(&[], 8, 399), GenerationError::Mismatch { what: "the number of item ids", .. }));
    assert!(matches!(refusal(&[], 9, 400), GenerationError::Mismatch { what: "the length of the item vectors", .. }));

    let other = shop.publish(4);
    let read = |name: &str| std::fs::read(other.file(name).unwrap()).unwrap();
    assert!(matches!(refusal(&[(ENCODER, read(ENCODER))], 8, 400), GenerationError::Model { file: ENCODER, .. }));
    let index = refusal(&[(INDEX, read(INDEX))], 8, 400);
    assert!(matches!(index, GenerationError::Mismatch { found: 4, expected: 8, .. }), "{index}");

    let mut factors = std::fs::read(shop.publish(8).file(ITEM_FACTORS).unwrap()).unwrap();
    let at = factors.len() - 8;
    factors[at..at + 4].copy_from_slice(&f32::NAN.to_le_bytes());
    assert!(matches!(refusal(&[(ITEM_FACTORS, factors)], 8, 400), GenerationError::Model { file: ITEM_FACTORS, .. }));

    let path = shop.generations.dir().join("ids");
    write_ids(&path, ["just one"].into_iter()).unwrap();
    let ids = std::fs::read(path).unwrap();
    assert!(matches!(
        refusal(&[(ITEM_IDS, ids)], 8, 400),
        GenerationError::Mismatch { what: "the number of item ids", found: 1, .. }
    ));
    assert!(matches!(refusal(&[(INDEX, b"nonsense".to_vec())], 8, 400), GenerationError::Index { .. }));
}
