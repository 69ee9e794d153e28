//! The run itself: read, split, fit, measure, fit again on everything, index, publish, promote.

use std::io::Write;
use std::ops::ControlFlow;
use std::time::Instant;

use fs_err as fs;
use tastemaker_artifacts::{
    ENCODER, Evaluation, GenerationStore, INDEX, ITEM_FACTORS, ITEM_IDS, Lineage, ModelInfo, NewGeneration,
    USER_FACTORS, USER_IDS, Version, write_ids,
};
use tastemaker_config::{Config, EmbeddingsConfig};
use tastemaker_log::LogReader;
use tastemaker_models::{Factorization, Interactions, Matrix, ModelError, Side};
use tastemaker_store::index::{BuildOptions, HnswIndex, VectorIndex};
use tastemaker_types::Position;

use crate::promotion::judge;
use crate::{Dataset, Fit, Ids, Step, TimeSplit, TrainingError, Verdict, evaluate as measuring, settings, stopping};

/// The most held-out users that are measured; a random sample of more says the same.
const MEASURED_USERS: usize = 20_000;

type Report<'a> = &'a mut (dyn FnMut(Step) -> ControlFlow<()> + Send);

/// How to train.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TrainOptions {
    /// Hold out the latest events first and measure on them; the published model learns from everything either way.
    pub holdout: bool,
    /// Promote the generation if it is fit to serve.
    pub promote: bool,
    /// Promote it even if it is not.
    pub force: bool,
}

impl Default for TrainOptions {
    fn default() -> Self {
        Self { holdout: true, promote: true, force: false }
    }
}

/// A published generation.
#[derive(Debug, Clone, PartialEq)]
pub struct Trained {
    /// Its number.
    pub version: Version,
    /// Its shape.
    pub model: ModelInfo,
    /// What it was made from.
    pub lineage: Lineage,
    /// How it did, unless nothing was held out.
    pub evaluation: Option<Evaluation>,
    /// What the metrics say.
    pub verdict: Verdict,
    /// Whether it serves now.
    pub promoted: bool,
    /// Old generations that were deleted.
    pub deleted: Vec<Version>,
}

/// A model that was measured and thrown away.
#[derive(Debug, Clone, PartialEq)]
pub struct Evaluated {
    /// Its shape.
    pub model: ModelInfo,
    /// Positive events, held out or not.
    pub events: u64,
    /// How it did.
    pub evaluation: Evaluation,
}

/// Trains on the project's log and publishes a generation. A running server may write meanwhile.
///
/// # Errors
/// [`TrainingError`]; whatever happens, nothing half-done is left and the champion serves on.
pub fn train(
    config: &Config,
    options: TrainOptions,
    tool_version: &str,
    report: Report<'_>,
) -> Result<Trained, TrainingError> {
    on_threads(config, || {
        let started = Instant::now();
        let store = GenerationStore::open(config.storage.generations_dir());
        let data = read(config, report)?;
        let draft = store.begin()?;
        let (evaluation, iterations) = if options.holdout && config.training.holdout > 0.0 {
            let held = hold_out(config, &data, report)?;
            (Some(held.evaluation), held.iterations)
        } else {
            (None, stopping::iterations(config, &data, None, report)?)
        };
        let all = data.interactions(|_| true)?;
        let model = fit(&config.embeddings, iterations, Fit::Final, &all, report)?;
        drop(all);
        model.user_factors.check_finite("user factors")?;
        model.item_factors.check_finite("item factors")?;

        write_ids(&draft.file(USER_IDS)?, texts(data.users()))?;
        write_matrix(&draft.file(USER_FACTORS)?, &model.user_factors)?;
        write_ids(&draft.file(ITEM_IDS)?, texts(data.items()))?;
        write_matrix(&draft.file(ITEM_FACTORS)?, &model.item_factors)?;
        fs::write(draft.file(ENCODER)?, model.encoder.to_bytes())?;
        proceed(Step::Indexing { items: data.items().len() }, report)?;
        let rank = model.item_factors.cols();
        let build = BuildOptions { threads: config.training.threads, ..BuildOptions::default() };
        let vectors = model.item_factors.as_slice().to_vec();
        HnswIndex::build(rank, vectors, None, &build)?.save(&draft.file(INDEX)?)?;
        proceed(Step::Publishing, report)?;

        let parent = store.champion().unwrap_or(None);
        let measured = |version| store.manifest(version).ok().and_then(|manifest| manifest.evaluation);
        let verdict = judge(evaluation.as_ref(), parent.and_then(measured).as_ref(), config.training.metrics_at);
        let about = NewGeneration {
            project: config.project.name.clone(),
            model: shape(config, rank, &data),
            lineage: Lineage {
                log_position: data.log_position(),
                latest_event: data.latest_event(),
                events: data.len() as u64,
                config_hash: config.config_hash(),
                seed: config.embeddings.seed,
                parent,
                tool_version: tool_version.to_owned(),
                training_seconds: started.elapsed().as_secs_f64(),
            },
            evaluation,
        };
        let version = draft.publish(about.clone())?;
        let promoted = options.promote && (options.force || !matches!(verdict, Verdict::Unfit(_)));
        if promoted {
            store.promote(version)?;
        }
        let deleted = store.prune(config.training.keep_generations)?;
        let NewGeneration { model, lineage, evaluation, .. } = about;
        Ok(Trained { version, model, lineage, evaluation, verdict, promoted, deleted })
    })
}

/// Fits on the events before the cutoff, measures on those after it, and stores nothing.
///
/// # Errors
/// [`TrainingError`]
pub fn evaluate(config: &Config, report: Report<'_>) -> Result<Evaluated, TrainingError> {
    on_threads(config, || {
        let data = read(config, report)?;
        let held = hold_out(config, &data, report)?;
        Ok(Evaluated { model: shape(config, held.rank, &data), events: data.len() as u64, evaluation: held.evaluation })
    })
}

fn on_threads<T: Send>(
    config: &Config,
    work: impl FnOnce() -> Result<T, TrainingError> + Send,
) -> Result<T, TrainingError> {
    let threads = config.training.threads;
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
    pool.map_err(|error| ModelError::Threads { threads, reason: error.to_string() })?.install(work)
}

fn read(config: &Config, report: Report<'_>) -> Result<Dataset, TrainingError> {
    let log = LogReader::open(config.storage.log_dir())?;
    let data = Dataset::read(log.read_from(Position(0)), log.end()?.0, &config.events, report)?;
    if data.is_empty() {
        let types: Vec<&str> = config.events.iter().map(|(name, _)| name).collect();
        return Err(TrainingError::NoPositiveEvents { records: data.log_position().0, types: types.join(", ") });
    }
    Ok(data)
}

struct HeldOut {
    rank: usize,
    evaluation: Evaluation,
    iterations: usize,
}

fn hold_out(config: &Config, data: &Dataset, report: Report<'_>) -> Result<HeldOut, TrainingError> {
    let embeddings = &config.embeddings;
    let (holdout, k) = (config.training.holdout, config.training.metrics_at);
    if holdout <= 0.0 {
        return Err(TrainingError::NothingToHoldOut { events: data.len(), reason: "training.holdout is 0" });
    }
    let split = TimeSplit::new(data, holdout, config.recommend.exclude_seen.into(), MEASURED_USERS, embeddings.seed)?;
    let iterations = stopping::iterations(config, data, Some(split.cutoff), report)?;
    let learned = data.interactions(|event| event.time < split.cutoff)?;
    let model = fit(embeddings, iterations, Fit::Holdout, &learned, report)?;
    let history_length = config.recommend.history_length;
    proceed(Step::Measuring { users: split.users.len() }, report)?;
    let by_model = measuring::rank_by_model(&model, &learned, &split.users, history_length, k)?;
    let by_popularity = measuring::rank_by_popularity(&learned, &split.users, k);
    let summarize = |rankings| measuring::summarize(rankings, &split.users, &learned, &model.item_factors, k);
    let evaluation = Evaluation {
        holdout,
        cutoff: split.cutoff,
        users: split.users.len(),
        model: summarize(&by_model),
        popularity: summarize(&by_popularity),
    };
    Ok(HeldOut { rank: model.item_factors.cols(), evaluation, iterations })
}

/// Fits the model that the settings ask for.
fn fit(
    embeddings: &EmbeddingsConfig,
    iterations: usize,
    fit: Fit,
    data: &Interactions,
    report: Report<'_>,
) -> Result<Factorization, TrainingError> {
    let mut cancelled = false;
    let model = settings::factorizer(embeddings, iterations).fit(data, &mut |progress| {
        let done = 2 * (progress.iteration - 1) + if progress.solved == Side::User { 2 } else { 1 };
        let flow = report(Step::Fitting { fit, done, of: 2 * progress.iterations });
        cancelled |= flow.is_break();
        flow
    })?;
    if cancelled { Err(TrainingError::Cancelled) } else { Ok(model) }
}

fn proceed(step: Step, report: Report<'_>) -> Result<(), TrainingError> {
    if report(step).is_break() { Err(TrainingError::Cancelled) } else { Ok(()) }
}

/// A factoriser may find fewer directions than were asked for; `rank` is what it found.
fn shape(config: &Config, rank: usize, data: &Dataset) -> ModelInfo {
    ModelInfo {
        kind: settings::kind(&config.embeddings).to_owned(),
        rank,
        users: data.users().len(),
        items: data.items().len(),
    }
}

fn texts(ids: &Ids) -> impl ExactSizeIterator<Item = &str> + Clone {
    ids.iter().map(|id| &**id)
}

fn write_matrix(path: &std::path::Path, matrix: &Matrix) -> Result<(), TrainingError> {
    let mut out = std::io::BufWriter::with_capacity(1 << 20, fs::File::create(path)?);
    matrix.write_to(&mut out)?;
    Ok(out.flush()?)
}
