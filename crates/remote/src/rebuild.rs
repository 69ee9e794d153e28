//! Writing everything to Redis again, from the log.

use std::collections::HashSet;

use tastemaker_redis::layout::VERSION;
use tastemaker_redis::{Operation, Pipeline, Value, cmd};

use crate::RemoteError;
use crate::follow::Follower;

const SCAN: Operation = Operation::repeatable("scan").bulk();
const DELETE: Operation = Operation::repeatable("delete").bulk();
/// Keys looked at in one step.
const STEP: usize = 1_000;

/// What a rebuild did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rebuilt {
    /// Users and items written.
    pub written: usize,
    /// Keys of users and items that the log does not know, removed.
    pub removed: usize,
}

/// Writes every user and item as the log has them, and removes those that it does not know. Beside a server that follows, what that server wrote
/// later stays. What was written from another log is removed first.
///
/// # Errors
/// Redis fails; doing it again goes on from there.
pub async fn rebuild(follower: &Follower, progress: impl Fn(usize)) -> Result<Rebuilt, RemoteError> {
    let mut removed = 0;
    match follower.look().await {
        Err(RemoteError::OtherLog { .. }) => {
            removed += remove(follower, u64::MAX, |_, _| true).await?;
            follower.forget().await?;
            let layout = follower.client().layout();
            let mut forget = cmd("UNLINK");
            forget.arg(layout.meta());
            follower.client().call(DELETE, &forget).await?;
            follower.look().await?;
        }
        other => other?,
    }
    follower.note_all();
    let written = follower.flush(progress).await?;
    removed += remove_strangers(follower).await?;
    follower.look().await?;
    follower.flush(|_| ()).await?;
    follower.advance().await?;
    Ok(Rebuilt { written, removed })
}

/// Keys of ours whose user or item is not in the log's state. Markers of deletions are left to end by themselves.
async fn remove_strangers(follower: &Follower) -> Result<usize, RemoteError> {
    let (state, catalog) = (follower.writes().state(), follower.writes().catalog());
    let users: HashSet<String> = state.user_ids_after(None, usize::MAX >> 1).into_iter().collect();
    let newest = follower.writes().state().position().map_or(0, |position| position.0);
    remove(follower, newest, |item, user| match (item, user) {
        (Some(id), _) => catalog.snapshot().row(id).is_none(),
        (None, Some(id)) => !users.contains(id) && state.export_user(id).is_none(),
        (None, None) => false,
    })
    .await
}

/// Removes hashes of items and users that are unwanted and were written up to the log position `newest`; says how many. What has no position is none
/// of ours.
async fn remove(
    follower: &Follower,
    newest: u64,
    unwanted: impl Fn(Option<&str>, Option<&str>) -> bool,
) -> Result<usize, RemoteError> {
    let client = follower.client();
    let layout = client.layout();
    let mut found: Vec<Vec<u8>> = Vec::new();
    for prefix in [layout.item_prefix(), layout.user_prefix()] {
        let pattern = format!("{}*", escape(prefix));
        let scan = |cursor: &[u8]| {
            let mut scan = cmd("SCAN");
            scan.arg(cursor).arg("MATCH").arg(&pattern).arg("COUNT").arg(STEP);
            scan
        };
        let next = |answer: Option<Value>| {
            let Some(answer) = answer else { return Some(scan(b"0")) };
            let (next, keys) = scanned(answer)?;
            found.extend(keys.into_iter().filter(|key| unwanted(layout.item_id(key), layout.user_id(key))));
            (next != b"0").then(|| scan(&next))
        };
        client.call_each_node(SCAN, next).await?;
    }
    let mut removed = 0;
    for keys in found.chunks(STEP) {
        // What somebody who follows wrote in the meantime is newer than all that we know.
        let mut versions = Pipeline::with_capacity(keys.len());
        for key in keys {
            versions.cmd("HGET").arg(key).arg(VERSION);
        }
        let versions = client.pipeline(SCAN, &versions).await?.into_iter().map(|answer| match answer {
            Ok(Value::BulkString(version)) => {
                std::str::from_utf8(&version).ok().and_then(|version| version.parse().ok())
            }
            _ => None,
        });
        let old = |(_, version): &(&Vec<u8>, Option<u64>)| version.is_some_and(|version| version <= newest);
        let keys: Vec<&Vec<u8>> = keys.iter().zip(versions).filter(old).map(|(key, _)| key).collect();
        removed += keys.len();
        let mut unlink = Pipeline::with_capacity(keys.len());
        for key in keys {
            unlink.cmd("UNLINK").arg(key);
        }
        client.pipeline(DELETE, &unlink).await?.into_iter().try_for_each(|answer| answer.map(|_| ()))?;
    }
    Ok(removed)
}

/// Where to go on, and keys.
fn scanned(answer: Value) -> Option<(Vec<u8>, Vec<Vec<u8>>)> {
    let bytes = |value| if let Value::BulkString(bytes) = value { Some(bytes) } else { None };
    let Value::Array(answer) = answer else { return None };
    let mut answer = answer.into_iter();
    let (next, Value::Array(keys)) = (bytes(answer.next()?)?, answer.next()?) else { return None };
    Some((next, keys.into_iter().filter_map(bytes).collect()))
}

/// As a pattern that matches just this.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(c, '*' | '?' | '[' | ']' | '\\' | '^') {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}
