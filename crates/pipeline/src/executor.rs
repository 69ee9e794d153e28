//! A pipeline: its waves as declared, and running them over one query. What surrounds a single stage is in `slot`; here is what a wave does
//! with the results of its stages, and what a failure does to the batch.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::FutureExt;

use crate::slot::{Budget, End, Ended, Hook, Slot, Started, run_wave};
use crate::stage::{
    AsyncHydrator, AsyncSource, Batch, Filter, Hydrator, OnFailure, Patch, Presence, Scorer, Selector, Source, Verdict,
};
use crate::{StageError, StageKind, StageStatus, StageTrace, Trace, rank};

/// Puts what a hydrator found into the batch.
type Apply<B> = Box<dyn FnOnce(&mut B, Vec<Presence>) + Send>;

/// A patch and its way into the batch.
struct Hydration<B> {
    presence: Vec<Presence>,
    apply: Apply<B>,
}

enum Wave<Q, B> {
    Sources(Vec<Slot<Q, B, B>>),
    Hydrators(Vec<Slot<Q, B, Hydration<B>>>),
    Filters(Vec<Slot<Q, B, Vec<Verdict>>>),
    Scorer(Slot<Q, B, Vec<f32>>),
    Selector(Slot<Q, B, Vec<u32>>),
}

/// Stages in waves, ready to run over any number of queries at once.
pub struct Pipeline<Q, B> {
    waves: Vec<Wave<Q, B>>,
}

/// What a run gives: the candidates that are left, in order, and what happened.
#[derive(Debug)]
pub struct Outcome<B> {
    /// The candidates.
    pub batch: B,
    /// One entry per declared stage.
    pub trace: Trace,
}

/// The sources of one wave.
pub struct Sources<Q, B>(Vec<Slot<Q, B, B>>);

/// The hydrators of one wave.
pub struct Hydrators<Q, B>(Vec<Slot<Q, B, Hydration<B>>>);

/// The filters of one wave.
pub struct Filters<Q, B>(Vec<Slot<Q, B, Vec<Verdict>>>);

impl<Q: Sync, B: Batch + 'static> Sources<Q, B> {
    /// Adds a source.
    #[must_use]
    pub fn with<S: Source<Q, B> + 'static>(mut self, source: S) -> Self {
        let hook: Hook<Q, B, B> = Box::new(move |q, b, context| Started::Now(source.fetch(q, b, &context)));
        let mut slot = Slot::new(S::NAME, StageKind::Source, S::ON_FAILURE, false, hook);
        slot.even_late |= S::EVEN_LATE;
        self.0.push(slot);
        self
    }

    /// Adds an asynchronous source.
    #[must_use]
    pub fn with_async<S: AsyncSource<Q, B> + 'static>(mut self, source: S) -> Self {
        let source = Arc::new(source);
        let hook: Hook<Q, B, B> = Box::new(move |q, b, context| {
            let source = Arc::clone(&source);
            Started::Later(Box::pin(async move { source.fetch(q, b, &context).await }))
        });
        self.0.push(Slot::new(S::NAME, StageKind::Source, S::ON_FAILURE, true, hook));
        self
    }
}

impl<Q: Sync, B: Batch + 'static> Hydrators<Q, B> {
    /// Adds a hydrator.
    #[must_use]
    pub fn with<H: Hydrator<Q, B, Columns: 'static> + 'static>(mut self, hydrator: H) -> Self {
        let hydrator = Arc::new(hydrator);
        let hook: Hook<Q, B, Hydration<B>> = Box::new(move |q, b, context| {
            let owner = Arc::clone(&hydrator);
            Started::Now(hydrator.hydrate(q, b, &context).map(|Patch { columns, presence }| Hydration {
                presence,
                apply: Box::new(move |batch, presence| owner.apply(batch, Patch { columns, presence })),
            }))
        });
        let mut slot = Slot::new(H::NAME, StageKind::Hydrator, H::ON_FAILURE, false, hook);
        slot.even_late |= H::EVEN_LATE;
        self.0.push(slot);
        self
    }

    /// Adds an asynchronous hydrator.
    #[must_use]
    pub fn with_async<H: AsyncHydrator<Q, B, Columns: 'static> + 'static>(mut self, hydrator: H) -> Self {
        let hydrator = Arc::new(hydrator);
        let hook: Hook<Q, B, Hydration<B>> = Box::new(move |q, b, context| {
            let owner = Arc::clone(&hydrator);
            Started::Later(Box::pin(async move {
                let Patch { columns, presence } = owner.hydrate(q, b, &context).await?;
                let apply = move |batch: &mut B, presence| owner.apply(batch, Patch { columns, presence });
                Ok(Hydration { presence, apply: Box::new(apply) })
            }))
        });
        self.0.push(Slot::new(H::NAME, StageKind::Hydrator, H::ON_FAILURE, true, hook));
        self
    }
}

impl<Q: Sync, B: Batch + 'static> Filters<Q, B> {
    /// Adds a filter.
    #[must_use]
    pub fn with<F: Filter<Q, B> + 'static>(mut self, filter: F) -> Self {
        let hook: Hook<Q, B, Vec<Verdict>> = Box::new(move |q, b, context| Started::Now(filter.keep(q, b, &context)));
        self.0.push(Slot::new(F::NAME, StageKind::Filter, F::ON_FAILURE, false, hook));
        self
    }
}

impl<Q: Sync, B: Batch + 'static> Default for Pipeline<Q, B> {
    fn default() -> Self {
        Self::new()
    }
}

impl<Q: Sync, B: Batch + 'static> Pipeline<Q, B> {
    /// No waves yet; the methods below add one each, in the order they are called.
    pub fn new() -> Self {
        Self { waves: Vec::new() }
    }

    /// Adds a wave of sources.
    #[must_use]
    pub fn sources(mut self, declare: impl FnOnce(Sources<Q, B>) -> Sources<Q, B>) -> Self {
        self.waves.push(Wave::Sources(declare(Sources(Vec::new())).0));
        self
    }

    /// Adds a wave of hydrators.
    #[must_use]
    pub fn hydrators(mut self, declare: impl FnOnce(Hydrators<Q, B>) -> Hydrators<Q, B>) -> Self {
        self.waves.push(Wave::Hydrators(declare(Hydrators(Vec::new())).0));
        self
    }

    /// Adds a wave of filters.
    #[must_use]
    pub fn filters(mut self, declare: impl FnOnce(Filters<Q, B>) -> Filters<Q, B>) -> Self {
        self.waves.push(Wave::Filters(declare(Filters(Vec::new())).0));
        self
    }

    /// Adds a wave of one scorer.
    #[must_use]
    pub fn scorer<S: Scorer<Q, B> + 'static>(mut self, scorer: S) -> Self {
        let hook: Hook<Q, B, Vec<f32>> = Box::new(move |q, b, context| Started::Now(scorer.score(q, b, &context)));
        self.waves.push(Wave::Scorer(Slot::new(S::NAME, StageKind::Scorer, S::ON_FAILURE, false, hook)));
        self
    }

    /// Adds a wave of one selector.
    #[must_use]
    pub fn selector<S: Selector<Q, B> + 'static>(mut self, selector: S) -> Self {
        let hook: Hook<Q, B, Vec<u32>> = Box::new(move |q, b, context| Started::Now(selector.select(q, b, &context)));
        self.waves.push(Wave::Selector(Slot::new(S::NAME, StageKind::Selector, S::ON_FAILURE, false, hook)));
        self
    }

    /// Gives every stage of this name a deadline of its own, counted from its start. Whether there is one.
    pub fn set_deadline(&mut self, stage: &str, limit: Duration) -> bool {
        let mut found = false;
        for wave in &mut self.waves {
            found |= match wave {
                Wave::Sources(slots) => set_deadline(slots, stage, limit),
                Wave::Hydrators(slots) => set_deadline(slots, stage, limit),
                Wave::Filters(slots) => set_deadline(slots, stage, limit),
                Wave::Scorer(slot) => set_deadline(std::slice::from_mut(slot), stage, limit),
                Wave::Selector(slot) => set_deadline(std::slice::from_mut(slot), stage, limit),
            };
        }
        found
    }

    /// The names of all stages, in order.
    pub fn stages(&self) -> Vec<&'static str> {
        let names = |wave: &Wave<Q, B>| match wave {
            Wave::Sources(slots) => slots.iter().map(|slot| slot.name).collect(),
            Wave::Hydrators(slots) => slots.iter().map(|slot| slot.name).collect(),
            Wave::Filters(slots) => slots.iter().map(|slot| slot.name).collect(),
            Wave::Scorer(slot) => vec![slot.name],
            Wave::Selector(slot) => vec![slot.name],
        };
        self.waves.iter().flat_map(names).collect()
    }

    /// Runs every wave over `query`, beginning with `batch` (usually empty). Never fails: what went wrong is in the trace, and what could not be
    /// checked is not in the batch.
    pub async fn run(&self, query: &Q, batch: B, budget: Duration) -> Outcome<B> {
        let budget = Budget { started: Instant::now(), total: budget };
        let mut run = Run { batch, trace: Trace::default(), wave: 0, closed: false };
        for (wave, stages) in self.waves.iter().enumerate() {
            run.wave = wave;
            match stages {
                Wave::Sources(slots) => run.sources(slots, query, budget).await,
                Wave::Hydrators(slots) => run.hydrators(slots, query, budget).await,
                Wave::Filters(slots) => run.filters(slots, query, budget).await,
                Wave::Scorer(slot) => run.scorer(slot, query, budget).await,
                Wave::Selector(slot) => run.selector(slot, query, budget).await,
            }
        }
        run.trace.finish(budget.started.elapsed(), budget.total);
        Outcome { batch: run.batch, trace: run.trace }
    }

    /// [`run`](Self::run) for callers that are not asynchronous. With synchronous stages alone it needs no runtime; with others it must be called
    /// inside one, on a thread that may block.
    pub fn run_blocking(&self, query: &Q, batch: B, budget: Duration) -> Outcome<B> {
        let mut run = std::pin::pin!(self.run(query, batch, budget));
        // Without an asynchronous stage the first poll is the last.
        match run.as_mut().now_or_never() {
            Some(outcome) => outcome,
            None => futures::executor::block_on(run),
        }
    }
}

/// One run under way.
struct Run<B> {
    batch: B,
    trace: Trace,
    wave: usize,
    /// A stage failed that fails closed: the batch stays empty from there on.
    closed: bool,
}

impl<B: Batch> Run<B> {
    async fn sources<Q: Sync>(&mut self, slots: &[Slot<Q, B, B>], query: &Q, budget: Budget) {
        let before = self.batch.len();
        for (slot, ended) in slots.iter().zip(run_wave(slots, query, &self.batch, budget).await) {
            if let Some(found) = self.settle(slot, ended, before, |found| (Ok(()), found.len()))
                && !self.closed
            {
                self.batch.append(slot.name, found);
            }
        }
    }

    async fn hydrators<Q: Sync>(&mut self, slots: &[Slot<Q, B, Hydration<B>>], query: &Q, budget: Budget) {
        let before = self.batch.len();
        for (slot, ended) in slots.iter().zip(run_wave(slots, query, &self.batch, budget).await) {
            let check = |hydration: &Hydration<B>| {
                let found = hydration.presence.iter().filter(|p| **p == Presence::Found).count();
                (same_length(before, hydration.presence.len()), found)
            };
            if let Some(hydration) = self.settle(slot, ended, before, check)
                && !self.closed
            {
                (hydration.apply)(&mut self.batch, hydration.presence);
            }
        }
    }

    async fn filters<Q: Sync>(&mut self, slots: &[Slot<Q, B, Vec<Verdict>>], query: &Q, budget: Budget) {
        let before = self.batch.len();
        let mut joined: Vec<(&'static str, Verdict)> = vec![("", Verdict::Keep); before];
        for (slot, ended) in slots.iter().zip(run_wave(slots, query, &self.batch, budget).await) {
            let check = |verdicts: &Vec<Verdict>| {
                let kept = verdicts.iter().filter(|v| **v == Verdict::Keep).count();
                (same_length(before, verdicts.len()), kept)
            };
            for (join, verdict) in joined.iter_mut().zip(self.settle(slot, ended, before, check).into_iter().flatten())
            {
                if join.1 == Verdict::Keep {
                    *join = (slot.name, verdict);
                }
            }
        }
        if !self.closed && joined.iter().any(|(_, verdict)| *verdict != Verdict::Keep) {
            self.batch.retain(&joined);
        }
    }

    async fn scorer<Q: Sync>(&mut self, slot: &Slot<Q, B, Vec<f32>>, query: &Q, budget: Budget) {
        let before = self.batch.len();
        for ended in run_wave(std::slice::from_ref(slot), query, &self.batch, budget).await {
            let check = |scores: &Vec<f32>| {
                (same_length(before, scores.len()), scores.iter().filter(|score| score.is_finite()).count())
            };
            if let Some(mut scores) = self.settle(slot, ended, before, check)
                && !self.closed
            {
                for (new, old) in scores.iter_mut().zip(self.batch.scores()) {
                    if !new.is_finite() {
                        *new = *old;
                    }
                }
                self.batch.set_scores(slot.name, scores);
            }
        }
    }

    async fn selector<Q: Sync>(&mut self, slot: &Slot<Q, B, Vec<u32>>, query: &Q, budget: Budget) {
        let before = self.batch.len();
        for ended in run_wave(std::slice::from_ref(slot), query, &self.batch, budget).await {
            let check = |positions: &Vec<u32>| (valid_selection(before, positions), positions.len());
            let chosen = self.settle(slot, ended, before, check);
            if self.closed {
                continue;
            }
            let positions = chosen.unwrap_or_else(|| rank(self.batch.scores(), self.batch.len(), |position| position));
            self.batch.select(slot.name, &positions);
        }
    }

    /// Checks a result, writes the trace, and empties the batch if a stage failed that fails closed. The value, if it may be used.
    fn settle<Q: Sync, T: Send>(
        &mut self,
        slot: &Slot<Q, B, T>,
        ended: Ended<T>,
        candidates_in: usize,
        check: impl FnOnce(&T) -> (Result<(), StageError>, usize),
    ) -> Option<T> {
        let (status, candidates_out, value) = match ended.end {
            End::Skipped => (StageStatus::Skipped, 0, None),
            End::Failed(error) => (StageStatus::Failed(error), 0, None),
            End::Done { value, late } => match check(&value) {
                (Ok(()), out) => (if late { StageStatus::Late } else { StageStatus::Ok }, out, Some(value)),
                (Err(error), _) => {
                    slot.count_failure();
                    (StageStatus::Failed(error), 0, None)
                }
            },
        };
        if value.is_none() && slot.on_failure == OnFailure::Closed {
            self.closed = true;
            self.batch.clear(slot.name);
        }
        self.trace.stages.push(StageTrace {
            stage: slot.name,
            kind: slot.kind,
            wave: self.wave,
            seconds: ended.elapsed.as_secs_f64(),
            candidates_in,
            candidates_out,
            status,
        });
        value
    }
}

fn set_deadline<Q, B, T>(slots: &mut [Slot<Q, B, T>], stage: &str, limit: Duration) -> bool {
    let named = slots.iter_mut().filter(|slot| slot.name == stage);
    named.map(|slot| slot.limit = Some(limit)).count() > 0
}

fn same_length(expected: usize, got: usize) -> Result<(), StageError> {
    if expected == got { Ok(()) } else { Err(StageError::Length { expected, got }) }
}

fn valid_selection(candidates: usize, positions: &[u32]) -> Result<(), StageError> {
    let mut free = vec![true; candidates];
    for &position in positions {
        match free.get_mut(position as usize) {
            Some(free) if *free => *free = false,
            _ => return Err(StageError::Selection { position, candidates }),
        }
    }
    Ok(())
}
