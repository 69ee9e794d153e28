//! One pass over the log: what happened to the entities that rows ask about is put aside by entity.

use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;
use std::sync::mpsc::{Receiver, sync_channel};

use parking_lot::Mutex;
use tastemaker_config::Entity;
use tastemaker_log::{LogError, LogReader};
use tastemaker_store::Catalog;
use tastemaker_types::{Attributes, EntityUpsert, Event, FeatureRow, Position, Record, Timestamp, UpsertMode};

use super::asked::Asked;
use super::everybody::Everybody;
use super::historical::Progress;
use super::spill::{Entry, Spill, Spilled};
use super::stored::{Happened, Stored, StoredRow};
use super::{HistoricalOptions, OfflineError};
use crate::ReadPlan;
use crate::entity::ViewRow;
use crate::intake::{Run, take_in};
use crate::kernel::Input;
use crate::set::Source;
use crate::table::keys::Key;

/// Partitions of each kind of entity: enough that what happened to a part of the entities fits in memory.
pub(super) const PARTITIONS: usize = 128;
/// Records that are read and decoded together.
const BATCH: usize = 8_192;
/// Batches that may wait.
const WAITING: usize = 4;

/// Who is asked about, by kind of entity; none of a kind that no feature is about.
pub(super) type AskedAbout = [Option<Asked>; 3];

/// To whom what happens is put aside. Entities have numbers.
pub(super) enum Who<'a> {
    /// Those that rows ask about, until the last of them asks.
    Asked(&'a AskedAbout),
    /// All, whenever.
    Everybody(&'a Mutex<Everybody>),
}

/// What happened to them.
pub(super) struct Gathered {
    pub(super) spilled: Spilled,
    /// Deleted users: nothing of theirs before their last deletion is known any more.
    pub(super) forgotten: HashMap<String, Forgotten>,
    /// The numbers of the views of which there are rows.
    pub(super) views: HashSet<u16>,
}

/// The last deletion of a user.
#[derive(Clone, Copy)]
pub(super) struct Forgotten {
    /// One past its place.
    pub(super) position: u64,
    pub(super) at: Timestamp,
}

/// What is looked for.
struct Interest<'a> {
    plan: &'a ReadPlan,
    who: &'a Who<'a>,
    include_late: bool,
    /// By kind of entity and number: the streaming features that are wanted.
    streams: [Vec<bool>; 3],
    /// The attributes of items that are wanted.
    item_attributes: Vec<&'a str>,
}

struct Gatherer<'a> {
    interest: &'a Interest<'a>,
    spill: Spill,
    forgotten: HashMap<String, Forgotten>,
    views: HashSet<u16>,
    scratch: Vec<u8>,
}

/// Reads the log from its beginning to a position.
pub(super) fn gather(
    plan: &ReadPlan,
    who: &Who<'_>,
    log: Option<(&LogReader, Position)>,
    options: &HistoricalOptions,
    progress: &mut (dyn FnMut(Progress) -> ControlFlow<()> + Send),
) -> Result<Gathered, OfflineError> {
    let interest = Interest::new(plan, who, options);
    let spill = Spill::new(&options.work_dir, 3 * PARTITIONS)?;
    let mut gatherer =
        Gatherer { interest: &interest, spill, forgotten: HashMap::new(), views: HashSet::new(), scratch: Vec::new() };
    let Some((log, end)) = log else { return Ok(gatherer.finish()) };
    let set = plan.set();
    let catalog = Catalog::new(set.item_attributes().clone());
    std::thread::scope(|scope| {
        let (sender, receiver) = sync_channel(WAITING);
        let reader = scope.spawn(move || read(log, end, &sender));
        let mut take = |receiver: Receiver<Vec<(Position, Record)>>| -> Result<(), OfflineError> {
            for batch in receiver {
                take_in(set, &catalog, &batch, |event| interest.in_event(event), |run| gatherer.run(run))?;
                let done = batch.last().map_or(0, |(position, _)| position.0 + 1);
                if progress(Progress::Log { done, total: end.0 }).is_break() {
                    return Err(OfflineError::Interrupted);
                }
            }
            Ok(())
        };
        // The reader stops when nobody listens any more.
        let taken = take(receiver);
        let read = reader.join().map_err(|_| OfflineError::Reader)?;
        taken?;
        read?;
        Ok::<(), OfflineError>(())
    })?;
    Ok(gatherer.finish())
}

/// Sends the records before `end` in batches.
fn read(
    log: &LogReader,
    end: Position,
    sender: &std::sync::mpsc::SyncSender<Vec<(Position, Record)>>,
) -> Result<(), LogError> {
    let mut batch = Vec::with_capacity(BATCH);
    for record in log.read_from(Position(0)) {
        let (position, record) = record?;
        if position >= end {
            break;
        }
        batch.push((position, record));
        if batch.len() == BATCH && sender.send(std::mem::replace(&mut batch, Vec::with_capacity(BATCH))).is_err() {
            return Ok(());
        }
    }
    // Nobody listens after an error of theirs, which they report.
    let _ = sender.send(batch);
    Ok(())
}

impl<'a> Interest<'a> {
    fn new(plan: &'a ReadPlan, who: &'a Who<'a>, options: &HistoricalOptions) -> Self {
        let set = plan.set();
        let streams = [Entity::User, Entity::Item, Entity::Pair].map(|entity| {
            let mut wanted = vec![false; set.streams(entity).kernel().len()];
            for id in plan.stored(entity) {
                if let Some(Source::Stream(number)) = set.feature(*id).map(|feature| feature.source)
                    && let Some(wanted) = wanted.get_mut(number)
                {
                    *wanted = true;
                }
            }
            wanted
        });
        let name = |place: &usize| set.item_attributes().fields().get(*place).map(|(name, _)| name.as_str());
        Self {
            plan,
            who,
            include_late: options.include_late,
            streams,
            item_attributes: plan.item_attributes().iter().filter_map(name).collect(),
        }
    }

    fn find(&self, entity: Entity, user: Option<&str>, item: Option<&str>, micros: i64) -> Option<u32> {
        let asked = match self.who {
            Who::Asked(asked) => asked.get(entity as usize)?.as_ref()?,
            Who::Everybody(everybody) => return everybody.lock().number(entity, user, item),
        };
        let key = match entity {
            Entity::User => Key::new(user?, None),
            Entity::Item => Key::new(item?, None),
            Entity::Pair => Key::new(user?, Some(item?)),
        };
        asked.find_at(key, micros)
    }

    fn reads_streams(&self, entity: Entity) -> bool {
        self.streams.get(entity as usize).is_some_and(|wanted| wanted.contains(&true))
    }

    /// The entities of an event whose streaming features are wanted at its time or later.
    fn entities_of(&self, event: &Event) -> [Option<u32>; 3] {
        let find = |entity| {
            let micros = event.timestamp.as_micros();
            self.reads_streams(entity)
                .then(|| self.find(entity, Some(&event.user_id), Some(&event.item_id), micros))
                .flatten()
        };
        [Entity::User, Entity::Item, Entity::Pair].map(find)
    }

    fn in_event(&self, event: &Event) -> bool {
        let set = self.plan.set();
        let streams = [Entity::User, Entity::Item, Entity::Pair].map(|entity| set.streams(entity));
        streams.iter().any(|streams| streams.concerns(&event.event_type))
            && self.entities_of(event).iter().any(Option::is_some)
    }

    /// The attributes that are wanted, of their declared types, as the catalog takes them in.
    fn known_attributes(&self, upsert: &EntityUpsert) -> Vec<(String, Stored)> {
        let schema = self.plan.set().item_attributes();
        let known = |(name, value): (&String, &tastemaker_types::Value)| {
            let wanted = self.item_attributes.contains(&name.as_str());
            let value = wanted.then(|| schema.coerce(name, value.clone()).ok()).flatten()?;
            Some((name.clone(), Stored::from(&value)))
        };
        upsert.attributes.iter().filter_map(known).collect()
    }
}

impl Gatherer<'_> {
    fn finish(self) -> Gathered {
        Gathered { spilled: self.spill.finish(), forgotten: self.forgotten, views: self.views }
    }

    fn run(&mut self, run: &Run<'_>) -> Result<(), OfflineError> {
        let interest = self.interest;
        for step in run.steps() {
            match step.record {
                Record::Event(event) if step.is_evaluated() => {
                    let found = interest.entities_of(event);
                    for (entity, number) in [Entity::User, Entity::Item, Entity::Pair].into_iter().zip(found) {
                        let Some(number) = number else { continue };
                        let mut inputs: Vec<Input<'_>> = Vec::new();
                        run.inputs(entity, &step, &mut inputs);
                        let wanted = interest.streams.get(entity as usize);
                        let is_wanted = |feature: u16| wanted?.get(usize::from(feature)).copied();
                        inputs.retain(|input| is_wanted(input.feature).unwrap_or(false));
                        if !inputs.is_empty() {
                            let at = event.timestamp.as_micros();
                            let received = event.received.map(|received| received.as_micros());
                            self.put(entity, number, at, step.position, &Happened::Event { received, inputs })?;
                        }
                    }
                }
                Record::FeatureRow(row) => self.row(step.position, row)?,
                Record::ItemUpsert(upsert) if !interest.item_attributes.is_empty() => {
                    let attributes = interest.known_attributes(upsert);
                    self.upsert(Entity::Item, step.position, upsert, attributes)?;
                }
                Record::ItemDelete { id, timestamp } if !interest.item_attributes.is_empty() => {
                    let at = timestamp.as_micros();
                    if let Some(number) = self.interest.find(Entity::Item, None, Some(id), at) {
                        self.put(Entity::Item, number, at, step.position, &Happened::Delete)?;
                    }
                }
                Record::UserUpsert(upsert) if self.interest.plan.user_attributes() => {
                    let stored = |(name, value): (&String, _)| (name.clone(), Stored::from(value));
                    let attributes = upsert.attributes.iter().map(stored).collect();
                    self.upsert(Entity::User, step.position, upsert, attributes)?;
                }
                Record::UserDelete { id, timestamp } => {
                    let forgotten = Forgotten { position: step.position.0 + 1, at: *timestamp };
                    self.forgotten.insert(id.clone(), forgotten);
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn upsert(
        &mut self,
        entity: Entity,
        position: Position,
        upsert: &EntityUpsert,
        attributes: Vec<(String, Stored)>,
    ) -> Result<(), OfflineError> {
        let at = upsert.timestamp.as_micros();
        let Some(number) = self.interest.find(entity, Some(&upsert.id), Some(&upsert.id), at) else { return Ok(()) };
        let replace = upsert.mode == UpsertMode::Replace;
        self.put(entity, number, at, position, &Happened::Upsert { replace, attributes })
    }

    fn row(&mut self, position: Position, row: &FeatureRow) -> Result<(), OfflineError> {
        let set = self.interest.plan.set();
        let Ok(view_number) = set.view(&row.view) else { return Ok(()) };
        let Some(view) = set.views().get(view_number) else { return Ok(()) };
        let of_view = |id: &crate::set::FeatureId| {
            let source = set.feature(*id).map(|feature| feature.source);
            matches!(source, Some(Source::View { view, .. }) if view == view_number)
        };
        if !self.interest.plan.stored(view.entity).iter().any(of_view) {
            return Ok(());
        }
        let Some(row_of_view) = ViewRow::new(view_number, view, row) else { return Ok(()) };
        let forgotten = row.user_id.as_ref().and_then(|user| self.forgotten.get(user));
        if forgotten.is_some_and(|forgotten| row_of_view.created <= forgotten.at) {
            return Ok(());
        }
        let at = match self.interest.include_late {
            true => row_of_view.event_time,
            false => row_of_view.event_time.max(row_of_view.created),
        };
        let at = at.as_micros();
        match self.interest.find(view.entity, row.user_id.as_deref(), row.item_id.as_deref(), at) {
            Some(number) => {
                self.views.insert(row_of_view.view);
                self.put(view.entity, number, at, position, &Happened::Row(StoredRow::from(&row_of_view)))
            }
            None => Ok(()),
        }
    }

    fn put(
        &mut self,
        entity: Entity,
        number: u32,
        at: i64,
        position: Position,
        happened: &Happened<'_>,
    ) -> Result<(), OfflineError> {
        self.scratch.clear();
        self.scratch = postcard::to_extend(happened, std::mem::take(&mut self.scratch))?;
        let entry = Entry { entity: number, at, position: position.0, happened: &self.scratch };
        self.spill.add(partition_of(entity, number), &entry)
    }
}

/// The partition of an entity.
pub(super) fn partition_of(entity: Entity, number: u32) -> usize {
    entity as usize * PARTITIONS + number as usize % PARTITIONS
}

/// Attributes that were put aside.
pub(super) fn attributes_of(stored: Vec<(String, Stored)>) -> Attributes {
    stored.into_iter().filter_map(|(name, value)| Some((name, value.into_attribute()?))).collect()
}
