//! What a query reads: tables that give out some of their columns as record batches, and those that every project has.

use std::fmt;
use std::sync::Arc;

use arrow_array::RecordBatchReader;
use arrow_schema::{ArrowError, DataType, Field, SchemaRef, TimeUnit};
use tastemaker_log::LogReader;
use tastemaker_types::{AttributeSchema, Position};

use crate::entities::{Entities, Kind};
use crate::events::Events;
use crate::recommendations::Recommendations;

/// Told of the bytes that a scan holds now beyond the batch it is about to give out, before it takes more. An error ends the
/// scan: the query is over, or has no such memory.
pub type Hold = Box<dyn FnMut(usize) -> Result<(), ArrowError> + Send>;

/// A table that queries read.
pub trait Table: fmt::Debug + Send + Sync {
    /// All columns.
    fn schema(&self) -> SchemaRef;

    /// Reads the columns with these indexes of [`Table::schema`], in this order; with none, batches have rows alone. Blocks,
    /// as does the reader.
    ///
    /// # Errors
    /// The table cannot be read, or `hold` refuses. What the log has to say is a [`LogError`](tastemaker_log::LogError) in
    /// [`ArrowError::ExternalError`].
    fn scan(&self, columns: &[usize], hold: Hold) -> Result<Box<dyn RecordBatchReader + Send>, ArrowError>;
}

/// A table and the name it has in queries.
pub type NamedTable = (&'static str, Arc<dyn Table>);

/// The tables of a project by name: `events`, `items`, `users` and `recommendations`, all as the log is at `end`. What is
/// written later is not in them, so that one query sees one state.
pub fn project_tables(
    log: &LogReader,
    end: Position,
    items: AttributeSchema,
    users: AttributeSchema,
) -> [NamedTable; 4] {
    let log = LogUpTo { reader: log.clone(), end };
    [
        ("events", Arc::new(Events { log: log.clone() })),
        ("items", Arc::new(Entities::new(log.clone(), Kind::Items, items))),
        ("users", Arc::new(Entities::new(log.clone(), Kind::Users, users))),
        ("recommendations", Arc::new(Recommendations { log })),
    ]
}

/// A log up to a position.
#[derive(Debug, Clone)]
pub(crate) struct LogUpTo {
    pub(crate) reader: LogReader,
    pub(crate) end: Position,
}

impl LogUpTo {
    /// All records but events.
    pub(crate) fn without_events(
        &self,
    ) -> impl Iterator<Item = Result<tastemaker_types::Record, ArrowError>> + Send + use<> {
        let end = self.end;
        let records = self.reader.read_from(Position(0)).without_events();
        records
            .take_while(move |record| record.as_ref().map_or(true, |(position, _)| *position < end))
            .map(|record| record.map(|(_, record)| record).map_err(|error| ArrowError::ExternalError(Box::new(error))))
    }
}

pub(crate) fn text(name: &str, nullable: bool) -> Field {
    Field::new(name, DataType::Utf8, nullable)
}

/// Microseconds, UTC.
pub(crate) fn time(name: &str, nullable: bool) -> Field {
    Field::new(name, DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), nullable)
}
