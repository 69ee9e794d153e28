//! Lua scripts that are sent by their hash, and as a whole only to a server that does not have them (yet, or any more).

use redis::{Cmd, Pipeline, ToRedisArgs, Value};

use super::{Client, Operation};
use crate::RedisError;

/// Hashes in one run of a script. A run stops everybody else for as long as it takes, which is up to a third of a millisecond for each hash that an
/// index holds.
const KEYS_IN_A_RUN: usize = 16;

/// A Lua script.
#[derive(Debug)]
pub struct Script {
    code: &'static str,
    hash: String,
}

impl Script {
    /// Of Lua code.
    pub fn new(code: &'static str) -> Self {
        Self { code, hash: redis::Script::new(code).get_hash().to_owned() }
    }

    /// A run of it on `key`; arguments can be added.
    pub fn run(&self, key: impl ToRedisArgs) -> Cmd {
        let mut command = redis::cmd("EVALSHA");
        command.arg(&self.hash).arg(1).arg(key);
        command
    }

    /// A run of it on many keys, which in a cluster must be in one slot; arguments can be added.
    pub fn run_on(&self, keys: impl ExactSizeIterator<Item = impl ToRedisArgs>) -> Cmd {
        let mut command = redis::cmd("EVALSHA");
        command.arg(&self.hash).arg(keys.len());
        for key in keys {
            command.arg(key);
        }
        command
    }
}

fn is_unknown(result: &Result<Value, RedisError>) -> bool {
    matches!(result, Err(RedisError::Refused { message, .. }) if message.starts_with("NOSCRIPT"))
}

impl Client {
    /// On how many keys a script may run: of a cluster one, since each lives in a slot of its own.
    pub(crate) fn keys_in_a_run(&self) -> usize {
        if self.is_cluster() { 1 } else { KEYS_IN_A_RUN }
    }

    /// Runs of one script, all at once; loads it first where it is unknown. A script that was unknown has done nothing, so running it again is safe.
    ///
    /// # Errors
    /// If the runs as a whole failed; what single ones failed with is in its place.
    pub async fn scripts(
        &self,
        operation: Operation,
        script: &Script,
        runs: &Pipeline,
    ) -> Result<Vec<Result<Value, RedisError>>, RedisError> {
        let mut results = self.pipeline(operation, runs).await?;
        let unknown: Vec<usize> = (0..results.len()).filter(|index| is_unknown(&results[*index])).collect();
        if unknown.is_empty() {
            return Ok(results);
        }
        self.call(operation, redis::cmd("SCRIPT").arg("LOAD").arg(script.code)).await?;
        let mut again = Pipeline::with_capacity(unknown.len());
        let runs: Vec<&Cmd> = runs.cmd_iter().collect();
        for index in &unknown {
            again.add_command(runs[*index].clone());
        }
        for (index, result) in unknown.into_iter().zip(self.pipeline(operation, &again).await?) {
            results[index] = result;
        }
        Ok(results)
    }
}
