//! The table `events`: every event of the log, in log order.

use arrow_array::RecordBatchReader;
use arrow_schema::{ArrowError, SchemaRef};
use tastemaker_log::event_schema;

use crate::table::{Hold, LogUpTo, Table};

/// A row for each event; the columns are [`event_schema`].
#[derive(Debug)]
pub(crate) struct Events {
    pub(crate) log: LogUpTo,
}

impl Table for Events {
    fn schema(&self) -> SchemaRef {
        event_schema()
    }

    fn scan(&self, columns: &[usize], _: Hold) -> Result<Box<dyn RecordBatchReader + Send>, ArrowError> {
        // Nothing is held beyond a batch.
        Ok(Box::new(self.log.reader.event_batches(Some(columns), self.log.end)?))
    }
}
