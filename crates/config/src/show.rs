//! Every effective value with its origin, for `tastemaker config show`. Secrets are left out.

use std::fmt::Write as _;

use serde::Serialize;
use serde_json::Value;

use crate::error::Origin;
use crate::load::Loaded;
use crate::schema::{Shape, child, schema, shape};
use crate::tree::{join, join_index};

/// One effective value.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Setting {
    /// The dotted key: `embeddings.rank`.
    pub key: String,
    /// The value; `null` where nothing is set. A secret is the text `<secret>`.
    pub value: Value,
    /// Where it came from.
    pub origin: Origin,
}

impl Loaded {
    /// Every effective value, in the order of the reference.
    pub fn settings(&self) -> Vec<Setting> {
        let mut settings = Vec::new();
        let mut written = crate::to_value(&self.config);
        // As it was written, not as it was resolved.
        if let Some(data_dir) = self.tree.root.pointer("/storage/data_dir") {
            written["storage"]["data_dir"] = data_dir.clone();
        }
        if let Some(views) = self.tree.root.pointer("/feature_views") {
            for index in 0..self.config.feature_views.len() {
                for key in ["path", "query_file"] {
                    if let Some(path) = views.pointer(&format!("/{index}/{key}")) {
                        written["feature_views"][index][key] = path.clone();
                    }
                }
            }
        }
        self.walk(&written, schema(), "", &mut settings);
        settings
    }

    /// [`Loaded::settings`] as lines of `key = value  # origin`.
    pub fn show(&self) -> String {
        let settings = self.settings();
        let lines: Vec<(String, String)> = settings
            .iter()
            .map(|setting| {
                let line = match &setting.value {
                    Value::Null => format!("{} is not set", setting.key),
                    value => format!("{} = {value}", setting.key),
                };
                (line, setting.origin.to_string())
            })
            .collect();
        let width = lines.iter().map(|(line, _)| line.chars().count()).filter(|n| *n <= 60).max().unwrap_or(0);
        lines.iter().fold(String::new(), |mut text, (line, origin)| {
            let _ = writeln!(text, "{line:<width$}  # {origin}");
            text
        })
    }

    fn walk(&self, value: &Value, schema: &Value, path: &str, settings: &mut Vec<Setting>) {
        match (shape(schema), value) {
            (Shape::Table { .. } | Shape::Named { .. }, Value::Object(table)) if !table.is_empty() => {
                for (key, value) in table {
                    if let Some(schema) = child(schema, key) {
                        self.walk(value, schema, &join(path, key), settings);
                    }
                }
            }
            (Shape::List { item }, Value::Array(items))
                if matches!(shape(item), Shape::Table { .. }) && !items.is_empty() =>
            {
                for (index, value) in items.iter().enumerate() {
                    self.walk(value, item, &join_index(path, index), settings);
                }
            }
            _ => {
                let secret = schema.get("x-secret").and_then(Value::as_bool).unwrap_or(false);
                let value = if secret && !value.is_null() { Value::from("<secret>") } else { without_password(value) };
                settings.push(Setting { key: path.to_owned(), value, origin: self.origin(path) });
            }
        }
    }

    /// Where the value of the dotted `key` itself was given: a key that a table leaves out is a default, wherever the table is.
    pub fn origin(&self, key: &str) -> Origin {
        self.tree.origins.get(key).cloned().unwrap_or(Origin::Default)
    }
}

/// A URL loses the password between `:` and `@`.
fn without_password(value: &Value) -> Value {
    let hidden = || {
        let text = value.as_str()?;
        let (scheme, rest) = text.split_once("://")?;
        // The last @: a password may hold one, and a slash, though it should not.
        let (user, host) = rest.rsplit_once('@')?;
        let user = user.split(':').next()?;
        Some(Value::from(format!("{scheme}://{user}:<secret>@{host}")))
    };
    hidden().unwrap_or_else(|| value.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_in_a_url_is_hidden() {
        let shown = without_password(&Value::from("redis://me:hunter2@cache:6379/0"));
        assert_eq!(shown, Value::from("redis://me:<secret>@cache:6379/0"));
        let shown = without_password(&Value::from("rediss://:pa/ss@w@cache:6379/0"));
        assert_eq!(shown, Value::from("rediss://:<secret>@cache:6379/0"));
        for plain in ["redis://cache:6379", "a:b@c", "text"] {
            assert_eq!(without_password(&Value::from(plain)), Value::from(plain));
        }
    }
}
