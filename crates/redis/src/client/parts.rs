//! Where the parts of an index are. A search module that knows of its cluster speaks for all nodes, whichever is asked. One that does not keeps
//! on each node an index of that node's items, and Redis takes the index's name for a key and sends a command on to the node that owns its
//! slot: there, the part of each node has a name of its own, `idx:items:7{3}`, whose slot is that node's.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use redis::{Cmd, Pipeline, Value};

use super::topology::Node;
use super::{Client, Operation};
use crate::RedisError;
use crate::reply::{bytes, count, list};

/// How long what is known of the nodes is believed.
const TTL: Duration = Duration::from_secs(10);
/// Numbers that are tried for a node: even the owner of one slot of 16384 has one among so many.
const MAX_NUMBER: u32 = 1 << 20;

/// What the names of an index's parts end with; one that is empty where the module speaks for all.
pub(super) type Endings = Arc<[String]>;

/// The endings, and until when they are believed.
pub(super) type Known = Mutex<Option<(Endings, Instant)>>;

/// The name of an index without the ending that a node's part of it has.
pub(crate) fn whole_name(name: &str) -> &str {
    match name.split_once('{') {
        Some((whole, _)) => whole,
        None => name,
    }
}

impl Client {
    /// Sends a command about an index to every part of it, and returns the answer of each; `command` is given what the part's name ends with.
    ///
    /// # Errors
    /// If it was not sent; what single parts failed with is in its place.
    pub(crate) async fn call_parts(
        &self,
        operation: Operation,
        command: impl Fn(&str) -> Cmd,
    ) -> Result<Vec<Result<Value, RedisError>>, RedisError> {
        let endings = self.endings(operation).await?;
        if let [ending] = &endings[..] {
            return Ok(vec![self.call(operation, &command(ending)).await]);
        }
        let mut commands = Pipeline::with_capacity(endings.len());
        for ending in endings.iter() {
            commands.add_command(command(ending));
        }
        self.pipeline(operation, &commands).await
    }

    /// Whether each node has a part of an index that knows nothing of the others.
    pub(crate) async fn has_parts(&self, operation: Operation) -> Result<bool, RedisError> {
        Ok(self.endings(operation).await?.iter().any(|ending| !ending.is_empty()))
    }

    /// The masters of a cluster; `None` is the server that is no cluster.
    pub(super) async fn masters(&self, operation: Operation) -> Result<Vec<Option<Node>>, RedisError> {
        if !self.is_cluster() {
            return Ok(vec![None]);
        }
        let node =
            |(host, port): (Vec<u8>, u64)| Some(Some((String::from_utf8(host).ok()?, u16::try_from(port).ok()?)));
        self.owners(operation, |owners| owners.into_keys().map(node).collect()).await
    }

    /// What `read` makes of the slots of each master.
    async fn owners<T>(&self, operation: Operation, read: impl FnOnce(Owners) -> Option<T>) -> Result<T, RedisError> {
        let slots = self.call(operation, redis::cmd("CLUSTER").arg("SLOTS")).await?;
        let unreadable = RedisError::answer(operation.name(), "the slots of each node", &slots);
        owners(slots).filter(|owners| !owners.is_empty()).and_then(read).ok_or(unreadable)
    }

    async fn endings(&self, operation: Operation) -> Result<Endings, RedisError> {
        if !self.is_cluster() {
            return Ok([String::new()].into());
        }
        let now = Instant::now();
        let old = {
            let mut known = self.inner.endings.lock();
            match &mut *known {
                Some((endings, until)) if *until > now => return Ok(Arc::clone(endings)),
                Some((endings, until)) => {
                    // One asks; nobody else waits for it.
                    *until = now + TTL;
                    Some(Arc::clone(endings))
                }
                None => None,
            }
        };
        match (self.find_endings(operation).await, old) {
            (Ok(endings), _) => {
                *self.inner.endings.lock() = Some((Arc::clone(&endings), now + TTL));
                Ok(endings)
            }
            (Err(_), Some(old)) => Ok(old),
            (Err(error), None) => Err(error),
        }
    }

    async fn find_endings(&self, operation: Operation) -> Result<Endings, RedisError> {
        let about = self.call(operation, redis::cmd("COMMAND").arg("INFO").arg("FT.SEARCH")).await?;
        if !takes_name_for_key(about) {
            return Ok([String::new()].into());
        }
        self.owners(operation, |owners| Some(owners.values().filter_map(|slots| ending(slots)).collect())).await
    }
}

/// Whether the first argument of the command is a key to Redis: its description has at index 3 where keys begin.
fn takes_name_for_key(about: Value) -> bool {
    let first_key = || list(list(about)?.into_iter().next()?)?.get(3).and_then(count);
    first_key().is_some_and(|at| at > 0)
}

/// First and last slot of each range.
type Slots = Vec<(u64, u64)>;

/// By host and port.
type Owners = BTreeMap<(Vec<u8>, u64), Slots>;

/// Of `[[first slot, last slot, [host, port, …] of the master, …], …]`, the slots of each master.
fn owners(answer: Value) -> Option<Owners> {
    let mut owners = Owners::new();
    for range in list(answer)? {
        let mut range = list(range)?.into_iter();
        let slots = (count(&range.next()?)?, count(&range.next()?)?);
        let mut master = list(range.next()?)?.into_iter();
        let host = bytes(master.next()?).unwrap_or_default();
        owners.entry((host, count(&master.next()?)?)).or_default().push(slots);
    }
    Some(owners)
}

/// The least number in braces whose slot is among these: the same as long as the node keeps that slot.
fn ending(slots: &[(u64, u64)]) -> Option<String> {
    let number = (0..MAX_NUMBER).map(|number| number.to_string()).find(|number| {
        let slot = u64::from(crc16::State::<crc16::XMODEM>::calculate(number.as_bytes()) % 16_384);
        slots.iter().any(|(first, last)| (*first..=*last).contains(&slot))
    })?;
    Some(format!("{{{number}}}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_master_has_an_ending_in_a_slot_of_its_own() {
        let node = |port| Value::Array(vec![Value::BulkString(b"10.0.0.1".to_vec()), Value::Int(port)]);
        let range =
            |first, last, port| Value::Array(vec![Value::Int(first), Value::Int(last), node(port), node(port + 100)]);
        let slots =
            Value::Array(vec![range(0, 99, 1), range(100, 16_382, 2), range(16_383, 16_383, 3), range(7, 7, 2)]);
        let owners = owners(slots).unwrap();
        assert_eq!(owners.len(), 3);
        for slots in owners.values() {
            let ending = ending(slots).unwrap();
            let number = ending.trim_matches(['{', '}']);
            let slot = u64::from(crc16::State::<crc16::XMODEM>::calculate(number.as_bytes()) % 16_384);
            assert!(slots.iter().any(|(first, last)| (*first..=*last).contains(&slot)), "{ending} in {slots:?}");
            assert_eq!(whole_name(&format!("idx:items:7{ending}")), "idx:items:7");
        }
        assert!(super::owners(Value::Okay).is_none());
    }

    #[test]
    fn a_module_that_speaks_for_its_cluster_has_no_keys() {
        let about = |first| {
            let name = Value::BulkString(b"ft.search".to_vec());
            Value::Array(vec![Value::Array(vec![name, Value::Int(-1), Value::Set(vec![]), Value::Int(first)])])
        };
        assert!(takes_name_for_key(about(1)));
        assert!(!takes_name_for_key(about(0)));
        assert!(!takes_name_for_key(Value::Array(vec![Value::Nil])));
    }
}
