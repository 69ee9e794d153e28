//! From records to what they say to features: cuts records into runs, brings the catalog up to each, and evaluates what streaming features
//! read of its events. Live state and historical features both take records in through here, so that an event means the same to both.

use std::sync::Arc;

use tastemaker_config::Entity;
use tastemaker_store::{Catalog, CatalogSnapshot, ItemChange};
use tastemaker_types::{Event, Position, Record};

use crate::kernel::Input;
use crate::set::{Evaluated, FeatureSet};

const ENTITIES: [Entity; 3] = [Entity::User, Entity::Item, Entity::Pair];

/// Consecutive records with the catalog as of their end. If features read attributes of items, no item changes after the first event.
pub(crate) struct Run<'a> {
    features: &'a FeatureSet,
    records: &'a [(Position, Record)],
    /// The row of each record's item, if it has one.
    rows: Vec<Option<u32>>,
    /// Of each event its place among those that were evaluated.
    places: Vec<Option<usize>>,
    evaluated: Option<[Evaluated; 3]>,
    pub(crate) catalog: Arc<CatalogSnapshot>,
}

/// One record of a run.
#[derive(Clone, Copy)]
pub(crate) struct Step<'a> {
    pub(crate) position: Position,
    pub(crate) record: &'a Record,
    /// The row of its item.
    pub(crate) row: Option<u32>,
    place: Option<usize>,
}

impl Step<'_> {
    /// Whether it is an event that was evaluated.
    pub(crate) fn is_evaluated(&self) -> bool {
        self.place.is_some()
    }
}

/// Takes records in, in log order, from one thread at a time: changes `catalog`, and hands every run to `visit`. Only events that are
/// `wanted` are evaluated. The first error of `visit` ends it.
pub(crate) fn take_in<'a, E>(
    features: &'a FeatureSet,
    catalog: &Catalog,
    records: &'a [(Position, Record)],
    wanted: impl Fn(&Event) -> bool,
    mut visit: impl FnMut(&Run<'a>) -> Result<(), E>,
) -> Result<(), E> {
    // Features that read attributes of an event's item read those of the event's place in the log, however the log is cut into calls.
    let mut rest = records;
    while !rest.is_empty() {
        let length = if features.event_columns().read_items() { run_length(rest) } else { rest.len() };
        let (run, later) = rest.split_at(length);
        visit(&Run::new(features, catalog, run, &wanted))?;
        rest = later;
    }
    Ok(())
}

impl<'a> Run<'a> {
    fn new(
        features: &'a FeatureSet,
        catalog: &Catalog,
        records: &'a [(Position, Record)],
        wanted: impl Fn(&Event) -> bool,
    ) -> Self {
        let changes: Vec<Option<ItemChange<'_>>> = records.iter().map(|(_, record)| ItemChange::of(record)).collect();
        let applied = catalog.apply(&changes.iter().copied().flatten().collect::<Vec<_>>());
        let mut applied = applied.rows.into_iter();
        let rows = changes.iter().map(|change| change.and_then(|_| applied.next().flatten())).collect();
        let (places, evaluated) = (Vec::new(), None);
        let mut run = Self { features, records, rows, places, evaluated, catalog: catalog.snapshot() };
        run.evaluate(wanted);
        run
    }

    /// Evaluates what the streaming features read of the events.
    fn evaluate(&mut self, wanted: impl Fn(&Event) -> bool) {
        if ENTITIES.iter().all(|entity| self.features.streams(*entity).is_empty()) {
            return;
        }
        let mut events: Vec<(&Event, u32)> = Vec::new();
        self.places = vec![None; self.records.len()];
        for (((_, record), row), place) in self.records.iter().zip(&self.rows).zip(&mut self.places) {
            if let (Record::Event(event), Some(row)) = (record, row)
                && wanted(event)
            {
                *place = Some(events.len());
                events.push((event, *row));
            }
        }
        if events.is_empty() {
            return;
        }
        let Ok(batch) = self.features.event_columns().batch(&events, &self.catalog) else { return };
        let evaluate = |entity| self.features.streams(entity).evaluate(&batch).unwrap_or_default();
        self.evaluated = Some(ENTITIES.map(evaluate));
    }

    /// Its records.
    pub(crate) fn steps(&self) -> impl Iterator<Item = Step<'a>> {
        let places = self.places.iter().copied().chain(std::iter::repeat(None));
        let steps = self.records.iter().zip(&self.rows).zip(places);
        steps.map(|(((position, record), row), place)| Step { position: *position, record, row: *row, place })
    }

    /// Its last record.
    pub(crate) fn last(&self) -> Option<Position> {
        self.records.last().map(|(position, _)| *position)
    }

    /// The last change of an item in it.
    pub(crate) fn last_item_change(&self) -> Option<Position> {
        self.records.iter().rev().find(|(_, record)| changes_item(record)).map(|(position, _)| *position)
    }

    /// Puts into `inputs` what an event says to the features of `entity`.
    pub(crate) fn inputs<'r>(&'r self, entity: Entity, step: &Step<'r>, inputs: &mut Vec<Input<'r>>) {
        let evaluated = self.evaluated.as_ref().and_then(|evaluated| evaluated.get(entity as usize));
        if let (Some(evaluated), Some(place), Record::Event(event)) = (evaluated, step.place, step.record) {
            self.features.streams(entity).inputs(entity, event, place, evaluated, inputs);
        }
    }

    /// Whether anything was evaluated.
    pub(crate) fn has_inputs(&self) -> bool {
        self.evaluated.is_some()
    }
}

/// How many records begin a run in which items change before events happen, not after.
fn run_length(records: &[(Position, Record)]) -> usize {
    let mut events = false;
    let ends = |(_, record): &(Position, Record)| {
        events |= matches!(record, Record::Event(_));
        events && changes_item(record)
    };
    records.iter().position(ends).unwrap_or(records.len())
}

fn changes_item(record: &Record) -> bool {
    matches!(record, Record::ItemUpsert(_) | Record::ItemDelete { .. })
}
