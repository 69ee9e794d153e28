//! `docs/configuration.md` says what the schema says. `UPDATE_DOCS=1 cargo test -p tastemaker-config` rewrites its table.

#![allow(clippy::unwrap_used)]

use std::fmt::Write as _;
use std::path::PathBuf;

use serde_json::Value;
use tastemaker_config::schema;

const BEGIN: &str = "<!-- keys: begin -->\n";
const END: &str = "<!-- keys: end -->";

#[test]
fn the_reference_lists_every_key_as_the_schema_has_it() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/configuration.md");
    let page = std::fs::read_to_string(&path).unwrap();
    let (head, rest) = page.split_once(BEGIN).unwrap();
    let (written, tail) = rest.split_once(END).unwrap();
    let expected = reference();
    if written != expected && std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, format!("{head}{BEGIN}{expected}{END}{tail}")).unwrap();
    } else {
        assert!(
            written == expected,
            "docs/configuration.md is behind the schema; run with UPDATE_DOCS=1 to rewrite its tables"
        );
    }
}

/// One table for each section of the file.
fn reference() -> String {
    let mut text = String::new();
    for (name, section) in schema()["properties"].as_object().unwrap() {
        let named = section.get("properties").is_none() || section["additionalProperties"].is_object();
        let title = if named { format!("[{name}]: any names") } else { format!("[{name}]") };
        writeln!(text, "### `{title}`\n\n{}\n", line(section)).unwrap();
        text.push_str("| key | takes | default | what |\n| --- | --- | --- | --- |\n");
        rows(section, name, &mut text);
        text.push('\n');
    }
    text
}

fn rows(schema: &Value, path: &str, text: &mut String) {
    let tables = [
        (format!("{path}.NAME"), schema.get("additionalProperties")),
        (format!("{path}[]"), schema.get("items")),
        (path.to_owned(), Some(schema)),
    ];
    for (prefix, table) in tables {
        for (name, property) in table.and_then(|table| table["properties"].as_object()).into_iter().flatten() {
            let path = format!("{prefix}.{name}");
            if property.get("properties").is_none() {
                let (takes, default) = (takes(property), default(property));
                writeln!(text, "| `{path}` | {takes} | {default} | {} |", line(property)).unwrap();
            }
            rows(property, &path, text);
        }
    }
}

fn line(schema: &Value) -> String {
    schema["description"].as_str().unwrap().replace('\n', " ").replace('|', "\\|")
}

fn default(schema: &Value) -> String {
    match schema.get("default") {
        None => "required".to_owned(),
        Some(Value::Null) => "–".to_owned(),
        Some(value) => format!("`{value}`"),
    }
}

fn takes(schema: &Value) -> String {
    if let Some(some) = schema["anyOf"].as_array().and_then(|all| all.iter().find(|s| s["type"] != "null")) {
        return takes(some);
    }
    if let Some(choices) = schema["oneOf"].as_array() {
        let names: Vec<String> = choices.iter().map(|c| format!("`{}`", c["const"].as_str().unwrap())).collect();
        return names.join(", ");
    }
    let scalar = serde_json::json!(["number", "boolean", "string"]);
    if schema["type"].as_array().is_some_and(|kinds| kinds.starts_with(scalar.as_array().unwrap())) {
        return "a number, `true`, `false` or text".to_owned();
    }
    let kind = match &schema["type"] {
        Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).find(|kind| *kind != "null").unwrap(),
        kind => kind.as_str().unwrap(),
    };
    match kind {
        "object" => format!("names to {}", takes(&schema["additionalProperties"])),
        "array" if schema["items"].get("properties").is_some() => "a list of tables".to_owned(),
        "array" => format!("a list of {}", takes(&schema["items"])),
        "string" => match schema["pattern"].as_str() {
            Some(pattern) if pattern.contains("KiB") => "a size: `8MiB`".to_owned(),
            Some(_) => "a length of time: `30s`".to_owned(),
            None => "text".to_owned(),
        },
        "boolean" => "`true`, `false`".to_owned(),
        number => {
            let name = if number == "integer" { "a whole number" } else { "a number" };
            match (schema["minimum"].as_f64(), schema["maximum"].as_f64()) {
                (Some(least), Some(most)) => format!("{name}, {least} to {most}"),
                (Some(least), None) => format!("{name}, at least {least}"),
                _ => name.to_owned(),
            }
        }
    }
}
