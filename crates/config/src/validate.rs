//! Rules that hold between keys, and limits that a schema cannot say.

use std::collections::{BTreeMap, BTreeSet};

use indexmap::IndexMap;
use tastemaker_types::{AttributeType, Window, did_you_mean};

use crate::error::Problem;
use crate::tree::{Tree, join, join_index, lies_in};
use crate::{ByteSize, Config, EntityMapping, FileOptions, IMPRESSION};

pub(crate) const MAX_NAME_BYTES: usize = 64;
const MAX_ATTRIBUTES: usize = 256;
const MAX_EVENT_TYPES: usize = 64;
const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
/// Names that the API gives to what is no attribute.
const RESERVED_ATTRIBUTES: [&str; 1] = ["id"];

const MILLISECOND: Window = Window::from_millis(1);
const MINUTE: Window = Window::from_millis(60_000);
const TEN_YEARS: Window = Window::from_days(3_653);

/// Adds what is wrong with `config` to `problems`.
pub(crate) fn validate(config: &Config, tree: &Tree, problems: &mut Vec<Problem>) {
    let mut rules = Rules { tree, problems };
    rules.redis(config);
    rules.event_source(config);
    rules.project(config);
    rules.attributes("items.attributes", &config.items.attributes);
    rules.attributes("users.attributes", &config.users.attributes);
    rules.items_source(config);
    rules.events(config);
    rules.features(config);
    rules.recommend(config);
    rules.server(config);
    rules.import(config);
}

pub(crate) struct Rules<'a> {
    tree: &'a Tree,
    problems: &'a mut Vec<Problem>,
}

impl Rules<'_> {
    /// Says that the value at `path` will not do, unless a worse thing has been said of it or of what it is in.
    pub(crate) fn refuse(&mut self, path: &str, message: impl Into<String>) {
        if self.problems.iter().any(|known| known.key == path || lies_in(path, &known.key)) {
            return;
        }
        self.problems.push(self.tree.problem(path, message.into()));
    }

    /// Whether something is wrong with the value at `path` already.
    pub(crate) fn is_refused(&self, path: &str) -> bool {
        self.problems.iter().any(|known| known.key == path)
    }

    /// Whether somebody gave the value at `path`.
    pub(crate) fn is_given(&self, path: &str) -> bool {
        self.tree.origins.contains_key(path)
    }

    /// The first of two keys that somebody gave: the one to change.
    pub(crate) fn given(&self, paths: [&str; 2]) -> String {
        let given = paths.iter().find(|path| self.is_given(path));
        (*given.unwrap_or(&paths[0])).to_owned()
    }

    pub(crate) fn within<T: PartialOrd + std::fmt::Display>(&mut self, path: &str, value: T, least: T, most: T) {
        if value < least || value > most {
            self.refuse(path, format!("{path} is {value}; allowed: {least} to {most}"));
        }
    }

    fn project(&mut self, config: &Config) {
        let name = &config.project.name;
        if name.trim().is_empty() || name.len() > MAX_NAME_BYTES || name.chars().any(char::is_control) {
            self.refuse(
                "project.name",
                format!("project.name is {name:?}; give a name of at most {MAX_NAME_BYTES} bytes"),
            );
        }
        if config.storage.data_dir.as_os_str().is_empty() {
            self.refuse("storage.data_dir", "storage.data_dir is empty; give a folder, such as \"data\"");
        }
        if config.server.stateless && config.storage.online.is_none() {
            self.refuse(
                "server.stateless",
                "server.stateless needs a Redis to answer from; set storage.online, or leave server.stateless out",
            );
        }
        self.within("storage.segment_size", config.storage.segment_size, ByteSize::mib(1), ByteSize::mib(4_096));
        if config.logging.level.trim().is_empty() {
            self.refuse("logging.level", "logging.level is empty; give error, warn, info, debug or trace");
        }
        for part in config.logging.level.split(',') {
            // A module alone, or a span, is rare enough to be taken for a mistake.
            let level = part.rsplit_once('=').map_or(part, |(_, level)| level).trim();
            if !LEVELS.iter().any(|known| known.eq_ignore_ascii_case(level)) {
                let hint = did_you_mean(level, LEVELS);
                self.refuse("logging.level", format!("logging.level has no level '{level}'{hint}"));
            }
        }
    }

    fn attributes(&mut self, section: &str, attributes: &IndexMap<String, AttributeType>) {
        if attributes.len() > MAX_ATTRIBUTES {
            let count = attributes.len();
            self.refuse(
                section,
                format!("{section} declares {count} attributes; at most {MAX_ATTRIBUTES} are allowed"),
            );
        }
        let mut folded = BTreeMap::new();
        for name in attributes.keys() {
            let path = join(section, name);
            let word = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
                && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
            if !word || name.len() > MAX_NAME_BYTES {
                self.refuse(
                    &path,
                    format!(
                        "attribute '{name}' cannot be written in an expression; use letters, digits and _, not a digit first, at most {MAX_NAME_BYTES} of them"
                    ),
                );
            } else if RESERVED_ATTRIBUTES.contains(&name.to_ascii_lowercase().as_str()) {
                self.refuse(&path, format!("attribute '{name}' has a name that the API uses itself; choose another"));
            } else if let Some(first) = folded.insert(name.to_ascii_lowercase(), name) {
                self.refuse(
                    &path,
                    format!("attributes '{first}' and '{name}' differ in upper and lower case alone; rename one"),
                );
            }
        }
    }

    fn events(&mut self, config: &Config) {
        let count = config.events.iter().count();
        if count > MAX_EVENT_TYPES {
            self.refuse("events", format!("events declares {count} types; at most {MAX_EVENT_TYPES} are allowed"));
        }
        for (name, settings) in config.events.iter() {
            let path = join("events", name);
            let word = name.chars().all(|c| c.is_ascii_alphanumeric() || "_-.:".contains(c));
            if !word || name.is_empty() || name.len() > MAX_NAME_BYTES {
                self.refuse(
                    &path,
                    format!("event type {name:?} has a bad name; use letters, digits, _, -, . and :, at most {MAX_NAME_BYTES} of them"),
                );
            }
            if name == IMPRESSION && settings.positive {
                self.refuse(
                    &path,
                    "impression says that an item was shown, so it cannot be positive; declare another event type",
                );
            }
            if settings.min_value.is_some() && !settings.positive {
                self.refuse(
                    &path,
                    format!("{path} has min_value but is not positive; add positive = true or remove min_value"),
                );
            }
        }
        if !config.events.iter().any(|(_, settings)| settings.positive) {
            self.refuse(
                "events",
                "no event type is positive, so there would be nothing to learn from; set positive = true on one, such as click",
            );
        }
    }

    fn recommend(&mut self, config: &Config) {
        let recommend = &config.recommend;
        let limit = recommend.limit;
        for (name, most) in [("max_limit", recommend.max_limit), ("candidates", recommend.candidates)] {
            if limit > most {
                let path = self.given(["recommend.limit", &join("recommend", name)]);
                self.refuse(
                    &path,
                    format!("recommend.limit is {limit}, above recommend.{name}, {most}; raise {name} or lower limit"),
                );
            }
        }
        for (path, expression) in
            [("recommend.eligibility", &recommend.eligibility), ("recommend.boost", &recommend.boost)]
        {
            if expression.as_ref().is_some_and(|sql| sql.trim().is_empty()) {
                self.refuse(
                    path,
                    format!("{path} is empty; leave it out, or write an expression over item attributes"),
                );
            }
        }
        self.within("recommend.budget", recommend.budget, MILLISECOND, MINUTE);
        if let Some(period) = recommend.validate_every {
            self.within("recommend.validate_every", period, Window::from_millis(1_000), TEN_YEARS);
        }
        if recommend.budget > config.server.request_timeout {
            let (budget, timeout) = (recommend.budget, config.server.request_timeout);
            let path = self.given(["recommend.budget", "server.request_timeout"]);
            self.refuse(&path, format!("recommend.budget is {budget}, above server.request_timeout, {timeout}"));
        }
        for (stage, deadline) in &recommend.deadlines {
            self.within(&join("recommend.deadlines", stage), *deadline, MILLISECOND, recommend.budget);
        }
        self.within("recommend.popular_window", recommend.popular_window, MINUTE, TEN_YEARS);
        self.within("recommend.fresh_window", recommend.fresh_window, MINUTE, TEN_YEARS);
        let sources = &recommend.sources;
        if ![&sources.embedding, &sources.item_to_item, &sources.popular, &sources.fresh]
            .iter()
            .any(|source| source.gives())
        {
            self.refuse("recommend.sources", "no source gives candidates; enable one, with a quota other than 0");
        }
        for (name, most) in &recommend.diversity.max_per {
            let path = join("recommend.diversity.max_per", name);
            self.declared(&path, name, &config.items.attributes);
            match config.items.attributes.get(name) {
                None | Some(AttributeType::Tag | AttributeType::Tags | AttributeType::Bool) => {}
                Some(kind) => {
                    self.refuse(&path, format!("{path} needs a tag, tags or bool attribute; '{name}' is {kind}"))
                }
            }
            if *most == 0 {
                self.refuse(&path, format!("{path} is 0; allowed: at least 1"));
            }
        }
        for (index, name) in recommend.attributes.iter().flatten().enumerate() {
            self.declared(&join_index("recommend.attributes", index), name, &config.items.attributes);
        }
    }

    pub(crate) fn declared<T>(&mut self, path: &str, name: &str, known: &IndexMap<String, T>) {
        if !known.contains_key(name) {
            let hint = did_you_mean(name, known.keys().map(String::as_str));
            self.refuse(path, format!("{path} names no declared attribute: '{name}'{hint}"));
        }
    }

    fn server(&mut self, config: &Config) {
        let server = &config.server;
        self.within("server.body_limit", server.body_limit, ByteSize::kib(1), ByteSize::mib(1_024));
        self.within(
            "server.request_timeout",
            server.request_timeout,
            Window::from_millis(100),
            Window::from_millis(600_000),
        );
        self.within(
            "server.shutdown_grace",
            server.shutdown_grace,
            Window::from_millis(0),
            Window::from_millis(600_000),
        );
        if !server.listen.ip().is_loopback() && server.api_keys.is_empty() {
            let listen = server.listen;
            self.refuse(
                "server.listen",
                format!("server.listen is {listen}, which others can reach, but no API key is set; add [[server.api_keys]] or listen on 127.0.0.1"),
            );
        }
        let (mut names, mut hashes) = (BTreeSet::new(), BTreeSet::new());
        for (index, key) in server.api_keys.iter().enumerate() {
            let path = join_index("server.api_keys", index);
            if key.name.trim().is_empty() || !names.insert(key.name.as_str()) {
                self.refuse(
                    &join(&path, "name"),
                    format!("{path}.name is {:?}; give each key a name of its own", key.name),
                );
            }
            if key.hash.len() != 64 || !key.hash.bytes().all(|b| b.is_ascii_hexdigit()) {
                self.refuse(
                    &join(&path, "hash"),
                    format!("{path}.hash is not a SHA-256 in 64 hexadecimal digits; make one with: printf %s \"$KEY\" | sha256sum"),
                );
            } else if !hashes.insert(key.hash.to_ascii_lowercase()) {
                self.refuse(&join(&path, "hash"), format!("{path}.hash is that of another key; give each its own"));
            }
            if key.scopes.is_empty() {
                self.refuse(&join(&path, "scopes"), format!("{path}.scopes is empty; give read, write or admin"));
            }
        }
    }

    fn import(&mut self, config: &Config) {
        let import = &config.import;
        self.file("import.events.file", &import.events.file);
        if let Some(name) = &import.events.event_type {
            if let Err(error) = config.events.get(name) {
                self.refuse("import.events.type", format!("import.events.type: {error}"));
            }
            if import.events.columns.event_type.is_some() {
                self.refuse(
                    "import.events.type",
                    "import.events.type and import.events.columns.type are both set; keep one",
                );
            }
        }
        self.mapping("import.items", &import.items, &config.items.attributes);
        self.mapping("import.users", &import.users, &config.users.attributes);
    }

    fn mapping(&mut self, section: &str, mapping: &EntityMapping, attributes: &IndexMap<String, AttributeType>) {
        self.file(&join(section, "file"), &mapping.file);
        for name in mapping.attributes.keys() {
            self.declared(&format!("{section}.attributes.{name}"), name, attributes);
        }
    }

    fn file(&mut self, path: &str, options: &FileOptions) {
        let Some(delimiter) = &options.delimiter else { return };
        let one = delimiter.len() == 1 && !delimiter.contains(['"', '\n', '\r']);
        if !one && delimiter != "::" {
            let path = join(path, "delimiter");
            self.refuse(&path, format!("{path} is {delimiter:?}; give one ASCII character, or \"::\""));
        }
    }
}
