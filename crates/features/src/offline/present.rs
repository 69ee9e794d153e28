//! The features of everybody at the end of the log, as online reads give them: what happened to each entity is applied in the order of the
//! log, as the server does it, a part of the entities at a time. In memory are the ids of the entities, the items of the catalog, and what
//! happened to one part.

use std::ops::ControlFlow;
use std::path::PathBuf;

use arrow_array::RecordBatch;
use arrow_schema::{ArrowError, SchemaRef};
use parking_lot::Mutex;
use tastemaker_config::Entity;
use tastemaker_log::LogReader;
use tastemaker_types::{Attributes, Position, Timestamp};

use super::answers::{fetched_attributes, wants_attributes};
use super::everybody::Everybody;
use super::gather::{Gathered, PARTITIONS, Who, gather, partition_of};
use super::spill::Entry;
use super::sweep::Living;
use super::{HistoricalOptions, OfflineError};
use crate::set::{FeatureId, SharedFeatures, Source};
use crate::{FeatureColumn, Fetched, ReadPlan};

pub use super::shape::Shape;

/// Cells of one batch, about.
const BATCH_CELLS: usize = 65_536;

/// What is read, and from where.
///
/// Users and items are those that anything is known of for a feature of theirs, pairs those that an event or a row was about. Left out are
/// embeddings, which a generation has, and expressions of pairs, which a request has: there is one for each user with each item.
#[derive(Debug, Clone)]
pub struct Present {
    /// The declared features.
    pub set: SharedFeatures,
    /// The event log.
    pub log: LogReader,
    /// Records before this are read.
    pub end: Position,
    /// The time at which features are read.
    pub now: Timestamp,
    /// A folder with room for what happened to the entities: some 30 bytes for each event and kind of entity.
    pub work_dir: PathBuf,
}

/// Told of the bytes that are held; an error ends it all.
type Hold = Box<dyn FnMut(usize) -> Result<(), ArrowError> + Send>;

/// Some entities of one kind and their features.
pub(super) struct Rows<'a> {
    pub(super) entity: Entity,
    /// The ids of user and item.
    pub(super) ids: Vec<(Option<&'a str>, Option<&'a str>)>,
    pub(super) columns: Vec<FeatureColumn>,
}

struct Reading {
    plans: Vec<(Entity, ReadPlan)>,
    everybody: Everybody,
    gathered: Gathered,
    shape: Shape,
    schema: SchemaRef,
    now: Timestamp,
    hold: Hold,
}

impl Present {
    /// The columns of this shape.
    pub fn schema(&self, shape: Shape) -> SchemaRef {
        let wanted = self.wanted(shape).into_iter().flat_map(|(_, features)| features);
        shape.schema(&self.set, &wanted.collect::<Vec<_>>())
    }

    /// The features of the kinds of entities that have any.
    fn wanted(&self, shape: Shape) -> Vec<(Entity, Vec<FeatureId>)> {
        let wanted = |entity: Entity| {
            let of_entity = self.set.features().iter().enumerate().filter(|(_, feature)| feature.entity == entity);
            let known = of_entity.filter(|(_, feature)| match feature.source {
                Source::Embedding => false,
                Source::Expression(_) => entity != Entity::Pair,
                Source::Stream(_) | Source::View { .. } => true,
            });
            (entity, known.map(|(id, _)| FeatureId(id)).collect::<Vec<_>>())
        };
        shape.entities().iter().map(|entity| wanted(*entity)).filter(|(_, features)| !features.is_empty()).collect()
    }

    /// Reads the log, then gives the rows part by part.
    ///
    /// # Errors
    /// A log that cannot be read, a full disk, and what `hold` says.
    pub fn read(
        &self,
        shape: Shape,
        mut hold: Hold,
    ) -> Result<impl Iterator<Item = Result<RecordBatch, OfflineError>> + Send + use<>, OfflineError> {
        let wanted = self.wanted(shape);
        let all = wanted.iter().flat_map(|(_, features)| features.iter().copied()).collect();
        let plan = ReadPlan::new(&self.set, all);
        let everybody = Mutex::default();
        // Late rows are as good as others: what counts is what is known now.
        let options = HistoricalOptions { include_late: true, statuses: false, work_dir: self.work_dir.clone() };
        let mut stopped = None;
        let who = Who::Everybody(&everybody);
        let log = (!wanted.is_empty()).then_some((&self.log, self.end));
        let gathered = gather(&plan, &who, log, &options, &mut |_| match hold(everybody.lock().bytes()) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                stopped = Some(error);
                ControlFlow::Break(())
            }
        });
        let gathered = match stopped {
            Some(error) => return Err(OfflineError::Stopped(error)),
            None => gathered?,
        };
        let plans = wanted.into_iter().map(|(entity, features)| (entity, ReadPlan::new(&self.set, features)));
        let mut reading = Reading {
            plans: plans.collect(),
            everybody: everybody.into_inner(),
            gathered,
            shape,
            schema: self.schema(shape),
            now: self.now,
            hold,
        };
        let parts = reading.plans.len() * PARTITIONS;
        Ok((0..parts).flat_map(move |part| match reading.part(part / PARTITIONS, part % PARTITIONS) {
            Ok(batches) => batches.into_iter().map(Ok).collect(),
            Err(error) => vec![Err(error)],
        }))
    }
}

impl Reading {
    /// All rows of a part of the entities.
    fn part(&mut self, plan: usize, partition: usize) -> Result<Vec<RecordBatch>, OfflineError> {
        let Some((entity, plan)) = self.plans.get(plan) else { return Ok(Vec::new()) };
        let bytes = self.gathered.spilled.read(partition_of(*entity, partition as u32))?;
        let mut entries = self.entries(*entity, &bytes)?;
        let held = self.everybody.bytes() + bytes.len() + entries.len() * size_of::<Entry<'_>>();
        (self.hold)(held).map_err(OfflineError::Stopped)?;
        entries.sort_unstable_by_key(|entry| (entry.entity, entry.position));
        let of_entities: Vec<&[Entry<'_>]> = entries.chunk_by(|a, b| a.entity == b.entity).collect();
        let most = (BATCH_CELLS / plan.wanted().len().max(1)).max(1);
        let batch =
            |some: &[&[Entry<'_>]]| self.shape.batch(plan.set(), &self.schema, &self.rows(*entity, plan, some)?);
        of_entities.chunks(most).map(batch).collect()
    }

    /// What happened, but for what was before the deletion of a user.
    fn entries<'b>(&self, entity: Entity, mut bytes: &'b [u8]) -> Result<Vec<Entry<'b>>, OfflineError> {
        let mut entries = Vec::new();
        while !bytes.is_empty() {
            let (entry, rest) = postcard::take_from_bytes::<Entry<'_>>(bytes)?;
            bytes = rest;
            let user = self.everybody.ids(entity, entry.entity).0;
            let known_from = user.and_then(|user| self.gathered.forgotten.get(user));
            let known_from = known_from.map_or(0, |forgotten| forgotten.position);
            if entry.position >= known_from {
                entries.push(entry);
            }
        }
        Ok(entries)
    }

    fn rows(&self, entity: Entity, plan: &ReadPlan, entities: &[&[Entry<'_>]]) -> Result<Rows<'_>, OfflineError> {
        let kernel = plan.set().streams(entity).kernel();
        let mut columns = plan.columns(entity, entities.len());
        let (mut ids, mut attributes) = (Vec::with_capacity(entities.len()), Vec::new());
        for entries in entities {
            let mut living = Living::default();
            entries.iter().try_for_each(|entry| living.apply(kernel, entry))?;
            plan.push(&mut columns, entity, Some(&living.features), self.now, || None);
            if wants_attributes(plan, entity) {
                attributes.push(living.attributes.current());
            }
            ids.push(entries.first().map_or((None, None), |entry| self.everybody.ids(entity, entry.entity)));
        }
        let attributes = fetched_attributes(plan, entity, &attributes)?;
        let fetched = Fetched { versions: vec![None; ids.len()], columns, attributes };
        let columns = plan.assemble(ids.len(), self.now, &Attributes::new(), &[(entity, &fetched)])?;
        Ok(Rows { entity, ids, columns })
    }
}
