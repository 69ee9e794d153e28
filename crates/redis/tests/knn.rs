//! The nearest items that pass a filter, on a real Redis: how many of the true ones are found, however few pass.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test fails by panicking")]

mod common;

use std::collections::HashSet;
use std::time::{Duration, Instant};

use common::{client_of, patient};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use tastemaker_config::RedisVectorType;
use tastemaker_expr::{Expr, Params, Schema};
use tastemaker_redis::search::{IndexSchema, Returned, Row};
use tastemaker_redis::{Client, ItemWrite, Items, KnnSearch, Nearest, Operation, Pushdown, RedisError, VectorFormat};
use tastemaker_testkit::RedisServer;
use tastemaker_types::{AttributeSchema, AttributeType, Attributes, Position, Timestamp, Value};

const WRITE: Operation = Operation::repeatable("write").bulk();
const FORMAT: VectorFormat = VectorFormat { dimension: 32, kind: RedisVectorType::Float32 };
const ITEMS: usize = 10_000;
const K: usize = 50;
const QUERIES: usize = 10;

fn schema() -> AttributeSchema {
    AttributeSchema::new([("rank".to_owned(), AttributeType::Number), ("title".to_owned(), AttributeType::Text)])
}

/// Vectors as factor models make them: groups of directions, and norms that differ by popularity.
fn factors(random: &mut SmallRng) -> Vec<Vec<f32>> {
    let direction =
        |random: &mut SmallRng| -> Vec<f32> { (0..FORMAT.dimension).map(|_| random.random_range(-1.0..1.0)).collect() };
    let groups: Vec<Vec<f32>> = (0..40).map(|_| direction(random)).collect();
    (0..ITEMS)
        .map(|number| {
            let (group, own) = (&groups[number % groups.len()], direction(random));
            let norm = 0.2 + 2.0 * random.random_range(0.0_f32..1.0).powi(3);
            group.iter().zip(own).map(|(a, b)| norm * (a + 0.6 * b)).collect()
        })
        .collect()
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

async fn loaded(client: &Client, factors: &[Vec<f32>], ranks: &[usize]) {
    let max_norm = factors.iter().map(|x| dot(x, x).sqrt()).fold(0.0, f32::max);
    let (schema, index) = (schema(), &client.config().index);
    client.create_index(&IndexSchema { generation: "1", format: FORMAT, attributes: &schema, index }).await.unwrap();
    client.point_alias("1").await.unwrap();
    let writes = factors.iter().zip(ranks).enumerate().map(|(number, (factor, rank))| ItemWrite::Upsert {
        id: number.to_string(),
        position: Position(number as u64),
        first_seen: None,
        attributes: Attributes::from([("rank".to_owned(), Value::Number(*rank as f64))]),
        replace: true,
        vectors: vec![("1".to_owned(), FORMAT.item(factor, max_norm))],
    });
    Items::new(client.clone(), schema.clone()).write(WRITE, &writes.collect::<Vec<_>>()).await.unwrap();
}

fn exact(query: &[f32], factors: &[Vec<f32>], passes: impl Fn(usize) -> bool, k: usize) -> HashSet<String> {
    let mut scored: Vec<(f32, usize)> = (0..factors.len())
        .filter(|number| passes(*number))
        .map(|number| (dot(query, &factors[number]), number))
        .collect();
    scored.sort_by(|a, b| b.0.total_cmp(&a.0));
    scored.into_iter().take(k).map(|(_, number)| number.to_string()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_true_nearest_are_found_however_few_pass() {
    let server = RedisServer::start(&[]);
    let client = client_of(&server, &patient());
    let mut random = SmallRng::seed_from_u64(7);
    let factors = factors(&mut random);
    // Ranks in an order that has nothing to do with the vectors.
    let ranks: Vec<usize> = (0..ITEMS).map(|number| number * 7_919 % ITEMS).collect();
    loaded(&client, &factors, &ranks).await;
    let search = KnnSearch::new(client.clone(), client.layout().alias(), ITEMS as u64);
    let names = Schema::for_attributes(&schema());
    let queries: Vec<Vec<f32>> = (0..QUERIES)
        .map(|_| factors[random.random_range(0..ITEMS)].iter().map(|x| x + random.random_range(-0.5..0.5)).collect())
        .collect();
    let mut chosen = HashSet::new();
    for passing in [ITEMS, ITEMS / 2, ITEMS / 20, ITEMS / 200, ITEMS / 2_000] {
        let sql = format!("rank < {passing}");
        let sql = if passing == ITEMS { "TRUE" } else { &sql };
        let condition = Expr::compile_filter(sql, &names, &Params::at(Timestamp::from_micros(0))).unwrap();
        let pushdown = Pushdown::of(&condition, &schema());
        assert!(pushdown.residue.is_none());
        let filter = pushdown.filter.unwrap();
        // Once as a new filter, once when it is known how many pass.
        for known in [false, true] {
            if known {
                let mut counted = search.count(&filter).await.unwrap();
                // A machine that is busy with something else may not count that far at first.
                for _ in 0..50 {
                    if !counted.at_least {
                        break;
                    }
                    counted = search.count(&filter).await.unwrap();
                }
                assert_eq!((counted.documents, counted.passing), (ITEMS as u64, passing as u64));
                chosen.insert(counted.policy(K));
            }
            let (mut hits, mut all, mut took) = (0, 0, Duration::ZERO);
            for query in &queries {
                let expected = exact(query, &factors, |number| ranks[number] < passing, K);
                let nearest = Nearest {
                    vector: FORMAT.query(query),
                    k: K,
                    filter: filter.clone(),
                    returned: Returned::Ids,
                    costly: false,
                };
                let started = Instant::now();
                let found = search.nearest(&nearest).await.unwrap();
                took += started.elapsed();
                assert_eq!(found.rows.len(), expected.len(), "the answer is full");
                assert!(found.rows.is_sorted_by(|a, b| a.distance <= b.distance));
                hits += found.rows.iter().filter(|row| expected.contains(&row.id)).count();
                all += expected.len();
            }
            let recall = hits as f64 / all as f64;
            println!(
                "{passing} of {ITEMS} pass, counted {known}: recall@{K} {recall:.3}, {:?} each",
                took / QUERIES as u32
            );
            assert!(recall >= 0.97, "recall {recall} where {passing} pass");
        }
    }
    assert_eq!(chosen.len(), 2, "both ways are taken");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_condition_that_redis_cannot_check_still_fills_the_answer() {
    let server = RedisServer::start(&[]);
    let client = client_of(&server, &patient());
    let factors = factors(&mut SmallRng::seed_from_u64(8));
    let factors = &factors[..2_000];
    loaded(&client, factors, &(0..2_000).collect::<Vec<_>>()).await;
    let search = KnnSearch::new(client.clone(), client.layout().alias(), 2_000);
    let passes = |id: &str| id.ends_with('7');
    let keep = |rows: &[Row]| Ok::<_, RedisError>(rows.iter().map(|row| passes(&row.id)).collect());
    let filter = tastemaker_redis::search::Filter::all();
    let nearest = Nearest { vector: FORMAT.query(&factors[3]), k: K, filter, returned: Returned::Ids, costly: false };
    let found = search.nearest_kept(&nearest, keep).await.unwrap();
    let expected = exact(&factors[3], factors, |number| passes(&number.to_string()), K);
    assert_eq!(found.rows.len(), K);
    let hits = found.rows.iter().filter(|row| expected.contains(&row.id)).count();
    assert!(hits as f64 / K as f64 >= 0.95, "{hits} of {K}");
    // Nothing more than there is.
    let none = search.nearest_kept(&nearest, |rows| Ok::<_, RedisError>(vec![false; rows.len()])).await.unwrap();
    assert!(none.rows.is_empty());
    // An error of the check is the caller's own.
    let failed = search.nearest_kept(&nearest, |_| Err(RedisError::Settings("no".to_owned()))).await;
    assert_eq!(failed, Err(RedisError::Settings("no".to_owned())));
}
