//! The rows of one batch view into one sink, chunk by chunk. How far it is stands in a file beside the log, so that it goes on where it was.

mod source;
mod state;

use std::time::Instant;

use anyhow::Result;
use tastemaker_config::{Config, FeatureViewConfig};
use tastemaker_features::offline::{Materialized, ViewReport, ViewRows};
use tastemaker_features::set::View;
use tastemaker_features::table::LatestOptions;
use tastemaker_types::{Record, Timestamp};

use self::source::Source;
use self::state::{Run, State};
use crate::importing::{Sink, Written};
use crate::interrupt;
use crate::output::count;
use crate::progress::Progress;

/// Records in one write, with one sync.
const CALL_RECORDS: usize = 10_000;

/// Where rows go, and what is there already.
pub(crate) struct Target<'a> {
    pub(crate) config: &'a Config,
    pub(crate) known: &'a mut Materialized,
    pub(crate) sink: &'a mut dyn Sink,
    /// The server that rows go to; none if they go into the log.
    pub(crate) server: Option<&'a str>,
    /// Read rows of any age.
    pub(crate) full: bool,
    /// What the query of a view may collect in memory.
    #[cfg_attr(not(feature = "sql"), expect(dead_code, reason = "there are no queries then"))]
    pub(crate) memory_bytes: usize,
}

/// What became of a view.
pub(crate) struct Moved {
    /// Rows that were read and could be used.
    pub(crate) read: u64,
    pub(crate) written: Written,
    pub(crate) report: ViewReport,
    pub(crate) interrupted: bool,
}

/// Brings the newest rows of a view in. Ctrl-C ends it after what is being written.
pub(crate) fn materialize(
    view: &FeatureViewConfig,
    declared: &View,
    target: &mut Target<'_>,
    progress: &mut Progress,
) -> Result<Moved> {
    let mut moved = Moved { read: 0, written: Written::default(), report: ViewReport::default(), interrupted: false };
    let data_dir = &target.config.storage.data_dir;
    let (phase, started) = (format!("materializing {}", view.name), Instant::now());
    // How many rows there are is known once the table is open.
    progress.update(&format!("opening {}", view.name), 0, None, "rows");
    let mut state = State::read(data_dir)?;
    let columns = columns_of(view);
    let key = target.server.map_or_else(|| view.name.clone(), |url| format!("{} at {url}", view.name));
    if target.server.is_none() && !target.known.has_rows_of(&view.name) {
        state.forget(&key);
    }
    let progress_of = state.view(&key, &columns);
    let broken_off = progress_of.run.take().filter(|run| run.full == target.full);
    let Some(source) = Source::open(view, broken_off.as_ref(), target)? else {
        moved.interrupted = true;
        return Ok(moved);
    };
    let Source { table, answer, .. } = &source;
    // A query has read the log anyway, and what it says of old times may have changed: every row is looked at.
    let read_through = progress_of.read_through.filter(|_| answer.is_none());
    let has_created = view.created_time_column.is_some();
    let since = progress_of.since(table.fingerprint(), has_created).filter(|_| answer.is_none() && !target.full);
    let mut run = match broken_off {
        Some(run) if run.source == table.fingerprint() && run.answer == *answer => run,
        _ => Run {
            source: table.fingerprint(),
            full: target.full,
            since,
            as_of: Timestamp::now(),
            chunks: table.suggested_chunks(),
            next_chunk: 0,
            latest: read_through,
            answer: answer.clone(),
        },
    };
    if answer.is_some() {
        // A query is not answered again because the first chunk was broken off.
        state.view(&key, &columns).run = Some(run.clone());
        state.write(data_dir)?;
    }
    // Rows that hold since the query ran say nothing new by their time, unless they would be too old without it.
    let timeless = answer.as_ref().is_some_and(|answer| answer.timeless);
    let is_new = if timeless && view.ttl.is_none() { Materialized::changes_values } else { Materialized::changes };
    while run.next_chunk < run.chunks {
        let options = LatestOptions { chunks: run.chunks, since: run.since, as_of: Some(run.as_of) };
        let mut rows = ViewRows::new(declared, table.latest(run.next_chunk, &options)?);
        let mut call = Vec::with_capacity(CALL_RECORDS);
        while let Some(batch) = rows.next() {
            let batch = batch?;
            moved.read += batch.len() as u64;
            let before = batch.len();
            let new: Vec<_> = batch.into_iter().filter(|row| is_new(target.known, row)).collect();
            moved.written.duplicates += (before - new.len()) as u64;
            call.extend(new.into_iter().map(Record::FeatureRow));
            if call.len() >= CALL_RECORDS {
                moved.written += target.sink.write(std::mem::take(&mut call))?;
            }
            let rate = moved.read as f64 / started.elapsed().as_secs_f64().max(0.001);
            let share = (f64::from(run.next_chunk) + rows.share_read()) / f64::from(run.chunks.max(1));
            let note = format!("{} rows, {} rows/s", count(moved.read), count(rate as u64));
            progress.update(&phase, (share * table.rows() as f64) as u64, Some(table.rows()), &note);
            if interrupt::interrupted() {
                moved.interrupted = true;
                break;
            }
        }
        if !call.is_empty() {
            moved.written += target.sink.write(call)?;
        }
        let report = rows.into_report();
        run.latest = run.latest.max(report.latest);
        moved.report.add(report, run.next_chunk == 0);
        if moved.interrupted {
            return Ok(moved);
        }
        run.next_chunk += 1;
        state.view(&key, &columns).run = Some(run.clone());
        state.write(data_dir)?;
    }
    state.view(&key, &columns).finish(run);
    state.write(data_dir)?;
    source.done();
    Ok(moved)
}

/// What of a view's declaration says which values are read.
fn columns_of(view: &FeatureViewConfig) -> String {
    let features: Vec<String> = view.features.iter().map(|(name, kind)| format!("{name} {kind:?}")).collect();
    // Rows of other files were not read, whatever their time.
    let path = view.path.as_ref().map_or_else(String::new, |path| format!(" {}", path.display()));
    let columns = [&view.user_column, &view.item_column, &view.event_time_column];
    format!("{} {columns:?} {:?} {}{path}", view.entity.name(), view.created_time_column, features.join(", "))
}
