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
/// later stays.
///
/// # Errors
/// Redis fails; doing it again goes on from there.
pub async fn rebuild(follower: &Follower, progress: impl Fn(usize)) -> Result<Rebuilt, RemoteError> {
    follower.look().await?;
    follower.note_all();
    let written = follower.flush(progress).await?;
    let removed = remove_strangers(follower).await?;
    follower.look().await?;
    follower.flush(|_| ()).await?;
    follower.advance().await?;
    Ok(Rebuilt { written, removed })
}

/// Keys of ours whose user or item is not in the log's state. Markers of deletions are left to end by themselves.
async fn remove_strangers(follower: &Follower) -> Result<usize, RemoteError> {
    let (client, writes) = (follower.client(), follower.writes());
    let layout = client.layout();
    let users: HashSet<String> = writes.state().user_ids_after(None, usize::MAX >> 1).into_iter().collect();
    let mut removed = 0;
    for prefix in [layout.item_prefix(), layout.user_prefix()] {
        let pattern = format!("{}*", escape(prefix));
        let mut cursor = b"0".to_vec();
        loop {
            let mut scan = cmd("SCAN");
            scan.arg(&cursor).arg("MATCH").arg(&pattern).arg("COUNT").arg(STEP);
            let Value::Array(answer) = client.call(SCAN, &scan).await? else { break };
            let mut answer = answer.into_iter();
            let (Some(Value::BulkString(next)), Some(Value::Array(keys))) = (answer.next(), answer.next()) else { break };
            let catalog = writes.catalog().snapshot();
            let known = |key: &[u8]| match (layout.item_id(key), layout.user_id(key)) {
                (Some(id), _) => catalog.row(id).is_some(),
                (None, Some(id)) => users.contains(id) || writes.state().export_user(id).is_some(),
                (None, None) => true,
            };
            let keys = keys.into_iter().filter_map(|key| if let Value::BulkString(key) = key { Some(key) } else { None });
            let strangers: Vec<Vec<u8>> = keys.filter(|key| !known(key)).collect();
            if !strangers.is_empty() {
                removed += strangers.len();
                let mut unlink = cmd("UNLINK");
                unlink.arg(&strangers);
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
