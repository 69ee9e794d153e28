//! Reading the table: by ids, and what changed. All that knows the client library is here.

mod columns;
mod inspect;
mod layout;
mod listen;
mod quote;
mod rows;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use sqlx::postgres::{PgArguments, PgConnectOptions, PgPoolOptions, PgRow, Postgres as Driver};
use sqlx::query::Query;
use sqlx::{Connection as _, PgConnection, PgPool};
use tastemaker_config::{ItemsConfig, TableName};
use tastemaker_types::{Timestamp, validate_id};

use crate::origin::{Known, Origin};
use crate::{Cursor, Inspection, Page, SourceError};
use layout::{IdKind, Layout};

pub use listen::Listener;

/// Reads by key, the feed, the listener, and one to spare.
const CONNECTIONS: u32 = 4;
const IDLE: Duration = Duration::from_secs(300);

/// The items' table in a PostgreSQL.
pub struct Postgres {
    items: ItemsConfig,
    /// Quoted.
    table: String,
    options: PgConnectOptions,
    pool: PgPool,
    /// Made from the table as it is, and again after an error: the table may have become another.
    layout: Mutex<Option<Arc<Layout>>>,
}

impl Postgres {
    /// Checks the settings without connecting.
    ///
    /// # Errors
    /// The setting that cannot work.
    pub fn check(items: &ItemsConfig) -> Result<(), SourceError> {
        connect_options(items).map(drop)
    }

    /// Of these settings, which name a database. It connects when it is asked. Needs a runtime.
    ///
    /// # Errors
    /// The setting that cannot work.
    pub fn new(items: &ItemsConfig) -> Result<Self, SourceError> {
        let (options, table) = connect_options(items)?;
        let pool = PgPoolOptions::new()
            .max_connections(CONNECTIONS)
            .acquire_timeout(items.source.timeout.to_duration())
            .idle_timeout(IDLE)
            .connect_lazy_with(options.clone());
        Ok(Self { items: items.clone(), table, options, pool, layout: Mutex::new(None) })
    }

    /// Every change from the cursor on, at most `limit`.
    ///
    /// # Errors
    /// The database is away, slow, or other than the settings say.
    pub async fn changes(&self, cursor: &Cursor, limit: usize) -> Result<Page, SourceError> {
        self.in_time(async {
            let layout = self.layout().await?;
            let since = cursor.updated.as_micros();
            let query = match &cursor.id {
                None => query(&layout.changes_from).bind(since),
                Some(id) => match layout.id {
                    IdKind::Integer => {
                        query(&layout.changes_after).bind(since).bind(id.parse::<i64>().unwrap_or(i64::MIN))
                    }
                    IdKind::Text | IdKind::Uuid => query(&layout.changes_after).bind(since).bind(id.clone()),
                },
            };
            let found = self.rows(query.bind(i64::try_from(limit).unwrap_or(i64::MAX))).await?;
            let full = found.len() >= limit;
            let (mut rows, mut clock) = (Vec::with_capacity(found.len()), None);
            for row in &found {
                if let Some(row) = rows::read(row, &layout).map_err(|e| self.failed(&e))? {
                    clock = Some(row.clock);
                    rows.push((row.id, row.known));
                }
            }
            let last = rows.last().filter(|_| full);
            let next = last.and_then(|(id, known)| Some(Cursor { updated: known.updated?, id: Some(id.clone()) }));
            let clock = match clock {
                Some(clock) => clock,
                None => self.clock().await?,
            };
            Ok(Page { rows, clock, next })
        })
        .await
    }

    /// Listens on a channel.
    ///
    /// # Errors
    /// The database is away or slow.
    pub async fn listen(&self, channel: &str) -> Result<Listener, SourceError> {
        self.in_time(async { Listener::new(&self.pool, channel).await.map_err(|e| self.failed(&e)) }).await
    }

    /// Connects and looks at the table.
    ///
    /// # Errors
    /// What is wrong with either.
    pub async fn inspect(&self) -> Result<Inspection, SourceError> {
        self.in_time(async {
            // A connection of its own tells why there is none; a pool only that there is none.
            let mut connection = PgConnection::connect_with(&self.options).await.map_err(|e| self.failed(&e))?;
            let found = inspect::table(&mut connection, &self.table).await?;
            let layout = Layout::new(&self.items, &self.table, &found)?;
            query(&format!("SELECT FROM {} LIMIT 0", self.table))
                .execute(&mut connection)
                .await
                .map_err(|e| self.failed(&e))?;
            let indexed = |column: &String| !found.stored || found.indexed.contains(column);
            let _ = connection.close().await;
            Ok(Inspection {
                table: self.table.clone(),
                columns: layout.attributes.len(),
                updated_is_indexed: indexed(&self.items.source.updated_at_column),
                id_is_indexed: indexed(&self.items.source.id_column),
            })
        })
        .await
    }

    async fn clock(&self) -> Result<Timestamp, SourceError> {
        let query =
            sqlx::query_scalar::<_, i64>("SELECT (extract(epoch FROM now()) * 1000000)::int8").persistent(false);
        query.fetch_one(&self.pool).await.map(Timestamp::from_micros).map_err(|e| self.failed(&e))
    }

    async fn layout(&self) -> Result<Arc<Layout>, SourceError> {
        if let Some(layout) = self.layout.lock().as_ref() {
            return Ok(Arc::clone(layout));
        }
        let found = inspect::table(&self.pool, &self.table).await?;
        let layout = Arc::new(Layout::new(&self.items, &self.table, &found)?);
        *self.layout.lock() = Some(Arc::clone(&layout));
        Ok(layout)
    }

    async fn rows(&self, query: Query<'_, Driver, PgArguments>) -> Result<Vec<PgRow>, SourceError> {
        query.fetch_all(&self.pool).await.map_err(|e| self.failed(&e))
    }

    fn failed(&self, error: &sqlx::Error) -> SourceError {
        *self.layout.lock() = None;
        SourceError::of(&self.table, error)
    }

    async fn in_time<T>(&self, work: impl Future<Output = Result<T, SourceError>>) -> Result<T, SourceError> {
        let timeout = self.items.source.timeout;
        tokio::time::timeout(timeout.to_duration(), work).await.unwrap_or(Err(SourceError::Timeout(timeout)))
    }
}

/// Without the options of the connection, which hold the password.
impl std::fmt::Debug for Postgres {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Postgres").field("table", &self.table).finish_non_exhaustive()
    }
}

#[async_trait]
impl Origin for Postgres {
    async fn fetch(&self, ids: &[String]) -> Result<Vec<Known>, SourceError> {
        self.in_time(async {
            let layout = self.layout().await?;
            let query = match layout.id {
                IdKind::Text => query(&layout.fetch).bind(possible(ids, |_| true)),
                IdKind::Uuid => query(&layout.fetch).bind(possible(ids, is_uuid)),
                // A number that is written otherwise is another id.
                IdKind::Integer => {
                    let number = |id: &String| id.parse::<i64>().ok().filter(|number| number.to_string() == **id);
                    query(&layout.fetch).bind(ids.iter().filter_map(number).collect::<Vec<i64>>())
                }
            };
            let mut found = HashMap::with_capacity(ids.len());
            for row in self.rows(query).await? {
                if let Some(row) = rows::read(&row, &layout).map_err(|e| self.failed(&e))? {
                    found.insert(row.id, row.known);
                }
            }
            Ok(ids.iter().map(|id| found.get(id).cloned().unwrap_or(Known::ABSENT)).collect())
        })
        .await
    }
}

/// The ids that the column can hold at all.
fn possible(ids: &[String], fits: impl Fn(&str) -> bool) -> Vec<String> {
    ids.iter().filter(|id| validate_id("id", id).is_ok() && fits(id)).cloned().collect()
}

/// As PostgreSQL writes one: an id is compared letter by letter.
fn is_uuid(id: &str) -> bool {
    let hyphen = |at: usize| matches!(at, 8 | 13 | 18 | 23);
    id.len() == 36
        && id.bytes().enumerate().all(|(at, byte)| match hyphen(at) {
            true => byte == b'-',
            false => matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
        })
}

/// Not kept as prepared by the server: the table may change under it, and a pooler may change the server.
fn query(sql: &str) -> Query<'_, Driver, PgArguments> {
    sqlx::query(sql).persistent(false)
}

fn connect_options(items: &ItemsConfig) -> Result<(PgConnectOptions, String), SourceError> {
    let source = &items.source;
    let setting = |key: &str, reason: String| SourceError::Setting { key: format!("items.source.{key}"), reason };
    let url = source.postgres.as_deref().unwrap_or_default();
    let mut options: PgConnectOptions = url.parse().map_err(|error: sqlx::Error| {
        setting("postgres", format!("not a URL of PostgreSQL, postgres://user@host/database: {error}"))
    })?;
    if let Some(password) = &source.password {
        options = options.password(password);
    }
    let timeout = source.timeout.to_duration().as_millis().to_string();
    options = options
        .application_name("tastemaker")
        // The server gives a query up as we do, and takes no write from us.
        .options([("statement_timeout", timeout.as_str()), ("default_transaction_read_only", "on")]);
    let table: TableName = source.table.parse().map_err(|error| setting("table", format!("{error}")))?;
    Ok((options, quote::table(&table)))
}
