//! A [`Table`] as DataFusion reads it: a stream that a blocking thread fills, batch by batch, with the wanted columns alone.

use std::sync::Arc;

use arrow_schema::{ArrowError, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::error::Result;
use datafusion::execution::TaskContext;
use datafusion::execution::memory_pool::MemoryConsumer;
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::stream::RecordBatchReceiverStreamBuilder;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use datafusion::physical_plan::{ExecutionPlan, SendableRecordBatchStream};

use crate::{Hold, Table};

/// Batches that wait to be taken.
const WAITING: usize = 2;

/// A registered table.
#[derive(Debug)]
pub(super) struct Provider {
    name: String,
    table: Arc<dyn Table>,
}

impl Provider {
    pub(super) fn new(name: &str, table: Arc<dyn Table>) -> Self {
        Self { name: name.to_owned(), table }
    }
}

#[async_trait]
impl TableProvider for Provider {
    fn schema(&self) -> SchemaRef {
        self.table.schema()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        _: &dyn Session,
        projection: Option<&Vec<usize>>,
        _: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let all = self.table.schema();
        let columns = projection.cloned().unwrap_or_else(|| (0..all.fields().len()).collect());
        let schema = Arc::new(all.project(&columns)?);
        let scan =
            Scan { name: self.name.clone(), table: Arc::clone(&self.table), columns, schema: Arc::clone(&schema) };
        Ok(Arc::new(StreamingTableExec::try_new(schema, vec![Arc::new(scan)], None, [], false, limit)?))
    }
}

/// A table, and which of its columns a query wants.
#[derive(Debug)]
struct Scan {
    name: String,
    table: Arc<dyn Table>,
    columns: Vec<usize>,
    schema: SchemaRef,
}

impl PartitionStream for Scan {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let mut stream = RecordBatchReceiverStreamBuilder::new(Arc::clone(&self.schema), WAITING);
        let batches = stream.tx();
        let (table, columns) = (Arc::clone(&self.table), self.columns.clone());
        let memory = MemoryConsumer::new(format!("the table {}", self.name)).register(context.memory_pool());
        let reader = batches.clone();
        let hold: Hold = Box::new(move |bytes| {
            if reader.is_closed() {
                // Nobody is left to see this.
                return Err(ArrowError::ComputeError("the query is over".to_owned()));
            }
            memory.try_resize(bytes).map_err(|error| ArrowError::ExternalError(Box::new(error)))
        });
        stream.spawn_blocking(move || {
            for batch in table.scan(&columns, hold)? {
                if batches.blocking_send(batch.map_err(Into::into)).is_err() {
                    break;
                }
            }
            Ok(())
        });
        stream.build()
    }
}
