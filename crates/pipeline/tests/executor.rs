//! What the executor promises, with small stages over numbered candidates.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tastemaker_pipeline::{
    AsyncSource, Batch, Filter, Hydrator, OnFailure, Outcome, Patch, Pipeline, Presence, Scorer, Selector, Source,
    StageContext, StageError, StageStatus, Verdict,
};

#[derive(Debug, Default, Clone, PartialEq)]
struct Numbers {
    ids: Vec<u32>,
    scores: Vec<f32>,
    notes: Vec<&'static str>,
    dropped: Vec<(u32, &'static str, &'static str)>,
}

impl Numbers {
    fn of(ids: impl IntoIterator<Item = u32>) -> Self {
        let ids: Vec<u32> = ids.into_iter().collect();
        Self { scores: vec![0.0; ids.len()], notes: vec![""; ids.len()], ids, dropped: Vec::new() }
    }
}

impl Batch for Numbers {
    fn len(&self) -> usize {
        self.ids.len()
    }
    fn scores(&self) -> &[f32] {
        &self.scores
    }
    fn append(&mut self, _: &'static str, found: Self) {
        for id in found.ids {
            if !self.ids.contains(&id) {
                self.ids.push(id);
                self.scores.push(0.0);
                self.notes.push("");
            }
        }
    }
    fn set_scores(&mut self, _: &'static str, scores: Vec<f32>) {
        self.scores = scores;
    }
    fn retain(&mut self, verdicts: &[(&'static str, Verdict)]) {
        let kept: Vec<u32> = (0..self.ids.len() as u32).filter(|i| verdicts[*i as usize].1 == Verdict::Keep).collect();
        for (id, (filter, verdict)) in self.ids.iter().zip(verdicts) {
            if let Verdict::Drop(why) = verdict {
                self.dropped.push((*id, filter, why));
            }
        }
        self.select("", &kept);
    }
    fn select(&mut self, _: &'static str, positions: &[u32]) {
        self.ids = positions.iter().map(|p| self.ids[*p as usize]).collect();
        self.scores = positions.iter().map(|p| self.scores[*p as usize]).collect();
        self.notes = positions.iter().map(|p| self.notes[*p as usize]).collect();
    }
    fn clear(&mut self, _: &'static str) {
        self.select("", &[]);
    }
}

/// The query is a list of ids to find.
struct Given;
impl Source<Vec<u32>, Numbers> for Given {
    const NAME: &'static str = "given";
    fn fetch(&self, query: &Vec<u32>, _: &Numbers, _: &StageContext) -> Result<Numbers, StageError> {
        Ok(Numbers::of(query.iter().copied()))
    }
}

struct Fails;
impl Source<Vec<u32>, Numbers> for Fails {
    const NAME: &'static str = "fails";
    fn fetch(&self, _: &Vec<u32>, _: &Numbers, _: &StageContext) -> Result<Numbers, StageError> {
        Err(StageError::failed(std::io::Error::other("the shelf is empty")))
    }
}

struct Panics;
impl Source<Vec<u32>, Numbers> for Panics {
    const NAME: &'static str = "panics";
    fn fetch(&self, _: &Vec<u32>, _: &Numbers, _: &StageContext) -> Result<Numbers, StageError> {
        panic!("out of shelves")
    }
}

/// Adds one more than everything so far.
struct Successors;
impl Source<Vec<u32>, Numbers> for Successors {
    const NAME: &'static str = "successors";
    fn fetch(&self, _: &Vec<u32>, so_far: &Numbers, _: &StageContext) -> Result<Numbers, StageError> {
        Ok(Numbers::of(so_far.ids.iter().map(|id| id + 1)))
    }
}

struct Sleeps(Duration);
impl AsyncSource<Vec<u32>, Numbers> for Sleeps {
    const NAME: &'static str = "sleeps";
    async fn fetch(&self, _: &Vec<u32>, _: &Numbers, _: &StageContext) -> Result<Numbers, StageError> {
        tokio::time::sleep(self.0).await;
        Ok(Numbers::of([77]))
    }
}

/// Computes for this long, whatever the deadline.
struct Busy(Duration);
impl Source<Vec<u32>, Numbers> for Busy {
    const NAME: &'static str = "busy";
    fn fetch(&self, _: &Vec<u32>, _: &Numbers, _: &StageContext) -> Result<Numbers, StageError> {
        std::thread::sleep(self.0);
        Ok(Numbers::of([88]))
    }
}

/// Runs whatever the clock says.
struct StandIn;
impl Source<Vec<u32>, Numbers> for StandIn {
    const NAME: &'static str = "stand_in";
    const EVEN_LATE: bool = true;
    fn fetch(&self, _: &Vec<u32>, so_far: &Numbers, _: &StageContext) -> Result<Numbers, StageError> {
        Ok(Numbers::of((so_far.len() == 0).then_some(55)))
    }
}

struct Even;
impl Filter<Vec<u32>, Numbers> for Even {
    const NAME: &'static str = "even";
    const ON_FAILURE: OnFailure = OnFailure::Closed;
    fn keep(&self, _: &Vec<u32>, batch: &Numbers, _: &StageContext) -> Result<Vec<Verdict>, StageError> {
        Ok(batch.ids.iter().map(|id| if id % 2 == 0 { Verdict::Keep } else { Verdict::Drop("odd") }).collect())
    }
}

struct Below(u32);
impl Filter<Vec<u32>, Numbers> for Below {
    const NAME: &'static str = "below";
    const ON_FAILURE: OnFailure = OnFailure::Open;
    fn keep(&self, _: &Vec<u32>, batch: &Numbers, _: &StageContext) -> Result<Vec<Verdict>, StageError> {
        Ok(batch.ids.iter().map(|id| if *id < self.0 { Verdict::Keep } else { Verdict::Drop("large") }).collect())
    }
}

/// Returns one verdict too few.
struct Short<const CLOSED: bool>;
impl<const CLOSED: bool> Filter<Vec<u32>, Numbers> for Short<CLOSED> {
    const NAME: &'static str = "short";
    const ON_FAILURE: OnFailure = if CLOSED { OnFailure::Closed } else { OnFailure::Open };
    fn keep(&self, _: &Vec<u32>, batch: &Numbers, _: &StageContext) -> Result<Vec<Verdict>, StageError> {
        Ok(vec![Verdict::Keep; batch.len().saturating_sub(1)])
    }
}

struct Noted<const EVEN_LATE: bool = false>;
impl<const EVEN_LATE: bool> Hydrator<Vec<u32>, Numbers> for Noted<EVEN_LATE> {
    const NAME: &'static str = "noted";
    const ON_FAILURE: OnFailure = OnFailure::Open;
    const EVEN_LATE: bool = EVEN_LATE;
    type Columns = Vec<&'static str>;
    fn hydrate(&self, _: &Vec<u32>, batch: &Numbers, _: &StageContext) -> Result<Patch<Self::Columns>, StageError> {
        let presence = batch.ids.iter().map(|id| match id % 3 {
            0 => Presence::Found,
            1 => Presence::Missing,
            _ => Presence::Failed,
        });
        Ok(Patch { columns: vec!["fizz"; batch.len()], presence: presence.collect() })
    }
    fn apply(&self, batch: &mut Numbers, patch: Patch<Self::Columns>) {
        batch.notes = patch
            .columns
            .into_iter()
            .zip(patch.presence)
            .map(|(note, presence)| if presence == Presence::Found { note } else { "" })
            .collect();
    }
}

/// Scores each candidate with this function of its id.
struct Score(fn(u32) -> f32);
impl Scorer<Vec<u32>, Numbers> for Score {
    const NAME: &'static str = "score";
    fn score(&self, _: &Vec<u32>, batch: &Numbers, _: &StageContext) -> Result<Vec<f32>, StageError> {
        Ok(batch.ids.iter().map(|id| (self.0)(*id)).collect())
    }
}

struct Pick(Vec<u32>);
impl Selector<Vec<u32>, Numbers> for Pick {
    const NAME: &'static str = "pick";
    fn select(&self, _: &Vec<u32>, _: &Numbers, _: &StageContext) -> Result<Vec<u32>, StageError> {
        Ok(self.0.clone())
    }
}

fn run(pipeline: &Pipeline<Vec<u32>, Numbers>, ids: &[u32]) -> Outcome<Numbers> {
    pipeline.run_blocking(&ids.to_vec(), Numbers::default(), Duration::from_secs(5))
}

fn missing(outcome: &Outcome<Numbers>) -> Vec<(&'static str, &'static str)> {
    outcome.trace.missing().collect()
}

#[test]
fn stages_of_one_wave_do_not_see_each_other_and_the_next_wave_sees_all() {
    let together = Pipeline::new().sources(|wave| wave.with(Given).with(Successors));
    assert_eq!(run(&together, &[10, 20]).batch.ids, [10, 20]);
    let apart = Pipeline::new().sources(|wave| wave.with(Given)).sources(|wave| wave.with(Successors));
    assert_eq!(run(&apart, &[10, 20]).batch.ids, [10, 20, 11, 21]);
}

#[test]
fn a_failing_or_panicking_source_is_left_out_and_named() {
    let pipeline = Pipeline::new().sources(|wave| wave.with(Fails).with(Panics).with(Given));
    let outcome = run(&pipeline, &[1, 2]);
    assert_eq!(outcome.batch.ids, [1, 2]);
    assert_eq!(missing(&outcome), [("fails", "error"), ("panics", "panic")]);
    let StageStatus::Failed(error) = &outcome.trace.stage("panics").unwrap().status else { panic!("must have failed") };
    assert!(error.to_string().contains("out of shelves"), "{error}");
}

#[test]
fn a_candidate_is_dropped_by_the_first_filter_that_says_so() {
    let pipeline = Pipeline::new().sources(|wave| wave.with(Given)).filters(|wave| wave.with(Even).with(Below(10)));
    let outcome = run(&pipeline, &[1, 2, 11, 12, 4]);
    assert_eq!(outcome.batch.ids, [2, 4]);
    assert_eq!(outcome.batch.dropped, [(1, "even", "odd"), (11, "even", "odd"), (12, "below", "large")]);
    let below = outcome.trace.stage("below").unwrap();
    assert_eq!((below.candidates_in, below.candidates_out), (5, 3));
}

#[test]
fn a_filter_of_the_wrong_length_degrades_if_open_and_empties_if_closed() {
    let open = Pipeline::new().sources(|wave| wave.with(Given)).filters(|wave| wave.with(Short::<false>).with(Even));
    let outcome = run(&open, &[1, 2, 3]);
    assert_eq!(outcome.batch.ids, [2]);
    assert_eq!(missing(&outcome), [("short", "invalid")]);

    let closed = Pipeline::new()
        .sources(|wave| wave.with(Given))
        .filters(|wave| wave.with(Short::<true>).with(Even))
        .sources(|wave| wave.with(Given))
        .scorer(Score(|_| 1.0))
        .selector(Pick(vec![]));
    let outcome = run(&closed, &[1, 2, 3]);
    assert_eq!(outcome.batch.ids, [0u32; 0], "a later source must not bring unchecked candidates back");
    assert_eq!(missing(&outcome), [("short", "invalid")]);
}

#[test]
fn a_score_that_is_not_finite_leaves_the_old_one() {
    let first = Score(|id| id as f32);
    let second = Score(|id| match id {
        1 => f32::NAN,
        2 => f32::INFINITY,
        _ => 0.5,
    });
    let pipeline = Pipeline::new().sources(|wave| wave.with(Given)).scorer(first).scorer(second);
    let outcome = run(&pipeline, &[1, 2, 3]);
    assert_eq!(outcome.batch.scores, [1.0, 2.0, 0.5]);
    let finite: Vec<usize> = outcome.trace.stages.iter().skip(1).map(|stage| stage.candidates_out).collect();
    assert_eq!(finite, [3, 1]);
}

#[test]
fn data_that_is_missing_or_failed_is_told_apart_from_data() {
    let pipeline = Pipeline::new().sources(|wave| wave.with(Given)).hydrators(|wave| wave.with(Noted::<false>));
    let outcome = run(&pipeline, &[3, 4, 5, 6]);
    assert_eq!(outcome.batch.notes, ["fizz", "", "", "fizz"]);
    assert_eq!(outcome.trace.stage("noted").unwrap().candidates_out, 2);
}

#[test]
fn a_selection_that_is_no_selection_falls_back_to_the_order_of_scores() {
    for bad in [vec![0, 0], vec![3], vec![0, 1, u32::MAX]] {
        let pipeline =
            Pipeline::new().sources(|wave| wave.with(Given)).scorer(Score(|id| id as f32)).selector(Pick(bad));
        let outcome = run(&pipeline, &[5, 9, 7]);
        assert_eq!(outcome.batch.ids, [9, 7, 5]);
        assert_eq!(missing(&outcome), [("pick", "invalid")]);
    }
    let good = Pipeline::new().sources(|wave| wave.with(Given)).selector(Pick(vec![2, 0]));
    assert_eq!(run(&good, &[5, 9, 7]).batch.ids, [7, 5]);
}

#[test]
fn a_spent_budget_skips_what_fails_open_and_never_what_fails_closed() {
    let pipeline = Pipeline::new()
        .sources(|wave| wave.with(Given).with(Busy(Duration::from_millis(30))).with(Fails))
        .filters(|wave| wave.with(Even).with(Below(3)))
        .scorer(Score(|_| 9.0));
    let outcome = pipeline.run_blocking(&vec![1, 2, 4], Numbers::default(), Duration::from_millis(10));
    assert_eq!(outcome.batch.ids, [2, 4, 88], "the late source is used, the closed filter ran, the open one did not");
    assert!(matches!(outcome.trace.stage("busy").unwrap().status, StageStatus::Late));
    assert_eq!(missing(&outcome), [("fails", "budget"), ("below", "budget"), ("score", "budget")]);
}

#[test]
fn a_source_that_stands_in_for_the_others_runs_even_late() {
    let pipeline = Pipeline::new().sources(|wave| wave.with(Given)).sources(|wave| wave.with(StandIn));
    let outcome = pipeline.run_blocking(&vec![1], Numbers::default(), Duration::ZERO);
    assert_eq!(outcome.batch.ids, [55]);
    assert_eq!(missing(&outcome), [("given", "budget")]);
}

#[test]
fn a_hydrator_that_a_closed_filter_needs_runs_even_late() {
    let run = |pipeline: Pipeline<Vec<u32>, Numbers>| {
        let outcome = pipeline.run_blocking(&vec![], Numbers::of([3, 4]), Duration::ZERO);
        (outcome.batch.notes.clone(), missing(&outcome))
    };
    assert_eq!(run(Pipeline::new().hydrators(|wave| wave.with(Noted::<true>))), (vec!["fizz", ""], vec![]));
    assert_eq!(run(Pipeline::new().hydrators(|wave| wave.with(Noted::<false>))).1, [("noted", "budget")]);
}

#[test]
fn an_asynchronous_stage_is_cut_off_at_its_deadline_while_others_finish() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let mut pipeline = Pipeline::new().sources(|wave| wave.with(Given).with_async(Sleeps(Duration::from_secs(60))));
    assert_eq!(pipeline.stages(), ["given", "sleeps"]);
    assert!(pipeline.set_deadline("sleeps", Duration::from_millis(20)));
    assert!(!pipeline.set_deadline("sleep", Duration::from_millis(20)));
    let started = Instant::now();
    let outcome = runtime.block_on(pipeline.run(&vec![1], Numbers::default(), Duration::from_secs(10)));
    assert!(started.elapsed() < Duration::from_secs(5));
    assert_eq!(outcome.batch.ids, [1]);
    assert_eq!(missing(&outcome), [("sleeps", "deadline")]);
}

#[test]
fn asynchronous_stages_wait_while_synchronous_ones_compute() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_time().build().unwrap();
    let pipeline = Pipeline::new().sources(|wave| {
        wave.with(Busy(Duration::from_millis(200)))
            .with_async(Sleeps(Duration::from_millis(200)))
            .with_async(Sleeps(Duration::from_millis(200)))
    });
    let started = Instant::now();
    let outcome = runtime.block_on(pipeline.run(&vec![], Numbers::default(), Duration::from_secs(60)));
    assert_eq!(outcome.batch.ids, [88, 77], "in the order of declaration, whichever was first");
    assert!(started.elapsed() < Duration::from_millis(550), "one after the other would take 600 ms");
    assert!(missing(&outcome).is_empty());
}

#[test]
fn an_asynchronous_stage_runs_from_a_blocking_caller_and_needs_a_runtime() {
    let pipeline = Pipeline::new().sources(|wave| wave.with(Given).with_async(Sleeps(Duration::from_millis(5))));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_time().build().unwrap();
    let guard = runtime.enter();
    assert_eq!(run(&pipeline, &[1]).batch.ids, [1, 77]);
    drop(guard);
    let outcome = run(&pipeline, &[1]);
    assert_eq!(outcome.batch.ids, [1]);
    assert_eq!(missing(&outcome), [("sleeps", "panic")]);
}

#[test]
fn stages_are_counted_and_timed_under_their_names() {
    let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
    let page = metrics::with_local_recorder(&recorder, || {
        run(
            &Pipeline::new().sources(|wave| wave.with(Given).with(Fails)).filters(|wave| wave.with(Short::<false>)),
            &[1],
        );
        recorder.handle().render()
    });
    for line in [
        "tastemaker_stage_duration_seconds_count{stage=\"given\"} 1",
        "tastemaker_stage_failures_total{stage=\"fails\"} 1",
        "tastemaker_stage_failures_total{stage=\"short\"} 1",
    ] {
        assert!(page.contains(line), "{line} is not in\n{page}");
    }
}

#[test]
fn one_pipeline_serves_many_threads() {
    let pipeline = Pipeline::new().sources(|wave| wave.with(Given)).filters(|wave| wave.with(Even));
    let served = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for thread in 0..4u32 {
            let (pipeline, served) = (&pipeline, &served);
            scope.spawn(move || {
                for n in 0..200 {
                    let id = thread * 1_000 + n * 2;
                    assert_eq!(run(pipeline, &[id, id + 1]).batch.ids, [id]);
                    served.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    assert_eq!(served.into_inner(), 800);
}
