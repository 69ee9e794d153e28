//! Replaying the log into online state at start: one thread reads and decodes, this one applies.

use std::sync::mpsc::sync_channel;
use std::time::{Duration, Instant};

use tastemaker_features::OnlineState;
use tastemaker_log::{LogError, LogReader};
use tastemaker_types::{Position, Record};

use crate::EngineError;

/// Records applied at once, and chunks of them that may wait.
const CHUNK: usize = 8_192;
const WAITING: usize = 4;
const PROGRESS: Duration = Duration::from_secs(2);

/// Applies the whole log; says how long it took.
pub(super) fn replay(reader: &LogReader, state: &OnlineState) -> Result<Duration, EngineError> {
    let began = Instant::now();
    let end = reader.end()?;
    let (sender, receiver) = sync_channel::<Vec<(Position, Record)>>(WAITING);
    std::thread::scope(|scope| {
        let decoding = scope.spawn(move || -> Result<(), LogError> {
            let mut records = reader.read_from(Position(0));
            loop {
                let chunk: Vec<_> = records.by_ref().take(CHUNK).collect::<Result<_, _>>()?;
                if chunk.is_empty() || sender.send(chunk).is_err() {
                    return Ok(());
                }
            }
        });
        let (mut applied, mut reported) = (0_u64, Instant::now());
        for chunk in receiver {
            applied += chunk.len() as u64;
            state.apply(&chunk);
            if reported.elapsed() > PROGRESS {
                tracing::info!(applied, of = end.0, "replaying the log");
                reported = Instant::now();
            }
        }
        match decoding.join() {
            Ok(outcome) => outcome?,
            Err(_) => return Err(EngineError::setup("replay the log", &"the reader panicked")),
        }
        let took = began.elapsed();
        tracing::info!(records = applied, seconds = took.as_secs_f64(), "replayed the log");
        Ok(took)
    })
}
