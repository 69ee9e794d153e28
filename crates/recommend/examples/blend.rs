//! What the weights of the sources do to quality, on MovieLens (`movielens-small` in the folder that `TASTEMAKER_DATA` names): each user's latest fifth
//! of the liked movies is held out, and the whole pipeline is asked for twenty.
//! `TASTEMAKER_DATA=… cargo run --release -p tastemaker-recommend --example blend`

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use tastemaker_artifacts::{
    ENCODER, Generation, GenerationStore, INDEX, ITEM_FACTORS, ITEM_IDS, Lineage, ModelInfo, NewGeneration, write_ids,
};
use tastemaker_config::Config;
use tastemaker_features::OnlineState;
use tastemaker_models::{Als, Factorizer, Interactions};
use tastemaker_recommend::{RecommendRequest, Recommender, ServingGeneration, state_options};
use tastemaker_store::Catalog;
use tastemaker_store::index::{BuildOptions, HnswIndex, VectorIndex};
use tastemaker_types::{Event, Position, Record, Timestamp};

const AT: usize = 20;

type Fallible<T> = Result<T, Box<dyn std::error::Error>>;

struct Data {
    events: Vec<Event>,
    held_out: BTreeMap<String, HashSet<String>>,
}

#[allow(clippy::print_stdout)]
fn main() -> Fallible<()> {
    let Some(folder) = std::env::var_os("TASTEMAKER_DATA") else {
        println!("skipped: TASTEMAKER_DATA is not set");
        return Ok(());
    };
    let data = read(&Path::new(&folder).join("movielens-small/ratings.csv"))?;
    let dir = tempfile::tempdir()?;
    let store = GenerationStore::open(dir.path());
    let (rank, alpha) = (64, 0.1);
    let generation = train(&store, &data, rank, alpha)?;
    println!("weights: embedding, item_to_item, popular, fresh · recall@{AT} ndcg@{AT}");
    for weights in [
        [1.0, 0.0, 0.0, 0.0],
        [1.0, 0.1, 0.0, 0.0],
        [1.0, 0.25, 0.0, 0.0],
        [1.0, 0.5, 0.0, 0.0],
        [1.0, 1.0, 0.0, 0.0],
        [1.0, 0.0, 0.1, 0.0],
        [1.0, 0.0, 0.3, 0.0],
        [1.0, 0.0, 0.0, 0.1],
        [1.0, 0.5, 0.1, 0.1],
        [1.0, 0.2, 0.1, 0.1],
        [0.0, 1.0, 0.0, 0.0],
        [0.0, 0.0, 1.0, 0.0],
    ] {
        let (recall, ndcg) = measure(&data, &generation, weights)?;
        println!("{weights:?} · {recall:.4} {ndcg:.4}");
    }
    Ok(())
}

fn read(path: &Path) -> Fallible<Data> {
    let mut by_user: BTreeMap<String, Vec<(i64, String)>> = BTreeMap::new();
    for line in std::fs::read_to_string(path)?.lines().skip(1) {
        let [user, item, rating, time] = line.split(',').collect::<Vec<_>>()[..] else { continue };
        if rating.parse::<f64>()? >= 4.0 {
            by_user.entry(user.to_owned()).or_default().push((time.parse()?, item.to_owned()));
        }
    }
    let (mut events, mut held_out) = (Vec::new(), BTreeMap::new());
    for (user, mut liked) in by_user {
        liked.sort();
        let kept = liked.len() - liked.len() / 5;
        held_out.insert(user.clone(), liked.drain(kept..).map(|(_, item)| item).collect::<HashSet<_>>());
        events.extend(liked.into_iter().map(|(time, item)| Event {
            event_id: String::new(),
            event_type: "click".to_owned(),
            user_id: user.clone(),
            item_id: item,
            timestamp: Timestamp::from_micros(time * 1_000_000),
            value: None,
            session_id: None,
            received: None,
            request_id: None,
            properties: BTreeMap::new(),
        }));
    }
    held_out.retain(|_, items| !items.is_empty());
    Ok(Data { events, held_out })
}

fn train(store: &GenerationStore, data: &Data, rank: usize, unobserved_weight: f32) -> Fallible<Generation> {
    let (mut users, mut items, mut ids) = (HashMap::new(), HashMap::new(), Vec::new());
    let mut triplets = Vec::new();
    for event in &data.events {
        let next = users.len() as u32;
        let user = *users.entry(&event.user_id).or_insert(next);
        let item = *items.entry(&event.item_id).or_insert_with(|| {
            ids.push(event.item_id.as_str());
            ids.len() as u32 - 1
        });
        triplets.push((user, item, 1.0));
    }
    let als = Als { rank, iterations: 12, unobserved_weight, ..Als::default() };
    let model =
        als.fit(&Interactions::from_triplets(users.len(), ids.len(), triplets)?, &mut |_| ControlFlow::Continue(()))?;
    let draft = store.begin()?;
    write_ids(&draft.file(ITEM_IDS)?, ids.iter().copied())?;
    let mut factors = Vec::new();
    model.item_factors.write_to(&mut factors)?;
    std::fs::write(draft.file(ITEM_FACTORS)?, factors)?;
    std::fs::write(draft.file(ENCODER)?, model.encoder.to_bytes())?;
    let vectors = model.item_factors.as_slice().to_vec();
    HnswIndex::build(rank, vectors, None, &BuildOptions::default())?.save(&draft.file(INDEX)?)?;
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
    let model = ModelInfo { kind: "als".to_owned(), rank, users: users.len(), items: ids.len() };
    let version = draft.publish(NewGeneration { project: "blend".to_owned(), lineage, model, evaluation: None })?;
    Ok(store.load(version)?)
}

/// Mean recall and binary nDCG of the pipeline's answers.
fn measure(data: &Data, generation: &Generation, weights: [f64; 4]) -> Fallible<(f64, f64)> {
    let mut config = Config::default();
    let sources = &mut config.recommend.sources;
    let all = [&mut sources.embedding, &mut sources.item_to_item, &mut sources.popular, &mut sources.fresh];
    for (source, weight) in all.into_iter().zip(weights) {
        source.enabled = weight > 0.0;
        source.weight = weight;
        source.quota = None;
    }
    config.recommend.budget = tastemaker_types::Window::from_millis(5_000);
    let catalog = Arc::new(Catalog::new(config.items.schema()));
    let state = Arc::new(OnlineState::new(state_options(&config), Arc::clone(&catalog)));
    let records = data.events.iter().cloned().map(Record::Event);
    state.apply(&(0..).map(Position).zip(records).collect::<Vec<_>>());
    let recommender = Recommender::new(&config, Arc::clone(&catalog), Arc::clone(&state))?;
    recommender.install(Arc::new(ServingGeneration::load(generation, &catalog)?));
    let now = data.events.iter().map(|event| event.timestamp).max();
    let (mut recall, mut ndcg) = (0.0, 0.0);
    for (user, wanted) in &data.held_out {
        let request = RecommendRequest { user_id: user.clone(), limit: Some(AT), now, ..RecommendRequest::default() };
        let answer = recommender.recommend(&request)?;
        let gain = |place: usize| 1.0 / (place as f64 + 2.0).log2();
        let hits: Vec<usize> =
            (0..answer.items.len()).filter(|place| wanted.contains(&answer.items[*place].item_id)).collect();
        recall += hits.len() as f64 / wanted.len() as f64;
        ndcg += hits.iter().map(|place| gain(*place)).sum::<f64>() / (0..wanted.len().min(AT)).map(gain).sum::<f64>();
    }
    let users = data.held_out.len() as f64;
    Ok((recall / users, ndcg / users))
}
