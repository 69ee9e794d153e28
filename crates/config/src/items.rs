//! `[items]`: their attributes, and the database that they may come from.

use std::fmt;
use std::str::FromStr;

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tastemaker_types::{AttributeSchema, AttributeType, Window};

use crate::events::schema_of;

/// `[items]`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ItemsConfig {
    /// Attributes by name, each `tag`, `tags`, `text`, `number`, `bool` or `time`. Anything not declared here is refused
    /// by the API and skipped by `import`.
    pub attributes: IndexMap<String, AttributeType>,
    /// The database that knows the items, where that is not us.
    pub source: ItemsSourceConfig,
}

impl ItemsConfig {
    /// The attributes as a schema that checks values, in declaration order.
    pub fn schema(&self) -> AttributeSchema {
        schema_of(&self.attributes)
    }
}

/// `[items.source]`. It counts only where `items.source.postgres` is set.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ItemsSourceConfig {
    /// The URL of the PostgreSQL that knows the items: `postgres://user@host/database`. Left out: items come over HTTP and from
    /// `import` alone.
    pub postgres: Option<String>,
    /// The password, if `items.source.postgres` does not hold it. Better given as `TASTEMAKER_ITEMS__SOURCE__PASSWORD` than in a
    /// file.
    #[schemars(extend("x-secret" = true))]
    pub password: Option<String>,
    /// The table or view, `schema.table` or `table`, in the very letters that it has. A name with a dot stands in double quotes.
    pub table: String,
    /// The column of an item's id: text, an integer or a uuid.
    pub id_column: String,
    /// Columns by attribute. An attribute that is not named here has the column of its own name.
    pub columns: IndexMap<String, String>,
    /// The column that says when a row was last written, a timestamp.
    pub updated_at_column: String,
    /// The column that says that an item is gone: a bool that is true, or a timestamp that is set. Left out: rows are there or not.
    pub deleted_column: Option<String>,
    /// How often changes are asked for.
    pub poll_interval: Window,
    /// How far back each time is looked again: longer than the longest transaction that writes items, since it is seen only once it
    /// has ended.
    pub overlap: Window,
    /// The channel on which `NOTIFY` tells of changes as they happen: an item's id, or nothing, for "look now". Left out: nobody tells.
    pub notify_channel: Option<String>,
    /// How long an item that was read by its id is not read again, give or take a tenth.
    pub ttl: Window,
    /// The same for an id that was not found.
    pub negative_ttl: Window,
    /// The most rows read at once.
    #[schemars(range(min = 1, max = 10_000))]
    pub batch: usize,
    /// The longest time for one query, and the longest that a request waits for it.
    pub timeout: Window,
    /// The most ids whose answer is remembered.
    #[schemars(range(min = 1, max = 10_000_000))]
    pub capacity: u64,
}

impl Default for ItemsSourceConfig {
    fn default() -> Self {
        Self {
            postgres: None,
            password: None,
            table: "public.items".to_owned(),
            id_column: "id".to_owned(),
            columns: IndexMap::new(),
            updated_at_column: "updated_at".to_owned(),
            deleted_column: None,
            poll_interval: Window::from_millis(5_000),
            overlap: Window::from_millis(30_000),
            notify_channel: None,
            ttl: Window::from_millis(10 * 60_000),
            negative_ttl: Window::from_millis(30_000),
            batch: 500,
            timeout: Window::from_millis(2_000),
            capacity: 100_000,
        }
    }
}

/// Without what may hold a password.
impl fmt::Debug for ItemsSourceConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ItemsSourceConfig")
            .field("postgres", &self.postgres.as_ref().map(|_| "<secret>"))
            .field("table", &self.table)
            .field("id_column", &self.id_column)
            .field("columns", &self.columns)
            .field("updated_at_column", &self.updated_at_column)
            .field("deleted_column", &self.deleted_column)
            .finish_non_exhaustive()
    }
}

/// The name of a table, with its schema if that was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableName {
    /// The schema.
    pub schema: Option<String>,
    /// The table or view.
    pub name: String,
}

/// A text that is no name of a table.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} names no table; write \"table\" or \"schema.table\", and a name with a dot or quote in double quotes")]
pub struct NotATable(String);

impl FromStr for TableName {
    type Err = NotATable;

    fn from_str(text: &str) -> Result<Self, NotATable> {
        let refuse = || NotATable(text.to_owned());
        let (first, rest) = part(text).ok_or_else(refuse)?;
        let (schema, name) = match rest.strip_prefix('.') {
            None if rest.is_empty() => (None, first),
            None => return Err(refuse()),
            Some(rest) => match part(rest) {
                Some((name, "")) => (Some(first), name),
                _ => return Err(refuse()),
            },
        };
        Ok(Self { schema, name })
    }
}

/// The first name, in double quotes or up to a dot, and what follows it.
fn part(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find('.').unwrap_or(text.len());
        let (name, rest) = text.split_at_checked(end)?;
        return is_name(name).then(|| (name.to_owned(), rest));
    };
    let (mut name, mut rest) = (String::new(), quoted);
    loop {
        let (before, after) = rest.split_once('"')?;
        name.push_str(before);
        match after.strip_prefix('"') {
            // A doubled quote is one of the name.
            Some(after) => {
                name.push('"');
                rest = after;
            }
            None => return is_name(&name).then_some((name, after)),
        }
    }
}

/// PostgreSQL cuts longer names off in silence.
const MAX_IDENTIFIER_BYTES: usize = 63;

/// Whether PostgreSQL could have something of this name.
pub(crate) fn is_name(name: &str) -> bool {
    !name.is_empty() && name.len() <= MAX_IDENTIFIER_BYTES && !name.contains('\0')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_read_as_it_is_written() {
        let read = |text: &str| text.parse::<TableName>().map(|table| (table.schema, table.name)).ok();
        let table = |schema: Option<&str>, name: &str| Some((schema.map(str::to_owned), name.to_owned()));
        assert_eq!(read("items"), table(None, "items"));
        assert_eq!(read("public.items"), table(Some("public"), "items"));
        assert_eq!(read("Shop.Items; DROP TABLE x --"), table(Some("Shop"), "Items; DROP TABLE x --"));
        assert_eq!(read(r#""my.shop"."say ""items""""#), table(Some("my.shop"), r#"say "items""#));
        for bad in ["", ".", "a.", ".a", "a.b.c", "\"a", "\"a\"b", "\"\"", &"x".repeat(64)] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }
}
