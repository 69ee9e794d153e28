//! A server with a table of items, and the settings that name them.

use std::sync::Arc;

use tastemaker_config::{Config, ItemsConfig};
use tastemaker_source::{Known, Origin as _, Postgres, SourceError, State};
use tastemaker_testkit::PostgresServer;
use tastemaker_types::{Attributes, Value};

/// A shop's table, as the how-to has it.
pub(crate) const TABLE: &str = "CREATE TABLE items (
    id text PRIMARY KEY, title text, price numeric(12, 2), updated_at timestamptz NOT NULL DEFAULT clock_timestamp(), deleted boolean);
CREATE INDEX ON items (updated_at);";

pub(crate) const ATTRIBUTES: &str = "[items.attributes]\ntitle = \"text\"\nprice = \"number\"\n";

/// Settings: the attributes, and lines of `[items.source]`.
pub(crate) fn settings(server: &PostgresServer, attributes: &str, source: &str) -> ItemsConfig {
    let url = server.url("postgres");
    Config::parse(&format!("{attributes}\n[items.source]\npostgres = \"{url}\"\n{source}\n")).unwrap().items
}

/// The shop's table and its settings.
pub(crate) fn shop(source: &str) -> (PostgresServer, Postgres) {
    let server = PostgresServer::start();
    server.sql(TABLE);
    let items = settings(&server, ATTRIBUTES, source);
    let postgres = Postgres::new(&items).unwrap();
    (server, postgres)
}

pub(crate) async fn fetch(postgres: &Postgres, ids: &[&str]) -> Result<Vec<Known>, SourceError> {
    let ids: Vec<String> = ids.iter().map(|id| (*id).to_owned()).collect();
    postgres.fetch(&ids).await
}

pub(crate) fn present(attributes: &[(&str, Value)]) -> State {
    let attributes: Attributes = attributes.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
    State::Present(Arc::new(attributes))
}

pub(crate) fn titled(title: &str) -> State {
    present(&[("title", Value::Text(title.to_owned()))])
}
