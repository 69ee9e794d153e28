//! The tables of features: what the kernel makes of the log, as a table that queries read.

use arrow_array::{RecordBatchIterator, RecordBatchReader};
use arrow_schema::{ArrowError, SchemaRef};
use tastemaker_config::Entity;
use tastemaker_features::offline::{OfflineError, Present, Shape};
use tastemaker_sql::{Hold, Table};

/// Their names, and what they have a row for.
pub(super) const TABLES: [(&str, Shape); 4] = [
    ("features", Shape::Values),
    ("user_features", Shape::Entities(Entity::User)),
    ("item_features", Shape::Entities(Entity::Item)),
    ("pair_features", Shape::Entities(Entity::Pair)),
];

/// The features of everybody, in a shape.
#[derive(Debug)]
pub(super) struct Features {
    pub(super) present: Present,
    pub(super) shape: Shape,
}

impl Table for Features {
    fn schema(&self) -> SchemaRef {
        self.present.schema(self.shape)
    }

    fn scan(&self, columns: &[usize], hold: Hold) -> Result<Box<dyn RecordBatchReader + Send>, ArrowError> {
        let schema = self.schema().project(columns)?;
        let columns = columns.to_vec();
        let batches = self.present.read(self.shape, hold).map_err(as_arrow)?;
        let batches = batches.map(move |batch| batch.map_err(as_arrow)?.project(&columns));
        Ok(Box::new(RecordBatchIterator::new(batches, schema.into())))
    }
}

/// What the log has to say stays its own error, and so does what the engine has to say.
fn as_arrow(error: OfflineError) -> ArrowError {
    match error {
        OfflineError::Stopped(error) => error,
        OfflineError::Log(error) => ArrowError::ExternalError(Box::new(error)),
        other => ArrowError::ExternalError(Box::new(other)),
    }
}
