//! Writing everything to Redis again, from the log.

use std::collections::HashSet;

use tastemaker_redis::{Operation, Value, cmd};

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
            removed += remove(follower, |_, _| true).await?;
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
    remove(follower, |item, user| match (item, user) {
        (Some(id), _) => catalog.snapshot().row(id).is_none(),
        (None, Some(id)) => !users.contains(id) && state.export_user(id).is_none(),
        (None, None) => false,
    })
    .await
}

/// Removes hashes of items and users that are unwanted; says how many.
async fn remove(
    follower: &Follower,
    unwanted: impl Fn(Option<&str>, Option<&str>) -> bool,
) -> Result<usize, RemoteError> {
    let client = follower.client();
    let layout = client.layout();
    let mut removed = 0;
    for prefix in [layout.item_prefix(), layout.user_prefix()] {
        let pattern = format!("{}*", escape(prefix));
        let mut cursor = b"0".to_vec();
        loop {
            let mut scan = cmd("SCAN");
            scan.arg(&cursor).arg("MATCH").arg(&pattern).arg("COUNT").arg(STEP);
            let Value::Array(answer) = client.call(SCAN, &scan).await? else { break };
            let mut answer = answer.into_iter();
            let (Some(Value::BulkString(next)), Some(Value::Array(keys))) = (answer.next(), answer.next()) else {
                break;
            };
            let keys =
                keys.into_iter().filter_map(|key| if let Value::BulkString(key) = key { Some(key) } else { None });
            let keys: Vec<Vec<u8>> = keys.filter(|key| unwanted(layout.item_id(key), layout.user_id(key))).collect();
            if !keys.is_empty() {
                removed += keys.len();
                let mut unlink = cmd("UNLINK");
                unlink.arg(&keys);
                client.call(DELETE, &unlink).await?;
            }
            cursor = next;
            if cursor == b"0" {
                break;
            }
        }
    }
    Ok(removed)
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
