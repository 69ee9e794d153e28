//! The JSON schema of `tastemaker.toml`, made from the types, and the few shapes of it that the checks, the overrides and
//! the reference read.

use std::sync::LazyLock;

use schemars::generate::SchemaSettings;
use serde_json::{Map, Value};

use crate::Config;

/// The JSON schema (draft 2020-12) of `tastemaker.toml`, for editors and other tools.
pub fn schema() -> &'static Value {
    static SCHEMA: LazyLock<Value> = LazyLock::new(|| {
        let mut schema = SchemaSettings::draft2020_12()
            .with(|settings| settings.inline_subschemas = true)
            .into_generator()
            .into_root_schema_for::<Config>()
            .to_value();
        set_defaults(&mut schema, &crate::to_value(&Config::default()));
        schema
    });
    &SCHEMA
}

/// Writes the default of the whole file to each key: two tables of one type may differ in theirs.
fn set_defaults(schema: &mut Value, defaults: &Value) {
    let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) else { return };
    for (key, property) in properties {
        if let (Some(default), Some(property)) = (defaults.get(key), property.as_object_mut()) {
            property.insert("default".to_owned(), default.clone());
        }
        set_defaults(property, defaults.get(key).unwrap_or(&Value::Null));
    }
}

/// What a place in the file takes.
#[derive(Debug, Clone)]
pub(crate) enum Shape<'s> {
    /// A table with just these keys.
    Table {
        properties: &'s Map<String, Value>,
        required: Vec<&'s str>,
    },
    /// A table with keys of the user's choice, beside some that are fixed.
    Named {
        properties: &'s Map<String, Value>,
        entry: &'s Value,
    },
    List {
        item: &'s Value,
    },
    Choice(Vec<&'s str>),
    /// A number, a boolean or a text.
    Scalar,
    Text,
    Bool,
    Integer {
        least: f64,
        most: f64,
    },
    Number {
        least: f64,
        most: f64,
    },
}

/// Reads one node of the schema.
pub(crate) fn shape(schema: &Value) -> Shape<'_> {
    let schema = without_null(schema);
    if let Some(choices) = choices(schema) {
        return Shape::Choice(choices);
    }
    let bound = |name: &str, without: f64| schema.get(name).and_then(Value::as_f64).unwrap_or(without);
    let (least, most) = (bound("minimum", f64::NEG_INFINITY), bound("maximum", f64::INFINITY));
    if types(schema).filter(|kind| *kind != "null").count() > 1 {
        return Shape::Scalar;
    }
    match types(schema).find(|kind| *kind != "null") {
        Some("object") => {
            static NONE: LazyLock<Map<String, Value>> = LazyLock::new(Map::new);
            let properties = schema.get("properties").and_then(Value::as_object).unwrap_or(&NONE);
            let required = schema.get("required").and_then(Value::as_array).into_iter().flatten();
            match entry(schema) {
                Some(entry) => Shape::Named { properties, entry },
                None => Shape::Table { properties, required: required.filter_map(Value::as_str).collect() },
            }
        }
        Some("array") => Shape::List { item: schema.get("items").unwrap_or(&Value::Null) },
        Some("boolean") => Shape::Bool,
        Some("integer") => Shape::Integer { least, most },
        Some("number") => Shape::Number { least, most },
        _ => Shape::Text,
    }
}

/// Whether the key may be left without a value.
pub(crate) fn nullable(schema: &Value) -> bool {
    types(schema).any(|kind| kind == "null") || alternatives(schema).any(|s| types(s).any(|kind| kind == "null"))
}

/// The schema of what is found under `key`.
pub(crate) fn child<'s>(schema: &'s Value, key: &str) -> Option<&'s Value> {
    match shape(schema) {
        Shape::Table { properties, .. } => properties.get(key),
        Shape::Named { properties, entry } => Some(properties.get(key).unwrap_or(entry)),
        Shape::List { item } => Some(item),
        _ => None,
    }
}

/// Every key of every fixed table, dotted: `embeddings.rank`.
pub(crate) fn all_keys() -> Vec<String> {
    fn walk(schema: &Value, prefix: &str, keys: &mut Vec<String>) {
        if let Shape::Table { properties, .. } | Shape::Named { properties, .. } = shape(schema) {
            for (name, property) in properties {
                let key = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
                walk(property, &key, keys);
                keys.push(key);
            }
        }
    }
    let mut keys = Vec::new();
    walk(schema(), "", &mut keys);
    keys
}

fn entry(schema: &Value) -> Option<&Value> {
    schema.get("additionalProperties").filter(|entry| entry.is_object())
}

fn alternatives(schema: &Value) -> impl Iterator<Item = &Value> {
    schema.get("anyOf").and_then(Value::as_array).into_iter().flatten()
}

fn without_null(schema: &Value) -> &Value {
    alternatives(schema).find(|s| !types(s).any(|kind| kind == "null")).unwrap_or(schema)
}

fn types(schema: &Value) -> impl Iterator<Item = &str> {
    let kinds = schema.get("type");
    let one = kinds.and_then(Value::as_str);
    one.into_iter().chain(kinds.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str))
}

fn choices(schema: &Value) -> Option<Vec<&str>> {
    let listed = schema.get("enum").and_then(Value::as_array).map(|all| all.iter().filter_map(Value::as_str).collect());
    let described = || {
        let all = schema.get("oneOf").and_then(Value::as_array)?;
        all.iter().map(|one| one.get("const").and_then(Value::as_str)).collect()
    };
    listed.or_else(described)
}
