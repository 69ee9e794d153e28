//! Rules of `[redis]`, of the URL in `storage.online`, and of `[events.source]`.

use tastemaker_types::Window;

use crate::tree::{join, join_index};
use crate::validate::Rules;
use crate::{Config, Entity, RedisTopology};

const MILLISECOND: Window = Window::from_millis(1);
const MINUTE: Window = Window::from_millis(60_000);
const SECOND: Window = Window::from_millis(1_000);
/// With the id of an entry, a stream's key is still an id of an event.
const MAX_STREAM_BYTES: usize = 256;
const MAX_PREFIX_BYTES: usize = 64;
const MAX_NODES: usize = 256;

impl Rules<'_> {
    pub(crate) fn redis(&mut self, config: &Config) {
        let redis = &config.redis;
        if redis.prefix.len() > MAX_PREFIX_BYTES || redis.prefix.chars().any(|c| c.is_control() || "{}".contains(c)) {
            let message = format!(
                "redis.prefix is {:?}; give at most {MAX_PREFIX_BYTES} bytes without control characters, {{ and }}",
                redis.prefix
            );
            self.refuse("redis.prefix", message);
        }
        if ["item:", "user:"].iter().any(|names| redis.prefix.contains(names)) {
            let message = format!(
                "redis.prefix {:?} has item: or user: in it, so that another project could take its keys for items or users; choose another",
                redis.prefix
            );
            self.refuse("redis.prefix", message);
        }
        self.within("redis.connect_timeout", redis.connect_timeout, MILLISECOND, MINUTE);
        self.within("redis.command_timeout", redis.command_timeout, MILLISECOND, MINUTE);
        self.within("redis.bulk_timeout", redis.bulk_timeout, redis.command_timeout, Window::from_millis(600_000));
        self.within("redis.tombstone_ttl", redis.tombstone_ttl, MINUTE, Window::from_days(3_653));
        self.within("redis.breaker.probe_interval", redis.breaker.probe_interval, Window::from_millis(10), MINUTE);
        if redis.nodes.len() > MAX_NODES {
            self.refuse("redis.nodes", format!("redis.nodes has {} addresses; at most {MAX_NODES}", redis.nodes.len()));
        }
        if redis.topology == RedisTopology::Standalone && !redis.nodes.is_empty() {
            self.refuse(
                "redis.nodes",
                "redis.nodes are addresses of sentinels or cluster nodes; set redis.topology to sentinel or cluster, or remove them",
            );
        }
        for (index, node) in redis.nodes.iter().enumerate() {
            let port = node.rsplit_once(':').filter(|(host, _)| !host.is_empty()).map(|(_, port)| port.parse::<u16>());
            if !matches!(port, Some(Ok(_))) {
                let path = join_index("redis.nodes", index);
                self.refuse(&path, format!("{path} is {node:?}; write a host and port, such as \"10.0.0.2:6379\""));
            }
        }
        if redis.topology == RedisTopology::Sentinel && redis.sentinel.master.trim().is_empty() {
            self.refuse(
                "redis.sentinel.master",
                "redis.sentinel.master is empty; give the sentinels' name of the master",
            );
        }
        if redis.tls.cert_file.is_some() != redis.tls.key_file.is_some() {
            let (has, lacks) = match redis.tls.cert_file {
                Some(_) => ("redis.tls.cert_file", "redis.tls.key_file"),
                None => ("redis.tls.key_file", "redis.tls.cert_file"),
            };
            self.refuse(has, format!("{has} is set without {lacks}; give both or none"));
        }
        if let Some(url) = &config.storage.online {
            self.redis_url("storage.online", url, "leave it out to keep online state in the process");
            let database = url.splitn(4, '/').nth(3).map_or("", |path| path.split('?').next().unwrap_or_default());
            if !matches!(database, "" | "0") {
                self.refuse(
                    "storage.online",
                    "storage.online names another database than 0, where the search module makes no index; leave the number out, and set redis.prefix to keep projects apart",
                );
            }
            for (section, attributes) in
                [("items.attributes", &config.items.attributes), ("users.attributes", &config.users.attributes)]
            {
                for name in attributes.keys().filter(|name| reserved(name)) {
                    let message =
                        format!("attribute '{name}' has a name that the vectors in Redis use; choose another");
                    self.refuse(&join(section, name), message);
                }
            }
            for (index, feature) in config.features.iter().enumerate() {
                if feature.entity == Entity::User && reserved(&feature.name) {
                    let name = &feature.name;
                    let message = format!("feature '{name}' has a name that the vectors in Redis use; choose another");
                    self.refuse(&join(&join_index("features", index), "name"), message);
                }
            }
        }
    }

    pub(crate) fn event_source(&mut self, config: &Config) {
        let source = &config.events.source;
        if let Some(url) = &source.url {
            self.redis_url("events.source.url", url, "leave it out to read the stream at storage.online");
        }
        let names = [
            ("redis_stream", source.redis_stream.as_ref()),
            ("group", Some(&source.group)),
            ("consumer", source.consumer.as_ref()),
            ("dead_letter", source.dead_letter.as_ref()),
        ];
        for (key, name) in names {
            if name.is_some_and(|n| n.is_empty() || n.len() > MAX_STREAM_BYTES || n.chars().any(char::is_control)) {
                let path = join("events.source", key);
                let message =
                    format!("{path} is empty, too long or has control characters; give 1 to {MAX_STREAM_BYTES} bytes");
                self.refuse(&path, message);
            }
        }
        self.within("events.source.claim_after", source.claim_after, SECOND, Window::from_days(1));
        let Some(stream) = &source.redis_stream else { return };
        if source.url.is_none() && config.storage.online.is_none() {
            let message = format!(
                "events.source.redis_stream is {stream:?}, but no Redis is named; set events.source.url, such as \"redis://127.0.0.1:6379\", or storage.online"
            );
            self.refuse("events.source.redis_stream", message);
        }
        if source.dead_letter.as_ref() == Some(stream) {
            self.refuse(
                "events.source.dead_letter",
                "events.source.dead_letter is the stream itself; refused entries need another one",
            );
        }
        let most = config.server.batch_limit;
        if source.batch > most {
            let path = self.given(["events.source.batch", "server.batch_limit"]);
            let batch = source.batch;
            self.refuse(
                &path,
                format!(
                    "events.source.batch is {batch}, above server.batch_limit, {most}; lower it, or raise the limit"
                ),
            );
        }
    }

    /// The URL is not repeated in what is said of it: it may hold a password.
    fn redis_url(&mut self, key: &str, url: &str, or: &str) {
        let rest = ["redis://", "rediss://"].iter().find_map(|scheme| url.strip_prefix(scheme));
        match rest {
            None => self.refuse(
                key,
                format!("{key} does not begin with redis:// or rediss://; write redis://host:6379, or {or}"),
            ),
            Some(rest)
                if rest.rsplit('@').next().is_none_or(|host| host.is_empty() || host.starts_with(['/', ':'])) =>
            {
                self.refuse(key, format!("{key} names no host; write redis://host:6379"));
            }
            Some(_) => {}
        }
    }
}

/// What the layout in Redis calls vectors and the search calls distances.
fn reserved(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    name == "embedding" || name.starts_with("embedding_") || name.starts_with("__")
}
