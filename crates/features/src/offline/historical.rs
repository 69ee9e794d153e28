//! Historical features: for rows of entities and times, every feature as it was at that time.

use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use parking_lot::Mutex;
use rayon::prelude::*;
use tastemaker_config::{Entity, FeatureViewConfig};
use tastemaker_log::LogReader;
use tastemaker_types::{Attributes, Position, Timestamp};

use super::alone::{Alone, Told};
use super::answers::Answers;
use super::asked::Asked;
use super::gather::{AskedAbout, PARTITIONS, Who, gather};
use super::sweep::Sweep;
use super::views::{TableRows, ViewTable};
use super::{OfflineError, column_names};
use crate::columns::{feature_arrow_type, feature_column};
use crate::set::{FeatureId, SharedFeatures, Source};
use crate::table::EntityChunk;
use crate::{FeatureColumn, Fetched, ReadPlan};

/// Cells of one chunk: about 10 bytes each.
const CHUNK_CELLS: usize = 30_000_000;
/// The keys of each kind of entity.
const KEYS: [(Entity, &[&str]); 3] =
    [(Entity::User, &["user_id"]), (Entity::Item, &["item_id"]), (Entity::Pair, &["user_id", "item_id"])];

/// What is computed, and where.
#[derive(Debug, Clone)]
pub struct HistoricalOptions {
    /// Let rows of views answer that were created after the time that is asked about; see [`crate::table::JoinOptions`].
    pub include_late: bool,
    /// Beside each feature NAME a column `NAME__status`.
    pub statuses: bool,
    /// A folder with room for what happened to the entities that are asked about: some 30 bytes for each event and kind of entity.
    pub work_dir: PathBuf,
}

/// How far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// Records of the log that were read.
    Log {
        /// So many.
        done: u64,
        /// Of so many.
        total: u64,
    },
    /// Parts of the entities that were computed.
    Entities {
        /// So many.
        done: u64,
        /// Of so many.
        total: u64,
    },
}

/// Computes features of the past.
///
/// A streaming feature at `t` is what the events whose own times are at or before `t`, applied in the order of time, then log, come to.
/// What an event says is what it said when it was logged: expressions over `item.*` see the item's attributes of that place in the log.
/// The view of a batch feature at `t` has the row with the latest event time at or before `t`, then the one created last, then that of the
/// table, of all rows in its table and in the log that were created at or before `t`. Attributes in expressions are what the changes whose
/// times are at or before `t` come to, in the order of the log. Of a user who was deleted nothing in the log before the deletion is known at
/// any time. Embeddings are NULL: a generation has learned from what came later. Request parameters are NULL, `context.now` is `t`.
pub struct Historical {
    plan: ReadPlan,
    tables: Vec<ViewTable>,
    log: Option<LogReader>,
    options: HistoricalOptions,
    columns: Vec<(FeatureId, String)>,
}

/// Some rows and all that is to be told of them.
pub struct HistoricalChunk<'a> {
    historical: &'a Historical,
    batches: Vec<RecordBatch>,
    times: Vec<Timestamp>,
    /// Features that are columns of tables.
    alone: Vec<Alone<'a>>,
    /// The other ones.
    plan: ReadPlan,
    answers: Vec<(Entity, Answers)>,
}

impl Historical {
    /// Prepares to compute `wanted`. `views` are the declared ones; without a log there were no events.
    ///
    /// # Errors
    /// A table of a view that cannot be opened.
    pub fn new(
        set: &SharedFeatures,
        wanted: Vec<FeatureId>,
        views: &[FeatureViewConfig],
        log: Option<LogReader>,
        options: HistoricalOptions,
    ) -> Result<Self, OfflineError> {
        let columns = column_names(set.features(), &wanted);
        let plan = ReadPlan::new(set, wanted);
        let tables = ViewTable::open_all(&plan, views)?;
        Ok(Self { plan, tables, log, options, columns })
    }

    /// How many rows make a chunk well: the log and the tables are read once for each chunk.
    pub fn chunk_rows(&self) -> usize {
        let stored: usize = KEYS.iter().map(|(entity, _)| self.plan.stored(*entity).len()).sum();
        (CHUNK_CELLS / stored.max(1)).min(crate::table::EntityRows::CHUNK_ROWS)
    }

    /// The wanted features that have no past, and why.
    pub fn unknowable(&self) -> Vec<(String, &'static str)> {
        let unknowable = |(id, name): &(FeatureId, String)| {
            let features = self.plan.set().closure(&[*id]);
            let embedding = features.iter().filter_map(|id| self.plan.set().feature(*id));
            let mut embedding = embedding.filter(|feature| feature.source == Source::Embedding);
            embedding.next().map(|_| (name.clone(), "a generation has learned from what came later, so it would leak"))
        };
        self.columns.iter().filter_map(unknowable).collect()
    }

    /// The columns of the rows with those of the features behind them. A feature has its own name; several with one name are called
    /// `entity.name`.
    pub fn schema(&self, rows: &SchemaRef) -> SchemaRef {
        let mut fields: Vec<Arc<Field>> = rows.fields().to_vec();
        for (id, name) in &self.columns {
            let Some(feature) = self.plan.set().feature(*id) else { continue };
            fields.push(Arc::new(Field::new(name, feature_arrow_type(feature.value_type), true)));
            if self.options.statuses {
                fields.push(Arc::new(Field::new(format!("{name}__status"), DataType::Utf8, false)));
            }
        }
        Arc::new(Schema::new(fields))
    }

    /// Computes the features of a chunk of rows; `progress` may break it off.
    ///
    /// # Errors
    /// Rows without the key of an entity that a feature is about; a log or table that cannot be read; a full disk;
    /// [`OfflineError::Interrupted`].
    pub fn chunk(
        &self,
        chunk: EntityChunk,
        progress: &mut (dyn FnMut(Progress) -> ControlFlow<()> + Send),
    ) -> Result<HistoricalChunk<'_>, OfflineError> {
        let log = self.log.as_ref().map(|log| Ok::<_, OfflineError>((log, log.end()?))).transpose()?;
        let log = log.filter(|(_, end)| *end > Position(0));
        // Whoever is not swept has to be known only if the log may say something of them.
        let known = if log.is_some() { &self.plan } else { &self.swept(&HashSet::new()) };
        let mut asked: AskedAbout = [None, None, None];
        for ((entity, keys), asked) in KEYS.into_iter().zip(&mut asked) {
            if known.needs(entity) {
                *asked = Some(Asked::new(chunk.join_rows(keys)?));
            }
        }
        let rows = chunk.times().len();
        let gathered = gather(&self.plan, &Who::Asked(&asked), log, &self.options, progress)?;
        let mut alone = Vec::new();
        for (entity, keys) in KEYS {
            for table in self.alone(&gathered.views).filter(|table| table.entity == entity) {
                alone.push(table.features(&chunk.join_rows(keys)?, &self.options, &gathered.forgotten)?);
            }
        }
        let plan = self.swept(&gathered.views);
        let is_alone = |table: &ViewTable| self.alone(&gathered.views).any(|alone| alone.number == table.number);
        for ((entity, _), asked) in KEYS.into_iter().zip(&mut asked) {
            asked.take_if(|_| !plan.needs(entity));
        }
        let mut answers = Vec::new();
        let total = (asked.iter().flatten().count() * PARTITIONS) as u64;
        let progress = Mutex::new((0, progress));
        for ((entity, _), asked) in KEYS.into_iter().zip(&asked) {
            let Some(asked) = asked else { continue };
            let tables = self.tables.iter().filter(|table| table.entity == entity && !is_alone(table));
            let tables: Vec<TableRows> = tables
                .map(|table| table.rows(&asked.rows, &self.options, &gathered.forgotten))
                .collect::<Result<_, _>>()?;
            let sweep = Sweep { plan: &plan, entity, asked, gathered: &gathered, tables: &tables };
            let told = Mutex::new(Answers::new(&plan, entity, rows));
            (0..PARTITIONS).into_par_iter().try_for_each(|partition| {
                let part = sweep.partition(partition)?;
                told.lock().tell(part);
                let (done, progress) = &mut *progress.lock();
                *done += 1;
                match progress(Progress::Entities { done: *done, total }) {
                    ControlFlow::Continue(()) => Ok(()),
                    ControlFlow::Break(()) => Err(OfflineError::Interrupted),
                }
            })?;
            answers.push((entity, told.into_inner()));
        }
        let times = chunk.times().values().iter().map(|micros| Timestamp::from_micros(*micros)).collect();
        Ok(HistoricalChunk { historical: self, batches: chunk.batches, times, alone, plan, answers })
    }

    /// The views whose features are columns of their tables, if the log has rows of `logged` ones.
    fn alone(&self, logged: &HashSet<u16>) -> impl Iterator<Item = &ViewTable> {
        self.tables.iter().filter(|table| !table.alone.is_empty() && !logged.contains(&table.number))
    }

    /// What remains to be seen entity by entity, if the log has rows of `logged` views.
    fn swept(&self, logged: &HashSet<u16>) -> ReadPlan {
        let alone: Vec<FeatureId> =
            self.alone(logged).flat_map(|table| table.alone.iter().map(|feature| feature.id)).collect();
        self.plan.without(&alone)
    }
}

impl HistoricalChunk<'_> {
    /// The rows with their features, in order; `write` takes them batch by batch.
    ///
    /// # Errors
    /// Those of `write`, and features that cannot be computed.
    pub fn write<E: From<OfflineError> + Send>(
        &self,
        mut write: impl FnMut(&RecordBatch) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut starts = Vec::with_capacity(self.batches.len());
        let mut start = 0;
        for batch in &self.batches {
            starts.push((start, batch));
            start += batch.num_rows();
        }
        let make = |group: &[(usize, &RecordBatch)]| -> Result<Vec<RecordBatch>, OfflineError> {
            group.par_iter().map(|(start, batch)| self.batch(*start, batch)).collect()
        };
        // So many at once keep the cores busy and the memory small. They are made while those before them are written.
        let mut groups = starts.chunks(2 * rayon::current_num_threads());
        let mut made = groups.next().map(make).transpose()?;
        while let Some(batches) = made {
            let mut next = Ok(None);
            let written = rayon::in_place_scope(|scope| {
                scope.spawn(|_| next = groups.next().map(make).transpose());
                batches.iter().try_for_each(&mut write)
            });
            written?;
            made = next?;
        }
        Ok(())
    }

    fn batch(&self, start: usize, rows: &RecordBatch) -> Result<RecordBatch, OfflineError> {
        let count = rows.num_rows();
        let mut told: HashMap<FeatureId, Told> = HashMap::new();
        for alone in &self.alone {
            told.extend(alone.columns(start..start + count)?);
        }
        if self.plan.computes() {
            told.extend(self.computed(start, count)?);
        } else {
            let answers = || self.answers.iter().map(|(_, answers)| answers);
            let column = |id: &FeatureId| Some((*id, answers().find_map(|answers| answers.column(*id, start, count))?));
            told.extend(self.plan.wanted().iter().filter_map(column));
        }
        let mut arrays = rows.columns().to_vec();
        for (id, _) in &self.historical.columns {
            let Some((values, statuses)) = told.get(id) else { continue };
            arrays.push(ArrayRef::clone(values));
            if self.historical.options.statuses {
                let statuses = statuses.iter().map(|status| Some(status.name()));
                arrays.push(Arc::new(statuses.collect::<StringArray>()));
            }
        }
        Ok(RecordBatch::try_new(self.historical.schema(rows.schema_ref()), arrays)?)
    }

    /// The features that are not columns of tables, of which some are expressions.
    fn computed(&self, start: usize, rows: usize) -> Result<Vec<(FeatureId, Told)>, OfflineError> {
        let fetched = self
            .answers
            .iter()
            .map(|(entity, answers)| answers.fetched(&self.plan, start, rows).map(|fetched| (*entity, fetched)));
        let fetched: Vec<(Entity, Fetched)> = fetched.collect::<Result<_, _>>()?;
        let fetched: Vec<(Entity, &Fetched)> = fetched.iter().map(|(entity, fetched)| (*entity, fetched)).collect();
        let times = self.times.get(start..start + rows).unwrap_or_default();
        let columns = self.plan.assemble_at(times, &Attributes::new(), &fetched)?;
        let told = |FeatureColumn { id, cells }: &FeatureColumn| {
            let feature = self.plan.set().feature(*id)?;
            let statuses = cells.iter().map(|cell| cell.status).collect();
            Some((*id, (feature_column(feature.value_type, cells), statuses)))
        };
        Ok(columns.iter().filter_map(told).collect())
    }
}
