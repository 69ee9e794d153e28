//! Fits one model to the Gowalla check-ins (LightGCN split) and prints recall@20 and ndcg@20 with the time it took.
//!
//! `TASTEMAKER_DATA=… cargo run --release -p tastemaker-models --example gowalla -- model=als rank=64 iterations=4`
//!
//! Arguments are `key=value`: `model` (als, svd), `rank`, `iterations`, `alpha` (unobserved weight), `lambda`, `nu`,
//! `q` (item exponent of the SVD), `oversampling`, `seed`, `threads`, `solver` (auto, exact, primal, dual, blocks),
//! `init` (length of the starting vectors),
//! `split` (`test`, or `holdout`: a fifth of each user's training items is held out, for tuning), `evaluate` (`end`,
//! or `every` iteration), `sample` (every n-th user is evaluated, for tuning), `json` (`true`: one JSON object a line). Times leave out loading and evaluation.

#![allow(clippy::print_stdout, reason = "an example prints")]

use std::collections::BTreeMap;
use std::error::Error;
use std::io::{BufRead, BufReader};
use std::ops::ControlFlow;
use std::path::Path;
use std::time::Instant;

use flate2::read::GzDecoder;
use tastemaker_models::metrics::{ItemFacts, evaluate_rankings};
use tastemaker_models::{Als, Factorizer, Interactions, Matrix, NormalizedSvd, Progress, Side, Solver, top_items};

type Settings = BTreeMap<String, String>;

fn main() -> Result<(), Box<dyn Error>> {
    let mut settings: Settings = BTreeMap::new();
    for argument in std::env::args().skip(1) {
        let (key, value) = argument.split_once('=').ok_or_else(|| format!("`{argument}` is not key=value"))?;
        settings.insert(key.to_owned(), value.to_owned());
    }
    let Some(data) = std::env::var_os("TASTEMAKER_DATA") else {
        println!("TASTEMAKER_DATA is not set; nothing to measure");
        return Ok(());
    };
    let folder = Path::new(&data).join("gowalla");
    let mut train = read_lists(&folder.join("train.txt.gz"))?;
    let mut relevant = read_lists(&folder.join("test.txt.gz"))?;
    let items = train.iter().chain(&relevant).flatten().max().map_or(0, |item| *item as usize + 1);
    relevant.resize(train.len(), Vec::new());
    if take(&mut settings, "split", "test".to_owned())? == "holdout" {
        relevant = hold_out(&mut train);
    }
    let sample = take(&mut settings, "sample", 1usize)?.max(1);
    relevant.iter_mut().enumerate().for_each(|(u, list)| list.retain(|_| u.is_multiple_of(sample)));
    let triplets = train.iter().enumerate().flat_map(|(u, list)| list.iter().map(move |i| (u as u32, *i, 1.0)));
    let data = Interactions::from_triplets(train.len(), items, triplets)?;
    let bench = Bench { data, relevant, json: take(&mut settings, "json", false)? };

    let threads = take(&mut settings, "threads", 0)?;
    let seed = take(&mut settings, "seed", 1)?;
    let every = take(&mut settings, "evaluate", "end".to_owned())? == "every";
    let model: Box<dyn Factorizer> = match take(&mut settings, "model", "als".to_owned())?.as_str() {
        "als" => Box::new(als(&mut settings, threads, seed)?),
        "svd" => Box::new(svd(&mut settings, threads, seed)?),
        other => return Err(format!("model={other}: als or svd").into()),
    };
    if let Some(unknown) = settings.keys().next() {
        return Err(format!("unknown setting `{unknown}`").into());
    }
    bench.run(model.as_ref(), every)
}

fn als(settings: &mut Settings, threads: usize, seed: u64) -> Result<Als, Box<dyn Error>> {
    let default = Als::default();
    Ok(Als {
        rank: take(settings, "rank", default.rank)?,
        iterations: take(settings, "iterations", default.iterations)?,
        unobserved_weight: take(settings, "alpha", default.unobserved_weight)?,
        regularization: take(settings, "lambda", default.regularization)?,
        regularization_exponent: take(settings, "nu", default.regularization_exponent)?,
        init_scale: take(settings, "init", default.init_scale)?,
        solver: match take(settings, "solver", "auto".to_owned())?.as_str() {
            "auto" => Solver::Auto,
            "exact" => Solver::Exact,
            "primal" => Solver::Primal,
            "dual" => Solver::Dual,
            "blocks" => Solver::Blocks,
            other => return Err(format!("solver={other}").into()),
        },
        seed,
        threads,
    })
}

fn svd(settings: &mut Settings, threads: usize, seed: u64) -> Result<NormalizedSvd, Box<dyn Error>> {
    let default = NormalizedSvd::default();
    Ok(NormalizedSvd {
        rank: take(settings, "rank", default.rank)?,
        iterations: take(settings, "iterations", default.iterations)?,
        item_exponent: take(settings, "q", default.item_exponent)?,
        oversampling: take(settings, "oversampling", default.oversampling)?,
        seed,
        threads,
    })
}

fn take<T: std::str::FromStr>(settings: &mut Settings, key: &str, default: T) -> Result<T, Box<dyn Error>> {
    match settings.remove(key) {
        None => Ok(default),
        Some(value) => value.parse().map_err(|_| format!("{key}={value} cannot be read").into()),
    }
}

struct Bench {
    data: Interactions,
    relevant: Vec<Vec<u32>>,
    json: bool,
}

impl Bench {
    fn run(&self, model: &dyn Factorizer, every: bool) -> Result<(), Box<dyn Error>> {
        let mut failure = None;
        let started = Instant::now();
        let mut evaluating = 0.0;
        let fitted = model.fit(&self.data, &mut |state: Progress<'_>| {
            let seconds = state.elapsed.as_secs_f64();
            let paused = Instant::now();
            if let (true, Some(factors)) = (every && state.solved == Side::User, state.factors) {
                let line = format!("iteration {}", state.iteration);
                failure = self.report(&line, state.iteration, seconds, factors.users, factors.items).err();
            }
            evaluating += paused.elapsed().as_secs_f64();
            if failure.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        if let Some(error) = failure {
            return Err(error);
        }
        let seconds = started.elapsed().as_secs_f64() - evaluating;
        self.report("fitted", 0, seconds, &fitted.user_factors, &fitted.item_factors)
    }

    /// Iteration 0 stands for the finished model.
    fn report(
        &self,
        line: &str,
        iteration: usize,
        seconds: f64,
        users: &Matrix,
        items: &Matrix,
    ) -> Result<(), Box<dyn Error>> {
        let tested: Vec<usize> = (0..self.relevant.len()).filter(|u| !self.relevant[*u].is_empty()).collect();
        let vectors: Vec<f32> = tested.iter().flat_map(|u| users.row(*u)).copied().collect();
        let vectors = Matrix::from_vec(tested.len(), users.cols(), vectors)?;
        let rankings = top_items(&vectors, items, |row| self.data.by_user().row(tested[row]).0, 20)?;
        let relevant: Vec<Vec<u32>> = tested.iter().map(|u| self.relevant[*u].clone()).collect();
        let item_users: Vec<usize> = (0..self.data.items()).map(|i| self.data.by_item().row_len(i)).collect();
        let facts = ItemFacts { item_users: &item_users, users: self.data.users(), vectors: items };
        let report = evaluate_rankings(&rankings, &relevant, facts, 20);
        let (recall, ndcg, coverage) = (report.recall, report.ndcg, report.coverage);
        if self.json {
            println!(
                "{{\"iteration\": {iteration}, \"seconds\": {seconds:.4}, \"recall\": {recall:.5}, \"ndcg\": {ndcg:.5}}}"
            );
        } else {
            println!(
                "{line}: {seconds:.3} s, recall@20 {recall:.4}, ndcg@20 {ndcg:.4}, coverage {coverage:.3}, {} users",
                report.users
            );
        }
        Ok(())
    }
}

/// `user item item …` a line.
fn read_lists(path: &Path) -> Result<Vec<Vec<u32>>, Box<dyn Error>> {
    let file = std::fs::File::open(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let mut lists: Vec<Vec<u32>> = Vec::new();
    for line in BufReader::new(GzDecoder::new(file)).lines() {
        let numbers: Vec<u32> = line?.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
        if let Some((user, items)) = numbers.split_first() {
            let user = *user as usize;
            if lists.len() <= user {
                lists.resize(user + 1, Vec::new());
            }
            lists[user].extend(items);
        }
    }
    Ok(lists)
}

/// Moves about a fifth of each list out of it, picked by a hash of the pair.
fn hold_out(train: &mut [Vec<u32>]) -> Vec<Vec<u32>> {
    let held = |user: usize, item: u32| {
        let mixed = ((user as u64) << 32 | u64::from(item)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        ((mixed ^ (mixed >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9) >> 40).is_multiple_of(5)
    };
    let out =
        train.iter().enumerate().map(|(u, list)| list.iter().copied().filter(|i| held(u, *i)).collect()).collect();
    train.iter_mut().enumerate().for_each(|(u, list)| list.retain(|i| !held(u, *i)));
    out
}
