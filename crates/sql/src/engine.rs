//! What a batch engine is: tables in, a query in SQL, rows out.

use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch, TimestampMicrosecondArray};
use arrow_schema::{Schema, SchemaRef};
use tastemaker_log::LogError;
use tastemaker_types::Timestamp;

use crate::Table;
use crate::table::time;

/// How much a query may take.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bytes of memory for what the query collects: joins, groups, sorted rows. An engine that can writes to temporary files
    /// beyond that; else the query fails with [`QueryError::Memory`].
    pub memory_bytes: usize,
    /// The most rows of the answer; no limit if `None`.
    pub rows: Option<usize>,
    /// Whether the query is to end now; asked several times a second.
    pub cancelled: fn() -> bool,
}

/// Why a query has no answer.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// It is more than one statement, or one that does more than read.
    #[error("{what}; only one statement that reads is run: SELECT, WITH, VALUES, EXPLAIN, DESCRIBE or SHOW")]
    ReadOnly {
        /// What it would do.
        what: String,
    },
    /// The text is no query over these tables.
    #[error("the query cannot be run: {detail}")]
    Invalid {
        /// What is wrong and, where it is known, at which line and column.
        detail: String,
    },
    /// It needs more memory than it may have.
    #[error(
        "the query needs more than the {limit_bytes} bytes of memory that it may use; allow it more, or ask for less: {detail}"
    )]
    Memory {
        /// What it may have.
        limit_bytes: usize,
        /// Which part of the query wanted more.
        detail: String,
    },
    /// It was to end.
    #[error("the query was cancelled")]
    Cancelled,
    /// The log could not be read.
    #[error(transparent)]
    Log(#[from] LogError),
    /// It failed while it ran.
    #[error("the query failed: {detail}")]
    Failed {
        /// What the engine said.
        detail: String,
    },
}

/// The answer to a query as it comes, batch by batch. Dropping it ends the query.
pub struct Rows {
    schema: SchemaRef,
    batches: Box<dyn Iterator<Item = Result<RecordBatch, QueryError>> + Send>,
}

impl Rows {
    /// Batches with these columns; the iterator ends after its first error.
    pub fn new(
        schema: SchemaRef,
        batches: impl Iterator<Item = Result<RecordBatch, QueryError>> + Send + 'static,
    ) -> Self {
        Self { schema, batches: Box::new(batches) }
    }

    /// The same rows with one more column: a time, in microseconds UTC, which is the same in all.
    pub fn with_time(self, name: &str, at: Timestamp) -> Self {
        let fields = self.schema.fields().iter().cloned().chain([Arc::new(time(name, false))]);
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let of_batches = Arc::clone(&schema);
        let with_time = move |batch: RecordBatch| {
            let times = TimestampMicrosecondArray::from_value(at.as_micros(), batch.num_rows()).with_timezone("UTC");
            let columns = batch.columns().iter().cloned().chain([Arc::new(times) as ArrayRef]).collect();
            let batch = RecordBatch::try_new(Arc::clone(&of_batches), columns);
            batch.map_err(|error| QueryError::Failed { detail: error.to_string() })
        };
        Self::new(schema, self.batches.map(move |batch| batch.and_then(&with_time)))
    }

    /// The columns of the answer.
    pub fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }
}

impl Iterator for Rows {
    type Item = Result<RecordBatch, QueryError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.batches.next()
    }
}

/// Answers queries in SQL over registered tables. It reads; no query changes anything.
pub trait BatchEngine {
    /// Makes a table known by a name, in place of one that had it.
    fn register(&mut self, name: &str, table: Arc<dyn Table>);

    /// Plans the query and starts it. The calling thread blocks here and in [`Rows`]; it must not be one of an asynchronous
    /// runtime.
    ///
    /// # Errors
    /// [`QueryError::ReadOnly`] and [`QueryError::Invalid`] before anything is read; the others may also come with the rows.
    fn query(&self, sql: &str, limits: &Limits) -> Result<Rows, QueryError>;
}
