//! What can go wrong between us and Redis, sorted by who must act: nobody (it passes), the operator of Redis, whoever wrote the
//! configuration, or we ourselves.

use std::time::Duration;

use redis::ErrorKind;

/// A failure of a command. No variant holds a password or a value that was written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RedisError {
    /// No connection, or it broke.
    #[error("Redis at {server} cannot be reached: {reason}; is it running, and is storage.online right?")]
    Unreachable {
        /// Host and port.
        server: String,
        /// What the system says.
        reason: String,
    },
    /// No answer in time; what was sent may or may not have been done.
    #[error("Redis did not answer {operation} within {after:?}")]
    Timeout {
        /// What was asked.
        operation: &'static str,
        /// How long we waited.
        after: Duration,
    },
    /// It was not even tried, since many commands before it had no answer.
    #[error("{operation} was not sent: Redis has not answered for a while and is being pinged")]
    BreakerOpen {
        /// What was to be asked.
        operation: &'static str,
    },
    /// Redis is starting, failing over or running a script, and says so.
    #[error("Redis is not ready for {operation} yet: {message}")]
    NotReady {
        /// What was asked.
        operation: &'static str,
        /// What it says.
        message: String,
    },
    /// `maxmemory` is reached and nothing may be evicted.
    #[error("Redis is full and refused {operation}; raise maxmemory, or remove what else lives there")]
    OutOfMemory {
        /// What was asked.
        operation: &'static str,
    },
    /// We are talking to a replica, or the master cannot write.
    #[error("Redis refused {operation}: {message}; point storage.online at the master, or mend its disk or replicas")]
    ReadOnly {
        /// What was asked.
        operation: &'static str,
        /// What it says.
        message: String,
    },
    /// Wrong user or password, or none.
    #[error("Redis did not let us in: {message}; check user and password in storage.online or [redis]")]
    Authentication {
        /// What it says.
        message: String,
    },
    /// The ACL user may not do it.
    #[error("the Redis user may not do {operation}: {message}; docs/redis.md has the ACL line that Tastemaker needs")]
    NoPermission {
        /// What was asked.
        operation: &'static str,
        /// What it says, with the name of the command or key pattern.
        message: String,
    },
    /// The server does not know `FT.SEARCH`.
    #[error(
        "this Redis has no search module, which {operation} needs; run the image redis:8 (or redis-stack-server, or loadmodule redisearch.so)"
    )]
    SearchMissing {
        /// What was asked.
        operation: &'static str,
    },
    /// The index is not there.
    #[error("Redis has no index '{index}'; publish a generation first: tastemaker publish")]
    NoIndex {
        /// Its name.
        index: String,
    },
    /// A key of ours holds another type: somebody else writes to our names.
    #[error("{operation} found a key of another type in Redis; give the project a redis.prefix of its own")]
    WrongType {
        /// What was asked.
        operation: &'static str,
    },
    /// What Redis says to a command it does not like: a mistake of ours, or a server that is too old.
    #[error("Redis refused {operation}: {message}")]
    Refused {
        /// What was asked.
        operation: &'static str,
        /// What it says.
        message: String,
    },
    /// An answer that we cannot read.
    #[error("Redis answered {operation} with {found} where {expected} was expected; is it Redis 7.4 or newer?")]
    Answer {
        /// What was asked.
        operation: &'static str,
        /// What we can read.
        expected: &'static str,
        /// What came.
        found: String,
    },
    /// The settings cannot be used.
    #[error("{0}")]
    Settings(String),
    /// What Redis holds is not what was put there.
    #[error("what is in Redis is not what was published: {0}")]
    Verification(String),
}

impl RedisError {
    /// Whether the same may work a moment later, with nobody doing anything.
    pub fn is_transient(&self) -> bool {
        self.is_silence() || matches!(self, Self::BreakerOpen { .. })
    }

    /// Whether the server as a whole does not answer, so that trying again and again only takes time.
    pub(crate) fn is_silence(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Timeout { .. } | Self::NotReady { .. })
    }

    /// Whether a connection made anew may reach a better server.
    pub(crate) fn wants_reconnect(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::ReadOnly { .. } | Self::Authentication { .. })
    }

    /// A short name of the kind of failure, for metrics.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Unreachable { .. } => "unreachable",
            Self::Timeout { .. } => "timeout",
            Self::BreakerOpen { .. } => "breaker_open",
            Self::NotReady { .. } => "not_ready",
            Self::OutOfMemory { .. } => "out_of_memory",
            Self::ReadOnly { .. } => "read_only",
            Self::Authentication { .. } => "authentication",
            Self::NoPermission { .. } => "no_permission",
            Self::SearchMissing { .. } => "search_missing",
            Self::NoIndex { .. } => "no_index",
            Self::WrongType { .. } => "wrong_type",
            Self::Refused { .. } => "refused",
            Self::Answer { .. } => "answer",
            Self::Settings(_) => "settings",
            Self::Verification(_) => "verification",
        }
    }

    /// Of a library error while doing `operation` at `server`.
    pub(crate) fn of(error: &redis::RedisError, operation: &'static str, server: &str) -> Self {
        let message = || match error.detail() {
            Some(detail) => detail.to_owned(),
            None => error.to_string(),
        };
        match error.kind() {
            ErrorKind::Io | ErrorKind::ClusterConnectionNotFound => {
                Self::Unreachable { server: server.to_owned(), reason: message() }
            }
            ErrorKind::MasterNameNotFoundBySentinel | ErrorKind::NoValidReplicasFoundBySentinel => {
                Self::Unreachable { server: server.to_owned(), reason: "the sentinels know no such master".to_owned() }
            }
            ErrorKind::AuthenticationFailed => Self::Authentication { message: message() },
            ErrorKind::RESP3NotSupported => {
                Self::Settings(format!("Redis at {server} does not speak RESP3; set redis.protocol to \"resp2\""))
            }
            ErrorKind::InvalidClientConfig | ErrorKind::EmptySentinelList => Self::Settings(message()),
            ErrorKind::Parse => Self::Unreachable { server: server.to_owned(), reason: message() },
            _ => Self::of_answer(error.code().unwrap_or_default(), &message(), operation),
        }
    }

    /// Of an error in the answer to one command.
    pub(crate) fn of_server(error: &redis::ServerError, operation: &'static str) -> Self {
        Self::of_answer(error.code(), error.details().unwrap_or_default(), operation)
    }

    fn of_answer(code: &str, detail: &str, operation: &'static str) -> Self {
        let message = || if code == "ERR" { detail.to_owned() } else { format!("{code} {detail}").trim().to_owned() };
        let lower = detail.to_ascii_lowercase();
        match code {
            "OOM" => Self::OutOfMemory { operation },
            "LOADING" | "MASTERDOWN" | "CLUSTERDOWN" | "TRYAGAIN" | "BUSY" | "MOVED" | "ASK" => {
                Self::NotReady { operation, message: message() }
            }
            "READONLY" | "MISCONF" | "NOREPLICAS" => Self::ReadOnly { operation, message: message() },
            "NOAUTH" | "WRONGPASS" => Self::Authentication { message: message() },
            "NOPERM" => Self::NoPermission { operation, message: detail.to_owned() },
            // What a script may not do, though it may be run.
            _ if lower.starts_with("acl failure in script") => {
                Self::NoPermission { operation, message: detail.to_owned() }
            }
            "WRONGTYPE" => Self::WrongType { operation },
            _ if lower.contains("wrong kind of value") => Self::WrongType { operation },
            _ if lower.contains("max number of clients") => Self::NotReady { operation, message: message() },
            _ if lower.contains("unknown command") && lower.contains("ft.") => Self::SearchMissing { operation },
            _ => match missing_index(&message()) {
                Some(index) => Self::NoIndex { index },
                None => Self::Refused { operation, message: message() },
            },
        }
    }

    pub(crate) fn answer(operation: &'static str, expected: &'static str, found: &redis::Value) -> Self {
        let found = match found {
            redis::Value::Nil => "nothing",
            redis::Value::Int(_) => "an integer",
            redis::Value::Array(_) => "a list",
            redis::Value::Map(_) => "a map",
            redis::Value::BulkString(_) | redis::Value::SimpleString(_) | redis::Value::Okay => "a text",
            redis::Value::Double(_) => "a number",
            redis::Value::Boolean(_) => "a bool",
            _ => "something else",
        };
        Self::Answer { operation, expected, found: found.to_owned() }
    }
}

/// The search module says it in several ways: `idx: no such index`, `Unknown index name (or name is an alias itself)`, `Index not found: idx`.
fn missing_index(message: &str) -> Option<String> {
    let lower = message.to_ascii_lowercase();
    if let Some(at) = lower.find(": no such index") {
        return message.get(..at).map(str::to_owned);
    }
    let phrases = ["no such index", "unknown index name", "index not found"];
    phrases.iter().any(|phrase| lower.contains(phrase)).then(|| "idx:items".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_sorted_by_who_must_act() {
        let kind = |code: &str, detail: &str| RedisError::of_answer(code, detail, "search").kind();
        assert_eq!(kind("OOM", "command not allowed when used memory > 'maxmemory'."), "out_of_memory");
        assert_eq!(kind("READONLY", "You can't write against a read only replica."), "read_only");
        assert_eq!(kind("NOPERM", "User x has no permissions to run the 'ft.search' command"), "no_permission");
        let script =
            "ACL failure in script: User x has no permissions to run the 'set' command script: 89, on @user_script:1.";
        assert_eq!(kind("ERR", script), "no_permission");
        assert_eq!(kind("ERR", "unknown command 'FT.SEARCH', with args beginning with: "), "search_missing");
        assert_eq!(kind("ERR", "unknown command 'FOO'"), "refused");
        assert_eq!(kind("idx:items:", "no such index"), "no_index");
        assert_eq!(kind("Unknown", "index name"), "no_index");
        assert_eq!(kind("LOADING", "Redis is loading the dataset in memory"), "not_ready");
    }
}
