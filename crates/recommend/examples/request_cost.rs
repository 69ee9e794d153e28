//! What one request costs: CPU time of an answer by one thread, over synthetic items, with eligibility, a filter and what was met excluded.
//! `cargo run --release -p tastemaker-recommend --example request_cost -- [items] [dimension] [users] [features]`, the last being the word
//! itself: the boost and the eligibility then read features of user, item and pair.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tastemaker_artifacts::{
    ENCODER, GenerationStore, INDEX, ITEM_FACTORS, ITEM_IDS, Lineage, ModelInfo, NewGeneration, write_ids,
};
use tastemaker_config::Config;
use tastemaker_features::OnlineState;
use tastemaker_features::set::FeatureSet;
use tastemaker_models::Matrix;
use tastemaker_recommend::{RecommendRequest, Recommender, ServingGeneration, state_options};
use tastemaker_store::Catalog;
use tastemaker_store::index::{BuildOptions, HnswIndex, VectorIndex};
use tastemaker_types::{Attributes, EntityUpsert, Event, Position, Record, Timestamp, UpsertMode, Value, Window};

const PROJECT: &str = r#"
[items.attributes]
category = "tag"
price = "number"
available = "bool"
[recommend]
eligibility = "available"
"#;
const FEATURES: &str = r#"
boost = "1 + 0.2 * (item.clicks_7d > 20) + 0.1 * least(user.recent_click_count, 3) - 0.1 * coalesce(pair.clicks, 0)"
[[features]]
entity = "item"
name = "clicks_7d"
aggregate = "count"
events = ["click"]
window = "7d"
[[features]]
entity = "user"
name = "recent_click_count"
aggregate = "count"
events = ["click"]
window = "30m"
[[features]]
entity = "pair"
name = "clicks"
aggregate = "count"
events = ["click"]
"#;
const EVENTS_PER_USER: u64 = 50;

type Fallible<T> = Result<T, Box<dyn std::error::Error>>;

/// A small generator of uniform numbers.
struct Random(u64);

impl Random {
    fn uniform(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 11) as f64 / (1u64 << 53) as f64
    }
    fn below(&mut self, bound: u64) -> u64 {
        (self.uniform() * bound as f64) as u64
    }
}

#[allow(clippy::print_stdout)]
fn main() -> Fallible<()> {
    let argument = |place: usize, default: u64| std::env::args().nth(place).map_or(Ok(default), |text| text.parse());
    let (items, dim, users) = (argument(1, 100_000)?, argument(2, 64)? as usize, argument(3, 10_000)?);
    let with_features = std::env::args().nth(4).is_some_and(|word| word == "features");
    let config: Config = toml::from_str(&format!("{PROJECT}{}", if with_features { FEATURES } else { "" }))?;
    let catalog = Arc::new(Catalog::new(config.items.schema()));
    let features = Arc::new(FeatureSet::compile(&config)?);
    let state = Arc::new(OnlineState::with_features(state_options(&config), Arc::clone(&catalog), features));
    let mut random = Random(1);
    let now = Timestamp::now();

    let started = Instant::now();
    let records = (0..items).map(|n| item(n, &mut random, now)).collect();
    apply(&state, records);
    println!("{items} items applied in {:?}", started.elapsed());
    let started = Instant::now();
    for user in 0..users {
        apply(&state, (0..EVENTS_PER_USER).map(|_| click(user, items, &mut random, now)).collect());
    }
    println!("{} events applied in {:?}", users * EVENTS_PER_USER, started.elapsed());
    let started = Instant::now();
    state.refresh(now);
    println!("rankings of all items in {:?}", started.elapsed());

    let dir = tempfile::tempdir()?;
    let started = Instant::now();
    let recommender = Recommender::new(&config, Arc::clone(&catalog), Arc::clone(&state))?;
    recommender.install(Arc::new(generation(&GenerationStore::open(dir.path()), &catalog, items, dim, &mut random)?));
    println!("generation of {dim} dimensions made and loaded in {:?}", started.elapsed());

    for (what, filter) in [
        ("no filter", None),
        ("50 % pass", Some("price < 500")),
        ("5 % pass", Some("price < 50 AND category <> 'none'")),
        ("0.5 % pass", Some("price < 5")),
        ("0.05 % pass", Some("price < 0.5")),
        ("by a feature", Some("item.clicks_7d > 3")),
    ] {
        if !with_features && what == "by a feature" {
            continue;
        }
        let mut times = Vec::new();
        for n in 0..600 {
            let request = RecommendRequest {
                user_id: format!("u{}", random.below(users)),
                filter: filter.map(str::to_owned),
                explain: n == 0,
                ..RecommendRequest::default()
            };
            let started = Instant::now();
            let answer = recommender.recommend(&request)?;
            times.push(started.elapsed());
            if let Some(story) = answer.explain {
                let stages = story.trace.stages.iter().filter(|stage| stage.seconds > 20e-6);
                let stages: Vec<String> =
                    stages.map(|stage| format!("{} {:.2} ms", stage.stage, stage.seconds * 1e3)).collect();
                println!("  first: {} · plan {:?}", stages.join(", "), story.retrieval.map(|r| r.plan));
            }
        }
        times.drain(..100);
        times.sort_unstable();
        let at = |share: f64| times.get((times.len() as f64 * share) as usize).copied().unwrap_or(Duration::ZERO);
        println!("{what:12} p50 {:?} · p90 {:?} · p99 {:?}", at(0.5), at(0.9), at(0.99));
    }
    Ok(())
}

fn apply(state: &OnlineState, records: Vec<Record>) {
    let next = state.position().map_or(0, |last| last.0 + 1);
    let records: Vec<(Position, Record)> = (next..).map(Position).zip(records).collect();
    state.apply(&records);
}

fn item(n: u64, random: &mut Random, now: Timestamp) -> Record {
    let attributes = Attributes::from([
        ("category".to_owned(), Value::Text(format!("c{}", random.below(50)))),
        ("price".to_owned(), Value::Number(random.uniform() * 1_000.0)),
        ("available".to_owned(), Value::Bool(random.uniform() < 0.95)),
    ]);
    let timestamp = now.minus(Window::from_millis(random.below(10_000_000_000) as i64));
    Record::ItemUpsert(EntityUpsert { id: format!("i{n}"), attributes, mode: UpsertMode::Replace, timestamp })
}

fn click(user: u64, items: u64, random: &mut Random, now: Timestamp) -> Record {
    let item = (random.uniform().powi(3) * items as f64) as u64;
    let timestamp = now.minus(Window::from_millis(random.below(5_000_000_000) as i64));
    Record::Event(Event {
        event_id: String::new(),
        event_type: "click".to_owned(),
        user_id: format!("u{user}"),
        item_id: format!("i{item}"),
        timestamp,
        value: None,
        session_id: None,
        received: None,
        request_id: None,
        properties: BTreeMap::new(),
    })
}

/// Item vectors around 200 centres, of lengths that differ, and an ALS encoder that goes with them.
fn generation(
    store: &GenerationStore,
    catalog: &Catalog,
    items: u64,
    dim: usize,
    random: &mut Random,
) -> Fallible<ServingGeneration> {
    let mut normal = || (0..12).map(|_| random.uniform()).sum::<f64>() as f32 - 6.0;
    let centres: Vec<Vec<f32>> = (0..200).map(|_| (0..dim).map(|_| normal()).collect()).collect();
    let mut values = Vec::with_capacity(items as usize * dim);
    for n in 0..items as usize {
        let length = (0.3 + 0.1 * normal().abs()) / (dim as f32).sqrt();
        values.extend(centres[n % centres.len()].iter().map(|centre| (centre + 0.7 * normal()) * length));
    }
    let draft = store.begin()?;
    let ids: Vec<String> = (0..items).map(|n| format!("i{n}")).collect();
    write_ids(&draft.file(ITEM_IDS)?, ids.iter().map(String::as_str))?;
    let factors = Matrix::from_vec(items as usize, dim, values.clone())?;
    let mut file = std::io::BufWriter::new(std::fs::File::create(draft.file(ITEM_FACTORS)?)?);
    factors.write_to(&mut file)?;
    std::io::Write::flush(&mut file)?;
    // The encoder's documented format: ALS, α₀ .01, λ .003, ν 1, energies 1.
    let mut encoder = b"TMENCODE".to_vec();
    [1u32, 1, dim as u32].iter().for_each(|field| encoder.extend(field.to_le_bytes()));
    encoder.extend(items.to_le_bytes());
    [0.01f32, 0.003, 1.0].iter().for_each(|value| encoder.extend(value.to_le_bytes()));
    (0..dim).for_each(|_| encoder.extend(1f32.to_le_bytes()));
    std::fs::write(draft.file(ENCODER)?, encoder)?;
    HnswIndex::build(dim, values, None, &BuildOptions::default())?.save(&draft.file(INDEX)?)?;
    let lineage = Lineage {
        log_position: Position(0),
        latest_event: None,
        events: 0,
        config_hash: String::new(),
        seed: 1,
        parent: None,
        tool_version: String::new(),
        training_seconds: 0.0,
    };
    let model = ModelInfo { kind: "als".to_owned(), rank: dim, users: 0, items: items as usize };
    let version = draft.publish(NewGeneration { project: "cost".to_owned(), lineage, model, evaluation: None })?;
    Ok(ServingGeneration::load(&store.load(version)?, catalog)?)
}
