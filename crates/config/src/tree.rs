//! Values with their origins, before they become a [`crate::Config`]: the parsed file, and the defaults, the file, the
//! environment and `--set` laid over each other.

use std::collections::BTreeMap;

use serde_json::{Map, Number, Value};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::error::{Origin, Problem};
use crate::schema::{Shape, child, nullable, shape};

/// Values by key, and where each that is not a default came from, by dotted path.
#[derive(Debug, Clone)]
pub(crate) struct Tree {
    pub(crate) root: Value,
    pub(crate) origins: BTreeMap<String, Origin>,
    pub(crate) file: String,
}

/// `parent` extended by `key`; a key that is no plain word is quoted.
pub(crate) fn join(parent: &str, key: &str) -> String {
    let plain = !key.is_empty() && key.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '-');
    let key = if plain { key.to_owned() } else { format!("{key:?}") };
    if parent.is_empty() { key } else { format!("{parent}.{key}") }
}

/// `parent` extended by a place in a list.
pub(crate) fn join_index(parent: &str, index: usize) -> String {
    format!("{parent}[{index}]")
}

/// Whether `path` is under `parent`.
pub(crate) fn lies_in(path: &str, parent: &str) -> bool {
    path.strip_prefix(parent).is_some_and(|rest| rest.starts_with(['.', '[']))
}

impl Tree {
    /// All defaults.
    pub(crate) fn defaults(defaults: Value, file: &str) -> Self {
        Self { root: defaults, origins: BTreeMap::new(), file: file.to_owned() }
    }

    /// The origin of the value at `path`, else of something in it, else of the nearest table around it.
    pub(crate) fn origin(&self, path: &str) -> Origin {
        if !self.origins.contains_key(path)
            && let Some((_, origin)) = self.origins.iter().find(|(known, _)| lies_in(known, path))
        {
            return origin.clone();
        }
        let mut path = path;
        loop {
            if let Some(origin) = self.origins.get(path) {
                return origin.clone();
            }
            match path.rfind(['.', '[']) {
                Some(end) => path = &path[..end],
                None => return Origin::Default,
            }
        }
    }

    /// A problem with the value at `path`.
    pub(crate) fn problem(&self, path: &str, message: String) -> Problem {
        Problem { key: path.to_owned(), origin: self.origin(path), message, file: self.file.clone() }
    }

    /// Lays the project file over the defaults. A table with names of the user's choice replaces its default, so that
    /// `[events]` holds what the file says and nothing else.
    pub(crate) fn lay_file(&mut self, text: &str, schema: &Value) -> Vec<Problem> {
        let (document, errors) = DeTable::parse_recoverable(text);
        let mut reader = Reader { text, tree: self, problems: Vec::new() };
        for error in errors {
            let origin = reader.place(error.span().map_or(text.len(), |span| span.start));
            let message = format!("not valid TOML: {}", error.message());
            reader.problems.push(Problem { key: String::new(), origin, message, file: reader.tree.file.clone() });
        }
        if !reader.problems.is_empty() {
            return reader.problems;
        }
        let root = reader.table(document.get_ref(), "");
        let problems = reader.problems;
        overlay(&mut self.root, root, schema);
        problems
    }

    /// Lays one value over the others. `text` is read as the schema wants it: plain text where text is due.
    pub(crate) fn lay_text(&mut self, segments: &[String], text: &str, schema: &Value, origin: Origin) {
        let mut schema = Some(schema);
        let mut node = &mut self.root;
        let mut path = String::new();
        for segment in segments {
            let index = segment.parse::<usize>().ok().filter(|i| node.as_array().is_some_and(|items| *i < items.len()));
            if let Some(index) = index {
                schema = schema.and_then(|s| child(s, ""));
                path = join_index(&path, index);
                node = &mut node[index];
                continue;
            }
            if !node.is_object() {
                *node = Value::Object(Map::new());
            }
            let Value::Object(table) = node else { return };
            let key = match table.keys().find(|key| key.eq_ignore_ascii_case(segment)) {
                Some(key) if !table.contains_key(segment) => key.clone(),
                _ => segment.clone(),
            };
            schema = schema.and_then(|s| child(s, &key));
            path = join(&path, &key);
            node = table.entry(key).or_insert(Value::Null);
        }
        *node = schema.map_or_else(|| Value::String(text.to_owned()), |schema| value_from_text(text, schema));
        self.origins.retain(|known, _| !lies_in(known, &path));
        self.origins.insert(path, origin);
    }
}

/// Text from the environment or the command line as a value for `schema`.
fn value_from_text(text: &str, schema: &Value) -> Value {
    if text.is_empty() && nullable(schema) {
        return Value::Null;
    }
    let as_toml = || {
        let parsed = DeValue::parse(text).ok()?;
        plain(parsed.get_ref())
    };
    let as_text = || Value::String(text.to_owned());
    match shape(schema) {
        Shape::Text | Shape::Choice(_) if text.starts_with('"') => as_toml().unwrap_or_else(as_text),
        Shape::Text | Shape::Choice(_) => as_text(),
        Shape::List { .. } if !text.trim_start().starts_with('[') => {
            Value::Array(text.split(',').map(|part| Value::String(part.trim().to_owned())).collect())
        }
        _ => as_toml().unwrap_or_else(as_text),
    }
}

fn overlay(below: &mut Value, above: Value, schema: &Value) {
    match (below, above) {
        (Value::Object(below), Value::Object(above)) if fixed(schema).is_some() => {
            // Names of the user's choice replace those of the default; without any, the default stays.
            if let Shape::Named { properties, .. } = shape(schema)
                && above.keys().any(|key| !properties.contains_key(key))
            {
                below.retain(|key, _| properties.contains_key(key));
            }
            for (key, value) in above {
                match (below.get_mut(&key), child(schema, &key)) {
                    (Some(old), Some(schema)) => overlay(old, value, schema),
                    _ => {
                        below.insert(key, value);
                    }
                }
            }
        }
        (below, above) => *below = above,
    }
}

/// The keys of a table that has any of its own.
fn fixed(schema: &Value) -> Option<&Map<String, Value>> {
    match shape(schema) {
        Shape::Table { properties, .. } => Some(properties),
        Shape::Named { properties, .. } => Some(properties).filter(|properties| !properties.is_empty()),
        _ => None,
    }
}

/// A value without its places; `None` where JSON has no such number.
fn plain(value: &DeValue<'_>) -> Option<Value> {
    Some(match value {
        DeValue::String(text) => Value::String(text.to_string()),
        DeValue::Boolean(b) => Value::Bool(*b),
        DeValue::Datetime(time) => Value::String(time.to_string()),
        DeValue::Integer(integer) => {
            let number = i128::from_str_radix(integer.as_str(), integer.radix()).ok()?;
            Value::Number(Number::from_i128(number)?)
        }
        DeValue::Float(float) => Value::Number(Number::from_f64(float.as_str().parse().ok()?)?),
        DeValue::Array(items) => Value::Array(items.iter().map(|v| plain(v.get_ref())).collect::<Option<_>>()?),
        DeValue::Table(table) => {
            let entries = in_file_order(table).into_iter();
            Value::Object(
                entries
                    .map(|(key, v)| Some((key.get_ref().to_string(), plain(v.get_ref())?)))
                    .collect::<Option<_>>()?,
            )
        }
    })
}

type Entry<'t, 'i> = (&'t Spanned<std::borrow::Cow<'i, str>>, &'t Spanned<DeValue<'i>>);

fn in_file_order<'t, 'i>(table: &'t DeTable<'i>) -> Vec<Entry<'t, 'i>> {
    let mut entries: Vec<_> = table.iter().collect();
    entries.sort_by_key(|(key, _)| key.span().start);
    entries
}

/// Turns the parsed file into values, writing down the place of each.
struct Reader<'a> {
    text: &'a str,
    tree: &'a mut Tree,
    problems: Vec<Problem>,
}

impl Reader<'_> {
    fn place(&self, offset: usize) -> Origin {
        let before = self.text.get(..offset).unwrap_or(self.text);
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        Origin::File {
            path: self.tree.file.clone(),
            line: before.matches('\n').count() + 1,
            column: before.get(line_start..).map_or(0, |line| line.chars().count()) + 1,
        }
    }

    fn table(&mut self, table: &DeTable<'_>, path: &str) -> Value {
        let mut values = Map::new();
        for (key, value) in in_file_order(table) {
            let path = join(path, key.get_ref());
            let origin = self.place(key.span().start);
            self.tree.origins.insert(path.clone(), origin);
            let value = self.value(value.get_ref(), &path);
            values.insert(key.get_ref().to_string(), value);
        }
        Value::Object(values)
    }

    fn value(&mut self, value: &DeValue<'_>, path: &str) -> Value {
        match value {
            DeValue::Table(table) => self.table(table, path),
            DeValue::Array(items) => {
                let items = items.iter().enumerate().map(|(index, item)| {
                    let path = join_index(path, index);
                    let origin = self.place(item.span().start);
                    self.tree.origins.insert(path.clone(), origin);
                    self.value(item.get_ref(), &path)
                });
                Value::Array(items.collect())
            }
            leaf => plain(leaf).unwrap_or_else(|| {
                let message = format!("{path} is not a finite number of 64 bits");
                let problem = self.tree.problem(path, message);
                self.problems.push(problem);
                Value::Null
            }),
        }
    }
}
