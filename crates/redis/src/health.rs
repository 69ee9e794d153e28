//! How Redis is, as numbers: for metrics and alerts.

use std::collections::HashMap;

use crate::RedisError;
use crate::client::{Client, Operation};
use crate::reply::text;

const HEALTH: Operation = Operation::repeatable("health");

/// What `INFO` says of the server. Numbers that only grow are since its start.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ServerHealth {
    /// Another one after each start.
    pub run_id: String,
    /// Of Redis.
    pub version: String,
    /// `master` or `slave`.
    pub role: String,
    /// Whether it is still reading its data from disk.
    pub loading: bool,
    /// Seconds since its start.
    pub uptime_seconds: u64,
    /// Connections.
    pub clients: u64,
    /// Memory in use, in bytes.
    pub used_memory: u64,
    /// The most it may use, in bytes; 0: whatever there is.
    pub maxmemory: u64,
    /// `noeviction` is what state needs; everything else loses users' features when memory is short.
    pub maxmemory_policy: String,
    /// Memory that the system gave it by memory in use.
    pub fragmentation: f64,
    /// Reads that found their key.
    pub hits: u64,
    /// Reads that did not.
    pub misses: u64,
    /// Keys thrown out for want of memory.
    pub evicted_keys: u64,
    /// Keys whose time was over.
    pub expired_keys: u64,
    /// Connections refused for being too many.
    pub rejected_connections: u64,
    /// Commands.
    pub commands: u64,
    /// Times that all keys were thrown away, where `INFO commandstats` was asked for.
    pub flushes: u64,
}

impl ServerHealth {
    /// What the servers of a cluster come to together. Versions, roles and policies are those of the first.
    pub fn together(servers: &[Self]) -> Self {
        let sum = |of: fn(&Self) -> u64| servers.iter().map(of).sum();
        Self {
            loading: servers.iter().any(|server| server.loading),
            uptime_seconds: servers.iter().map(|server| server.uptime_seconds).min().unwrap_or(0),
            clients: sum(|server| server.clients),
            used_memory: sum(|server| server.used_memory),
            maxmemory: sum(|server| server.maxmemory),
            fragmentation: servers.iter().map(|server| server.fragmentation).fold(0.0, f64::max),
            hits: sum(|server| server.hits),
            misses: sum(|server| server.misses),
            evicted_keys: sum(|server| server.evicted_keys),
            expired_keys: sum(|server| server.expired_keys),
            rejected_connections: sum(|server| server.rejected_connections),
            commands: sum(|server| server.commands),
            flushes: sum(|server| server.flushes),
            ..servers.first().cloned().unwrap_or_default()
        }
    }

    /// Reads the answer to `INFO`: lines of `name:value` under headings.
    fn read(info: &str) -> Self {
        let values: HashMap<&str, &str> = info.lines().filter_map(|line| line.trim_end().split_once(':')).collect();
        let word = |name: &str| values.get(name).copied().unwrap_or_default().to_owned();
        let number = |name: &str| values.get(name).and_then(|value| value.parse().ok()).unwrap_or(0);
        let calls = |command: &str| {
            let calls = values.get(format!("cmdstat_{command}").as_str())?.strip_prefix("calls=")?.split(',').next()?;
            calls.parse::<u64>().ok()
        };
        let ratio = |name: &str| values.get(name).and_then(|value| value.parse().ok()).unwrap_or(0.0);
        Self {
            run_id: word("run_id"),
            version: word("redis_version"),
            role: word("role"),
            loading: number("loading") != 0,
            uptime_seconds: number("uptime_in_seconds"),
            clients: number("connected_clients"),
            used_memory: number("used_memory"),
            maxmemory: number("maxmemory"),
            maxmemory_policy: word("maxmemory_policy"),
            fragmentation: ratio("mem_fragmentation_ratio"),
            hits: number("keyspace_hits"),
            misses: number("keyspace_misses"),
            evicted_keys: number("evicted_keys"),
            expired_keys: number("expired_keys"),
            rejected_connections: number("rejected_connections"),
            commands: number("total_commands_processed"),
            flushes: ["flushall", "flushdb"].into_iter().filter_map(calls).sum(),
        }
    }

    /// The share of reads that found their key; none before the first read.
    pub fn hit_ratio(&self) -> Option<f64> {
        let reads = self.hits + self.misses;
        (reads > 0).then(|| self.hits as f64 / reads as f64)
    }

    /// The share of the memory that it may use; none if there is no limit.
    pub fn memory_ratio(&self) -> Option<f64> {
        (self.maxmemory > 0).then(|| self.used_memory as f64 / self.maxmemory as f64)
    }

    /// Whether it may throw out keys to make room: users' features are state, and not to be thrown out.
    pub fn may_evict_state(&self) -> bool {
        self.maxmemory > 0 && self.maxmemory_policy.starts_with("allkeys")
    }
}

impl Client {
    /// Asks how Redis is: the server, or each master of a cluster.
    ///
    /// # Errors
    /// [`RedisError`].
    pub async fn health(&self) -> Result<Vec<ServerHealth>, RedisError> {
        self.info(&redis::cmd("INFO")).await
    }

    /// What changes whenever a server that has our keys starts, or another one takes its place: what was acknowledged last may be lost then. In a
    /// cluster also whenever one is emptied, of which the keys of the others tell nothing.
    ///
    /// # Errors
    /// [`RedisError`].
    pub async fn run_ids(&self) -> Result<String, RedisError> {
        let mut info = redis::cmd("INFO");
        info.arg("server");
        if self.is_cluster() {
            info.arg("commandstats");
        }
        let id =
            |ServerHealth { run_id, flushes, .. }| if flushes > 0 { format!("{run_id}-{flushes}") } else { run_id };
        let mut ids: Vec<String> = self.info(&info).await?.into_iter().map(id).collect();
        ids.sort();
        Ok(ids.join(" "))
    }

    async fn info(&self, command: &redis::Cmd) -> Result<Vec<ServerHealth>, RedisError> {
        let mut servers = Vec::new();
        let next = |answer: Option<redis::Value>| {
            let Some(answer) = answer else { return Some(command.clone()) };
            servers.extend(text(answer).map(|info| ServerHealth::read(&info)));
            None
        };
        self.call_each_node(HEALTH, next).await?;
        Ok(servers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn info_is_read_as_redis_writes_it() {
        let health = ServerHealth::read(
            "# Server\r\nredis_version:8.2.3\r\nuptime_in_seconds:7\r\n# Memory\r\nused_memory:50\r\nmaxmemory:200\r\n\
             maxmemory_policy:allkeys-lru\r\nmem_fragmentation_ratio:1.5\r\n# Stats\r\nkeyspace_hits:3\r\nkeyspace_misses:1\r\n\
             # Commandstats\r\ncmdstat_flushall:calls=2,usec=9,usec_per_call=4.50\r\ncmdstat_flushdb:calls=1,usec=3\r\n",
        );
        assert_eq!(health.flushes, 3);
        assert_eq!((health.version.as_str(), health.uptime_seconds, health.fragmentation), ("8.2.3", 7, 1.5));
        assert_eq!((health.hit_ratio(), health.memory_ratio()), (Some(0.75), Some(0.25)));
        assert!(health.may_evict_state());
        assert_eq!(ServerHealth::read("").hit_ratio(), None);
    }
}
