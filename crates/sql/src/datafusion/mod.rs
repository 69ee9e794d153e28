//! The embedded engine: Apache DataFusion over the registered tables, with a memory limit and temporary files beyond it.
//! Only here is anything known of DataFusion or of an asynchronous runtime.

mod error;
mod provider;
mod statement;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use datafusion::execution::memory_pool::FairSpillPool;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::SendableRecordBatchStream;
use datafusion::prelude::{SQLOptions, SessionConfig, SessionContext};
use futures::StreamExt;
use tokio::runtime::{Builder, Handle, Runtime};

use crate::{BatchEngine, Limits, QueryError, Rows, Table};
use provider::Provider;

/// Memory that a query has for each of its threads; with less it has fewer of them.
const MEMORY_OF_A_THREAD: usize = 64 << 20;

/// How often a running query looks whether it is cancelled.
const POLL: Duration = Duration::from_millis(50);
/// How `SHOW TABLES` names the place of the registered tables.
const CATALOG: &str = "tastemaker";
const SCHEMA: &str = "public";

/// Answers queries in this process, on as many threads as there are processors.
#[derive(Debug)]
pub struct DataFusionEngine {
    threads: Arc<Threads>,
    tables: BTreeMap<String, Arc<dyn Table>>,
}

impl DataFusionEngine {
    /// An engine without tables.
    ///
    /// # Errors
    /// Its threads cannot be started.
    pub fn new() -> std::io::Result<Self> {
        Ok(Self { threads: Arc::new(Threads::start()?), tables: BTreeMap::new() })
    }

    fn session(&self, limits: &Limits) -> Result<SessionContext, datafusion::error::DataFusionError> {
        let config =
            SessionConfig::new().with_default_catalog_and_schema(CATALOG, SCHEMA).with_information_schema(true);
        // Threads that sort share the memory, and one that begins late finds none where there is little.
        let partitions = config.target_partitions().min(limits.memory_bytes / MEMORY_OF_A_THREAD).max(1);
        let mut config = config.with_target_partitions(partitions);
        let options = config.options_mut();
        // Errors then know the line and column.
        options.sql_parser.collect_spans = true;
        // Each thread's sort keeps this for merging what it spilled: together no more than half of what there is.
        let for_merging = limits.memory_bytes / (2 * partitions);
        options.execution.sort_spill_reservation_bytes =
            options.execution.sort_spill_reservation_bytes.min(for_merging);
        let pool = Arc::new(FairSpillPool::new(limits.memory_bytes));
        let runtime = RuntimeEnvBuilder::new().with_memory_pool(pool).build_arc()?;
        let session = SessionContext::new_with_config_rt(config, runtime);
        for (name, table) in &self.tables {
            session.register_table(name.as_str(), Arc::new(Provider::new(name, Arc::clone(table))))?;
        }
        Ok(session)
    }
}

impl BatchEngine for DataFusionEngine {
    fn register(&mut self, name: &str, table: Arc<dyn Table>) {
        self.tables.insert(name.to_owned(), table);
    }

    fn query(&self, sql: &str, limits: &Limits) -> Result<Rows, QueryError> {
        let statement = statement::parse(sql)?;
        let known = self.tables.keys().map(String::as_str);
        let planned = self.threads.handle.block_on(async {
            let session = self.session(limits)?;
            let plan = session.state().statement_to_plan(statement).await?;
            // The statement was checked already; this holds even for one that hides something else inside.
            let read_only = SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
            read_only.verify_plan(&plan)?;
            let whole =
                matches!(plan, LogicalPlan::Explain(_) | LogicalPlan::Analyze(_) | LogicalPlan::DescribeTable(_));
            let frame = session.execute_logical_plan(plan).await?;
            let frame = if whole { frame } else { frame.limit(0, limits.rows)? };
            frame.execute_stream().await
        });
        let stream = planned.map_err(|error| error::at_planning(&error, known, limits))?;
        let schema = stream.schema();
        let batches = Batches { threads: Arc::clone(&self.threads), stream: Some(stream), limits: *limits };
        Ok(Rows::new(schema, batches))
    }
}

/// The answer as it comes.
struct Batches {
    threads: Arc<Threads>,
    /// Dropped, and so ended, at the end and after an error.
    stream: Option<SendableRecordBatchStream>,
    limits: Limits,
}

impl Iterator for Batches {
    type Item = Result<arrow_array::RecordBatch, QueryError>;

    fn next(&mut self) -> Option<Self::Item> {
        let Self { threads, stream, limits } = self;
        let running = stream.as_mut()?;
        let next = threads.handle.block_on(async {
            loop {
                if (limits.cancelled)() {
                    return Some(Err(QueryError::Cancelled));
                }
                if let Ok(next) = tokio::time::timeout(POLL, running.next()).await {
                    return next.map(|batch| batch.map_err(|error| error::while_running(&error, limits)));
                }
            }
        });
        if !matches!(next, Some(Ok(_))) {
            *stream = None;
        }
        next
    }
}

/// The runtime. When it goes, nothing waits for a scan that has not noticed yet that its query is over.
#[derive(Debug)]
struct Threads {
    handle: Handle,
    runtime: Option<Runtime>,
}

impl Threads {
    fn start() -> std::io::Result<Self> {
        let runtime = Builder::new_multi_thread().thread_name("sql").enable_time().build()?;
        Ok(Self { handle: runtime.handle().clone(), runtime: Some(runtime) })
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
