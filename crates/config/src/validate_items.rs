//! Rules of `[items.source]`.

use tastemaker_types::Window;

use crate::Config;
use crate::items::{TableName, is_name};
use crate::tree::join;
use crate::validate::Rules;

const MILLISECOND: Window = Window::from_millis(1);
const HOUR: Window = Window::from_millis(3_600_000);

impl Rules<'_> {
    pub(crate) fn items_source(&mut self, config: &Config) {
        let source = &config.items.source;
        if let Some(url) = &source.postgres {
            self.postgres(url);
        }
        if let Err(error) = source.table.parse::<TableName>() {
            self.refuse("items.source.table", format!("items.source.table: {error}"));
        }
        let columns = [
            ("items.source.id_column", Some(&source.id_column)),
            ("items.source.updated_at_column", Some(&source.updated_at_column)),
            ("items.source.deleted_column", source.deleted_column.as_ref()),
            ("items.source.notify_channel", source.notify_channel.as_ref()),
        ];
        for (path, name) in columns {
            if let Some(name) = name {
                self.identifier(path, name);
            }
        }
        for (attribute, column) in &source.columns {
            let path = join("items.source.columns", attribute);
            self.declared(&path, attribute, &config.items.attributes);
            self.identifier(&path, column);
        }
        self.within("items.source.poll_interval", source.poll_interval, Window::from_millis(100), HOUR);
        self.within("items.source.overlap", source.overlap, Window::from_millis(0), HOUR);
        self.within("items.source.ttl", source.ttl, MILLISECOND, Window::from_days(30));
        self.within("items.source.negative_ttl", source.negative_ttl, MILLISECOND, Window::from_days(30));
        self.within("items.source.timeout", source.timeout, Window::from_millis(10), Window::from_millis(60_000));
    }

    fn identifier(&mut self, path: &str, name: &str) {
        if !is_name(name) {
            self.refuse(path, format!("{path} is {name:?}; give a name of 1 to 63 bytes, as PostgreSQL knows it"));
        }
    }

    /// The URL is not repeated in what is said of it: it may hold a password.
    fn postgres(&mut self, url: &str) {
        let key = "items.source.postgres";
        if !["postgres://", "postgresql://"].iter().any(|scheme| url.starts_with(scheme)) {
            self.refuse(
                key,
                format!("{key} does not begin with postgres:// or postgresql://; write postgres://user@host/database"),
            );
        } else if let Some((_, query)) = url.split_once('?')
            && query.split('&').any(|pair| {
                let name = pair.split('=').next().unwrap_or(pair);
                name.contains('%') || name.eq_ignore_ascii_case("password")
            })
        {
            self.refuse(
                key,
                format!("{key} has a password behind its question mark, where it would be shown; set TASTEMAKER_ITEMS__SOURCE__PASSWORD"),
            );
        }
    }
}
