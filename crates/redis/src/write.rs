//! Writes of hashes that keep the order of the log, whoever sends them and however often: a hash takes a write only if the log position of its
//! last change is not higher. One script does it, in one step on the server. A hash that has no position is somebody else's and stays as it is.
//!
//! A deleted hash stays for `redis.tombstone_ttl` as a marker, `:version` and `:deleted` alone, so that an older write that comes late does
//! not bring it back. The marker is the hash itself and no key beside it: one key is one slot of a cluster, whatever the id looks
//! like, and the script stays one step there too. It has no vector, so no vector search finds it.

use std::sync::LazyLock;

use redis::{Pipeline, Value};
use tastemaker_types::Position;

use crate::RedisError;
use crate::client::{Client, Operation, Script};
use crate::layout::{DELETED, VERSION};
use crate::reply::list;

/// KEYS: hashes; ARGV, of each: the position, the marker's ttl in ms (or 0 for a write that is no deletion, -1 for one that sets no field to what
/// it is already, for the sake of indexes), the numbers of the arguments that set and that remove, names and values to set, names to remove. Answers,
/// of each, 1: written, 2: written over what had this very position, 0: a later one had been, 3: the hash is none of ours.
static WRITE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
local written, at = {}, 1
for place, key in ipairs(KEYS) do
  local version, ttl = ARGV[at], ARGV[at + 1]
  local set = at + 4
  local remove = set + tonumber(ARGV[at + 2])
  local last = remove + tonumber(ARGV[at + 3]) - 1
  local known = redis.call('HGET', key, ':version')
  local position, stored = tonumber(version), tonumber(known or '-1')
  if not known and #redis.call('HGETALL', key) > 0 then
    written[place] = 3
  elseif stored > position then
    written[place] = 0
  else
    written[place] = stored == position and 2 or 1
    if ttl == '0' or ttl == '-1' then
      local fields, first, final = ARGV, set, remove - 1
      if ttl == '-1' and known then
        local names = {}
        for i = set, final, 2 do names[#names + 1] = ARGV[i] end
        local values = redis.call('HMGET', key, unpack(names))
        fields, first = {}, 1
        for i, name in ipairs(names) do
          local value = ARGV[set + 2 * i - 1]
          if values[i] ~= value then
            fields[#fields + 1] = name
            fields[#fields + 1] = value
          end
        end
        final = #fields
      end
      for i = first, final, 1000 do redis.call('HSET', key, unpack(fields, i, math.min(i + 999, final))) end
      if known then
        for i = remove, last, 1000 do redis.call('HDEL', key, unpack(ARGV, i, math.min(i + 999, last))) end
        redis.call('PERSIST', key)
      end
    else
      redis.call('DEL', key)
      redis.call('HSET', key, ':version', version, ':deleted', '1')
      redis.call('PEXPIRE', key, ttl)
    end
  end
  at = last + 1
end
return written
",
    )
});

/// A script's `unpack` takes not many more.
const MOST_COMPARED: usize = 1_000;

/// What became of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Written {
    /// It is done.
    Now,
    /// It is done, over one of the same position: most likely this one, or one that was made of the same with another model.
    Again,
    /// A later one had been done; this one changed nothing.
    Stale,
    /// The hash was not written by Tastemaker, and stays as it is.
    Foreign,
}

/// A change of one hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HashWrite {
    /// The whole key.
    pub key: String,
    /// The log position that it follows from.
    pub position: Position,
    /// What is to be.
    pub change: HashChange,
}

/// What is to become of a hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HashChange {
    /// These fields are set and those removed; others stay.
    Set {
        /// Names and values.
        set: Vec<(String, Vec<u8>)>,
        /// Names.
        remove: Vec<String>,
    },
    /// It goes, and is remembered as gone.
    Delete,
}

impl Client {
    /// Writes hashes, `redis.pipeline` at a time, and says of each what became of it.
    ///
    /// # Errors
    /// The first failure. Some of the writes may have been done then; doing all of them again is safe and completes them.
    pub async fn write_hashes(&self, operation: Operation, writes: &[HashWrite]) -> Result<Vec<Written>, RedisError> {
        let ttl = (self.config().tombstone_ttl.as_micros() / 1_000).max(1);
        let mut written = Vec::with_capacity(writes.len());
        for batch in writes.chunks(self.config().pipeline.max(1)) {
            let mut runs = Pipeline::with_capacity(batch.len());
            for writes in batch.chunks(self.keys_in_a_run()) {
                let mut run = WRITE.run_on(writes.iter().map(|write| &write.key));
                for HashWrite { key, position, change } in writes {
                    run.arg(position.0);
                    match change {
                        HashChange::Delete => {
                            run.arg(ttl).arg(0).arg(0);
                        }
                        HashChange::Set { set, remove } => {
                            let indexed = key.starts_with(self.layout().item_prefix());
                            run.arg(if indexed && set.len() < MOST_COMPARED { -1 } else { 0 })
                                .arg(2 * (set.len() + 1))
                                .arg(remove.len() + 1)
                                .arg(VERSION)
                                .arg(position.0);
                            for (name, value) in set {
                                run.arg(name).arg(value.as_slice());
                            }
                            run.arg(DELETED).arg(remove);
                        }
                    }
                }
                runs.add_command(run);
            }
            for answer in self.scripts(operation, &WRITE, &runs).await? {
                let answer = answer?;
                let unreadable = RedisError::answer(operation.name(), "a list of 0 to 3", &answer);
                for outcome in list(answer).ok_or(unreadable)? {
                    written.push(match outcome {
                        Value::Int(0) => Written::Stale,
                        Value::Int(1) => Written::Now,
                        Value::Int(2) => Written::Again,
                        Value::Int(3) => Written::Foreign,
                        other => return Err(RedisError::answer(operation.name(), "0 to 3", &other)),
                    });
                }
            }
        }
        Ok(written)
    }
}
