//! Checks values against the schema: unknown keys, wrong types, numbers out of range, names that are no choice. A bad
//! value is reported and replaced by its default, so that one run finds every problem.

use serde_json::Value;
use tastemaker_types::{did_you_mean, nearest};

use crate::Config;
use crate::error::Problem;
use crate::schema::{Shape, all_keys, child, nullable, shape};
use crate::tree::{Tree, join, join_index};

/// Checks and mends `tree`, then makes the typed configuration of it.
pub(crate) fn typed(tree: &mut Tree, schema: &Value, problems: &mut Vec<Problem>) -> Config {
    let mut root = std::mem::take(&mut tree.root);
    let mut checker = Checker { tree, problems };
    checker.check(&mut root, schema, "");
    // What the schema cannot say (addresses, windows, sizes) the types say, one error at a time.
    for _ in 0..MOST_MENDED {
        match serde_path_to_error::deserialize::<_, Config>(&root) {
            Ok(config) => {
                tree.root = root;
                return config;
            }
            Err(error) => {
                let (path, pointer) = paths(error.path());
                let message = format!("{path}: {}", error.inner());
                problems.push(tree.problem(&path, message));
                if !mend(&mut root, schema, &pointer) {
                    break;
                }
            }
        }
    }
    Config::default()
}

/// No file has more mistakes than a reader wants to see at once.
const MOST_MENDED: usize = 100;

struct Checker<'a> {
    tree: &'a Tree,
    problems: &'a mut Vec<Problem>,
}

impl Checker<'_> {
    fn report(&mut self, path: &str, message: String) {
        self.problems.push(self.tree.problem(path, message));
    }

    /// Checks one value; what does not fit is replaced.
    fn check(&mut self, value: &mut Value, schema: &Value, path: &str) {
        if value.is_null() {
            // Left out, or a number that JSON has not, which was reported where it was read.
            if !nullable(schema) {
                *value = replacement(schema);
            }
            return;
        }
        let fits = match (shape(schema), &mut *value) {
            (Shape::Table { properties, required }, Value::Object(table)) => {
                table.retain(|key, _| {
                    let known = properties.contains_key(key);
                    if !known {
                        let hint = suggest(key, path, properties.keys().map(String::as_str));
                        let full = join(path, key);
                        self.report(&full, format!("unknown key '{full}'{hint}"));
                    }
                    known
                });
                for key in required {
                    if !table.contains_key(key) {
                        self.report(&join(path, key), format!("{path} has no '{key}'"));
                        table.insert(key.to_owned(), properties.get(key).map_or(Value::Null, replacement));
                    }
                }
                for (key, value) in table.iter_mut() {
                    if let Some(property) = properties.get(key) {
                        self.check(value, property, &join(path, key));
                    }
                }
                true
            }
            (Shape::Named { properties, entry }, Value::Object(table)) => {
                for (key, value) in table.iter_mut() {
                    self.check(value, properties.get(key).unwrap_or(entry), &join(path, key));
                }
                true
            }
            (Shape::List { item }, Value::Array(items)) => {
                for (index, value) in items.iter_mut().enumerate() {
                    self.check(value, item, &join_index(path, index));
                }
                true
            }
            (Shape::Choice(choices), Value::String(text)) => {
                let fits = choices.contains(&text.as_str());
                if !fits {
                    let hint = did_you_mean(text, choices.iter().copied());
                    self.report(path, format!("{path} is \"{text}\"{hint}"));
                }
                fits
            }
            (Shape::Scalar, Value::Number(_) | Value::Bool(_) | Value::String(_)) => true,
            (Shape::Text, Value::String(_)) | (Shape::Bool, Value::Bool(_)) => true,
            (Shape::Integer { least, most }, Value::Number(n)) if n.is_i64() || n.is_u64() => {
                self.in_range(n.as_f64().unwrap_or(f64::NAN), least, most, path)
            }
            (Shape::Number { least, most }, Value::Number(n)) => {
                self.in_range(n.as_f64().unwrap_or(f64::NAN), least, most, path)
            }
            (expected, given) => {
                self.report(path, format!("{path} is {}; it takes {}", describe(given), takes(&expected)));
                false
            }
        };
        if !fits {
            *value = replacement(schema);
        }
    }

    fn in_range(&mut self, number: f64, least: f64, most: f64, path: &str) -> bool {
        let fits = number >= least && number <= most;
        if !fits {
            self.report(path, format!("{path} is {number}; allowed: {}", range(least, most)));
        }
        fits
    }
}

/// `1 to 4096`, `at least 0`.
pub(crate) fn range(least: f64, most: f64) -> String {
    match (least.is_finite(), most.is_finite()) {
        (true, true) => format!("{least} to {most}"),
        (true, false) => format!("at least {least}"),
        (false, true) => format!("at most {most}"),
        (false, false) => "any".to_owned(),
    }
}

/// A near key beside the mistyped one, else the same key in another section, else what there is.
fn suggest<'a>(key: &str, path: &str, beside: impl Iterator<Item = &'a str> + Clone) -> String {
    if nearest(key, beside.clone()).is_none() {
        let elsewhere = all_keys();
        let same = |full: &&String| full.rsplit('.').next() == Some(key) && full.as_str() != join(path, key);
        if let Some(full) = elsewhere.iter().find(same) {
            return format!("; did you mean '{full}'?");
        }
    }
    did_you_mean(key, beside)
}

fn describe(value: &Value) -> String {
    match value {
        Value::Null => "empty".to_owned(),
        Value::Bool(b) => b.to_string(),
        Value::Number(n) => n.to_string(),
        Value::String(text) => format!("{text:?}"),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "a table".to_owned(),
    }
}

fn takes(shape: &Shape<'_>) -> String {
    match shape {
        Shape::Table { .. } | Shape::Named { .. } => "a table".to_owned(),
        Shape::List { .. } => "a list".to_owned(),
        Shape::Choice(choices) => format!("one of: {}", choices.join(", ")),
        Shape::Scalar => "a number, true or false, or text in quotes".to_owned(),
        Shape::Text => "text in quotes".to_owned(),
        Shape::Bool => "true or false".to_owned(),
        Shape::Integer { .. } => "a whole number".to_owned(),
        Shape::Number { .. } => "a number".to_owned(),
    }
}

/// Something that the types accept in place of a bad value.
fn replacement(schema: &Value) -> Value {
    if let Some(default) = schema.get("default") {
        return default.clone();
    }
    match shape(schema) {
        Shape::Choice(choices) => choices.first().map_or(Value::Null, |first| Value::String((*first).to_owned())),
        Shape::Table { properties, .. } | Shape::Named { properties, .. } => {
            Value::Object(properties.iter().map(|(key, property)| (key.clone(), replacement(property))).collect())
        }
        Shape::List { .. } => Value::Array(Vec::new()),
        Shape::Text => Value::String(String::new()),
        Shape::Bool | Shape::Scalar => Value::Bool(false),
        Shape::Integer { least, .. } | Shape::Number { least, .. } => {
            Value::from(if least.is_finite() { least } else { 0.0 } as i64)
        }
    }
}

/// The dotted path of an error, and the same as steps.
fn paths(path: &serde_path_to_error::Path) -> (String, Vec<Step>) {
    use serde_path_to_error::Segment;
    let (mut dotted, mut steps) = (String::new(), Vec::new());
    for segment in path {
        match segment {
            Segment::Seq { index } => {
                dotted = join_index(&dotted, *index);
                steps.push(Step::Index(*index));
            }
            Segment::Map { key } | Segment::Enum { variant: key } => {
                dotted = join(&dotted, key);
                steps.push(Step::Key(key.clone()));
            }
            Segment::Unknown => {}
        }
    }
    (dotted, steps)
}

enum Step {
    Key(String),
    Index(usize),
}

/// Replaces the value at `steps`; false if there is none, or nothing better to put there.
fn mend(root: &mut Value, schema: &Value, steps: &[Step]) -> bool {
    let (mut node, mut schema) = (root, schema);
    for step in steps {
        let (next, next_schema) = match step {
            Step::Key(key) => (node.get_mut(key), child(schema, key)),
            Step::Index(index) => (node.get_mut(index), child(schema, "")),
        };
        match (next, next_schema) {
            (Some(next), Some(next_schema)) => (node, schema) = (next, next_schema),
            _ => return false,
        }
    }
    let better = replacement(schema);
    let changes = *node != better;
    *node = better;
    changes
}
