//! Batches of records from a body to the log: decoded and judged, written as one call, answered record by record.

use bytes::Bytes;
use tastemaker_api::batch::Parsed;
use tastemaker_api::{BatchRequest, FieldError, Problem, ProblemKind, RecordStatus, WriteResponse, parse_batch};
use tastemaker_monitor::catalogue as metrics;
use tastemaker_types::Timestamp;

use super::apart;
use crate::engine::PendingWrite;
use crate::http::problem::ApiError;
use crate::ingest::{Judged, Rules};
use crate::state::App;

/// Bodies larger than this are decoded apart from the threads that answer requests.
const LARGE_BODY: usize = 64 * 1024;
/// The most refusals listed in a problem.
const LISTED_ERRORS: usize = 100;

/// How a list of parsed records is judged.
pub(super) type Judge<T> = fn(&Rules, Vec<Parsed<T>>, Timestamp) -> Judged;

/// Writes the batch in `body`. `record` names its records in metrics: event, item or user.
pub(super) async fn batch<B: BatchRequest>(
    app: &App,
    body: Bytes,
    record: &'static str,
    judge: Judge<B::Record>,
) -> Result<WriteResponse, ApiError>
where
    B::Record: Send + 'static,
{
    let (judged, pending) = decode(app, body, move |app, body| prepare::<B>(app, body, judge)).await?;
    let appended = pending.wait(app.monitor()).await?;
    let answer = judged.finish(&appended);
    for (result, count) in
        [("accepted", answer.accepted), ("duplicate", answer.duplicates), ("refused", answer.refused)]
    {
        app.monitor().count(&metrics::INGESTED, [record, result], count as u64);
    }
    if answer.refused > 0 && answer.refused == answer.results.len() {
        return Err(all_refused(answer));
    }
    Ok(answer)
}

/// Decodes a body where its size does not hold up others.
pub(super) async fn decode<T: Send + 'static>(
    app: &App,
    body: Bytes,
    work: impl FnOnce(&App, &[u8]) -> Result<T, ApiError> + Send + 'static,
) -> Result<T, ApiError> {
    if body.len() <= LARGE_BODY { work(app, &body) } else { apart(app, move |app| work(app, &body)).await }
}

fn prepare<B: BatchRequest>(
    app: &App,
    body: &[u8],
    judge: Judge<B::Record>,
) -> Result<(Judged, PendingWrite), ApiError> {
    let records = parse_batch::<B>(body)?;
    let limit = app.config().server.batch_limit;
    if records.len() > limit {
        let detail = format!("{} records in one request; send at most {limit} at a time", records.len());
        return Err(ApiError::new(ProblemKind::TooLarge, detail));
    }
    let mut judged = judge(app.engine().rules(), records, Timestamp::now());
    let pending = app.engine().begin_write(std::mem::take(&mut judged.records))?;
    Ok((judged, pending))
}

fn all_refused(answer: WriteResponse) -> ApiError {
    let count = answer.refused;
    let refused = answer.results.into_iter().filter(|r| r.status == RecordStatus::Refused);
    let errors: Vec<FieldError> = refused.filter_map(|r| r.error).take(LISTED_ERRORS).collect();
    let first = errors.first().map(FieldError::to_string).unwrap_or_default();
    let detail = if count == 1 { first } else { format!("all {count} records were refused; the first: {first}") };
    Problem::new(ProblemKind::RecordsRefused, detail).with_errors(errors).into()
}
