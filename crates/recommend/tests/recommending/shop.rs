//! A shop of items in groups and users who each like one group, with a log position, a catalog, state and a recommender.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use tastemaker_artifacts::{
    ENCODER, Generation, GenerationStore, INDEX, ITEM_FACTORS, ITEM_IDS, Lineage, ModelInfo, NewGeneration, write_ids,
};
use tastemaker_config::Config;
use tastemaker_features::OnlineState;
use tastemaker_features::set::FeatureSet;
use tastemaker_models::{Als, Factorizer, Interactions};
use tastemaker_recommend::{RecommendRequest, Recommendation, Recommender, ServingGeneration, state_options};
use tastemaker_store::Catalog;
use tastemaker_store::index::{BuildOptions, HnswIndex, VectorIndex};
use tastemaker_types::{Attributes, EntityUpsert, Event, Position, Record, Timestamp, UpsertMode, Value, Window};

/// Item `n` is of group `n % GROUPS`.
pub(crate) const GROUPS: usize = 4;

pub(crate) struct Shop {
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) state: Arc<OnlineState>,
    pub(crate) recommender: Recommender,
    pub(crate) generations: GenerationStore,
    next: AtomicU64,
    /// Everything that was applied.
    pub(crate) log: Mutex<Vec<(Position, Record)>>,
    _dir: tempfile::TempDir,
}

pub(crate) const BASE: &str = r#"
[items.attributes]
group = "tag"
tags = "tags"
price = "number"
available = "bool"
"#;

pub(crate) fn config(recommend: &str) -> Config {
    let mut config: Config = toml::from_str(&format!("{BASE}\n{recommend}")).unwrap();
    // However slow and busy the machine that tests: what a budget does has a test of its own.
    config.recommend.budget = Window::from_days(1);
    config
}

pub(crate) fn item_id(n: usize) -> String {
    format!("i{n:04}")
}

pub(crate) fn number(item_id: &str) -> usize {
    item_id[1..].parse().unwrap()
}

/// Noon of a day in 2026, the shop's time.
pub(crate) fn day(n: i64) -> Timestamp {
    "2026-01-01T12:00:00Z".parse::<Timestamp>().unwrap().plus(Window::from_days(n))
}

pub(crate) fn today() -> Timestamp {
    day(100)
}

impl Shop {
    /// An empty shop with the `[recommend]` settings of `recommend` (TOML).
    pub(crate) fn empty(recommend: &str) -> Self {
        Self::with_config(&config(recommend), |_| {})
    }

    pub(crate) fn with_config(config: &Config, change: impl FnOnce(&mut tastemaker_features::StateOptions)) -> Self {
        let catalog = Arc::new(Catalog::new(config.items.schema()));
        let mut options = state_options(config);
        change(&mut options);
        let features = Arc::new(FeatureSet::compile(config).unwrap());
        let state = Arc::new(OnlineState::with_features(options, Arc::clone(&catalog), features));
        let recommender = Recommender::new(config, Arc::clone(&catalog), Arc::clone(&state)).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let generations = GenerationStore::open(dir.path().join("generations"));
        Self { catalog, state, recommender, generations, next: AtomicU64::new(0), log: Mutex::default(), _dir: dir }
    }

    /// `items` items first seen on days 0, 1, 2 …, at price 1, 2, 3 …, all available; 60 users with ten clicks in their group each.
    pub(crate) fn stocked(recommend: &str, items: usize) -> Self {
        let shop = Self::empty(recommend);
        shop.stock(items);
        shop
    }

    pub(crate) fn stock(&self, items: usize) {
        let records: Vec<Record> = (0..items).map(|n| self.item(n, true, day((n % 60) as i64))).collect();
        self.apply(records);
        let per_group = items / GROUPS;
        let mut random = 7u64;
        let mut clicks = Vec::new();
        for user in 0..60 {
            for _ in 0..10 {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                // Squared, so that some items are popular.
                let uniform = (random >> 40) as f64 / (1u64 << 24) as f64;
                let within = (uniform * uniform * per_group as f64) as usize;
                clicks.push(click(&format!("u{user}"), within * GROUPS + user % GROUPS, day(80)));
            }
        }
        self.apply(clicks);
    }

    pub(crate) fn item(&self, n: usize, available: bool, at: Timestamp) -> Record {
        let attributes = Attributes::from([
            ("group".to_owned(), Value::Text(format!("g{}", n % GROUPS))),
            ("tags".to_owned(), Value::Tags(vec![format!("t{}", n % 3), format!("g{}", n % GROUPS)])),
            ("price".to_owned(), Value::Number(n as f64 + 1.0)),
            ("available".to_owned(), Value::Bool(available)),
        ]);
        Record::ItemUpsert(EntityUpsert { id: item_id(n), attributes, mode: UpsertMode::Replace, timestamp: at })
    }

    pub(crate) fn apply(&self, records: Vec<Record>) {
        let records: Vec<(Position, Record)> =
            records.into_iter().map(|record| (Position(self.next.fetch_add(1, Ordering::Relaxed)), record)).collect();
        self.state.apply(&records);
        self.log.lock().unwrap().extend(records);
    }

    pub(crate) fn click(&self, user: &str, item: usize) {
        self.apply(vec![click(user, item, today())]);
    }

    /// Trains on all users of [`Shop::stock`] and publishes, without installing.
    pub(crate) fn publish(&self, rank: usize) -> Generation {
        let catalog = self.catalog.snapshot();
        let items: Vec<String> = (0..catalog.len() as u32).map(|row| catalog.id(row).unwrap().to_string()).collect();
        let mut triplets = Vec::new();
        for user in 0..60u32 {
            for liked in self.state.user(&format!("u{user}"), today()).unwrap().history {
                triplets.push((user, liked.row, liked.weight));
            }
        }
        let als = Als { rank, iterations: 8, unobserved_weight: 0.05, threads: 1, ..Als::default() };
        let data = Interactions::from_triplets(60, items.len(), triplets).unwrap();
        let model = als.fit(&data, &mut |_| ControlFlow::Continue(())).unwrap();
        let draft = self.generations.begin().unwrap();
        write_ids(&draft.file(ITEM_IDS).unwrap(), items.iter().map(String::as_str)).unwrap();
        let mut factors = Vec::new();
        model.item_factors.write_to(&mut factors).unwrap();
        std::fs::write(draft.file(ITEM_FACTORS).unwrap(), factors).unwrap();
        std::fs::write(draft.file(ENCODER).unwrap(), model.encoder.to_bytes()).unwrap();
        let vectors = model.item_factors.as_slice().to_vec();
        let options = BuildOptions { threads: 1, ..BuildOptions::default() };
        HnswIndex::build(rank, vectors, None, &options).unwrap().save(&draft.file(INDEX).unwrap()).unwrap();
        let version = draft.publish(about(rank, items.len())).unwrap();
        self.generations.load(version).unwrap()
    }

    /// Trains, loads and installs.
    pub(crate) fn train(&self, rank: usize) -> u64 {
        let generation = Arc::new(ServingGeneration::load(&self.publish(rank), &self.catalog).unwrap());
        let version = generation.version();
        self.recommender.install(generation);
        version
    }

    pub(crate) fn ask(&self, request: RecommendRequest) -> Recommendation {
        self.recommender.recommend(&RecommendRequest { now: Some(today()), ..request }).unwrap()
    }

    pub(crate) fn recommend(&self, user: &str, limit: usize) -> Vec<usize> {
        ids(&self.ask(request(user, limit)))
    }
}

pub(crate) fn about(rank: usize, items: usize) -> NewGeneration {
    NewGeneration {
        project: "shop".to_owned(),
        lineage: Lineage {
            log_position: Position(0),
            latest_event: None,
            events: 600,
            config_hash: String::new(),
            seed: 1,
            parent: None,
            tool_version: "test".to_owned(),
            training_seconds: 0.1,
        },
        model: ModelInfo { kind: "als".to_owned(), rank, users: 60, items },
        evaluation: None,
    }
}

pub(crate) fn request(user: &str, limit: usize) -> RecommendRequest {
    RecommendRequest { user_id: user.to_owned(), limit: Some(limit), ..RecommendRequest::default() }
}

pub(crate) fn ids(answer: &Recommendation) -> Vec<usize> {
    answer.items.iter().map(|item| number(&item.item_id)).collect()
}

/// How many of the items are of this group.
pub(crate) fn of_group(items: &[usize], group: usize) -> usize {
    items.iter().filter(|item| *item % GROUPS == group).count()
}

pub(crate) fn click(user: &str, item: usize, at: Timestamp) -> Record {
    Record::Event(Event {
        event_id: format!("{user}-{item}-{at}"),
        event_type: "click".to_owned(),
        user_id: user.to_owned(),
        item_id: item_id(item),
        timestamp: at,
        value: None,
        session_id: None,
        received: None,
        request_id: None,
        properties: BTreeMap::new(),
    })
}
