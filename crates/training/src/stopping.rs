//! How many iterations to run: as many as the settings say, or, with `embeddings.early_stop_patience`, as many as did best
//! on the latest events of each user.

use std::ops::ControlFlow;

use tastemaker_config::Config;
use tastemaker_models::metrics::recall_at_k;
use tastemaker_models::{EarlyStopping, Factors, Interactions, Matrix, ModelError, Side, top_items};
use tastemaker_types::Timestamp;

use crate::{Dataset, Fit, Repeats, Step, TestUser, TrainingError, settings};

/// The most users that are watched while fitting.
const WATCHED_USERS: usize = 2_000;

/// The number of iterations to fit with. Events from `cutoff` on are not looked at.
pub(crate) fn iterations(
    config: &Config,
    data: &Dataset,
    cutoff: Option<Timestamp>,
    report: &mut (dyn FnMut(Step) -> ControlFlow<()> + Send),
) -> Result<usize, TrainingError> {
    let embeddings = &config.embeddings;
    if embeddings.early_stop_patience == 0 {
        return Ok(embeddings.iterations);
    }
    let watch = Watch::new(data, cutoff, embeddings.validation_fraction, config.recommend.exclude_seen.into())?;
    if watch.users.is_empty() {
        return Ok(embeddings.iterations);
    }
    let k = config.training.metrics_at;
    let mut stopping = EarlyStopping::new(embeddings.early_stop_patience, 0.0);
    let mut cancelled = false;
    let mut failed = None;
    settings::factorizer(embeddings, embeddings.iterations).fit(&watch.learned, &mut |progress| {
        let ended = progress.solved == Side::User;
        let done = 2 * (progress.iteration - 1) + if ended { 2 } else { 1 };
        if report(Step::Fitting { fit: Fit::Stopping, done, of: 2 * progress.iterations }).is_break() {
            cancelled = true;
            return ControlFlow::Break(());
        }
        // A model without factors before it is done cannot be watched, and runs to its end.
        let Some(factors) = progress.factors.filter(|_| ended) else {
            return ControlFlow::Continue(());
        };
        match watch.recall(factors, k) {
            Ok(recall) => stopping.observe(progress.iteration, recall),
            Err(error) => {
                failed = Some(error);
                ControlFlow::Break(())
            }
        }
    })?;
    if let Some(error) = failed {
        return Err(error.into());
    }
    match stopping.best() {
        _ if cancelled => Err(TrainingError::Cancelled),
        Some((iteration, _)) => Ok(iteration),
        None => Ok(embeddings.iterations),
    }
}

/// What the fit learns from, and the later events of some users that it is watched on.
struct Watch {
    learned: Interactions,
    users: Vec<TestUser>,
}

impl Watch {
    fn new(data: &Dataset, cutoff: Option<Timestamp>, fraction: f64, repeats: Repeats) -> Result<Self, TrainingError> {
        let mut order: Vec<(u32, i64, u32, f32)> = data
            .events()
            .filter(|event| cutoff.is_none_or(|cutoff| event.time < cutoff))
            .map(|event| (event.user, event.time.as_micros(), event.item, event.weight))
            .collect();
        // Stable: events of one user at one time stay in the order of the log.
        order.sort_by_key(|(user, time, ..)| (*user, *time));
        let runs: Vec<&[(u32, i64, u32, f32)]> = order.chunk_by(|a, b| a.0 == b.0).collect();
        let every = runs.len().div_ceil(WATCHED_USERS).max(1);
        let mut users = Vec::new();
        let mut learned = Vec::with_capacity(order.len());
        for (at, run) in runs.into_iter().enumerate() {
            let held = if at % every == 0 { (run.len() as f64 * fraction).round() as usize } else { 0 };
            let (history, later) = run.split_at(run.len() - held.min(run.len() - 1));
            learned.extend(history.iter().map(|(user, _, item, weight)| (*user, *item, *weight)));
            let history = history.iter().map(|(_, _, item, weight)| (*item, *weight)).collect();
            let user = TestUser::new(run[0].0, history, later.iter().map(|(_, _, item, _)| *item).collect(), repeats);
            if !user.relevant.is_empty() {
                users.push(user);
            }
        }
        let learned = Interactions::from_triplets(data.users().len(), data.items().len(), learned)?;
        Ok(Self { learned, users })
    }

    /// The mean recall over the watched users, by the vectors that training itself has made.
    fn recall(&self, factors: Factors<'_>, k: usize) -> Result<f64, ModelError> {
        let rows: Vec<f32> =
            self.users.iter().flat_map(|user| factors.users.row(user.user as usize)).copied().collect();
        let vectors = Matrix::from_vec(self.users.len(), factors.users.cols(), rows)?;
        let rankings = top_items(&vectors, factors.items, |user| &self.users[user].excluded, k)?;
        let recalls = rankings.iter().zip(&self.users).map(|(ranking, user)| recall_at_k(ranking, &user.relevant, k));
        Ok(recalls.sum::<f64>() / self.users.len() as f64)
    }
}
