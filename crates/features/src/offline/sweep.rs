//! One partition of entities: what happened to each is applied in the order of time, and read whenever a row asks.
//! [`Living`] is what an entity comes to, whatever the order.

use std::collections::HashMap;

use tastemaker_config::Entity;
use tastemaker_types::{Position, Timestamp};

use super::OfflineError;
use super::answers::{Part, wants_attributes};
use super::asked::{Asked, Asking};
use super::attributes::{Change, Timeline};
use super::gather::{Gathered, PARTITIONS, attributes_of, partition_of};
use super::spill::Entry;
use super::stored::Happened;
use super::views::TableRows;
use crate::ReadPlan;
use crate::entity::EntityFeatures;
use crate::kernel::Kernel;

/// What all partitions of a kind of entity share.
pub(super) struct Sweep<'a> {
    pub(super) plan: &'a ReadPlan,
    pub(super) entity: Entity,
    pub(super) asked: &'a Asked,
    pub(super) gathered: &'a Gathered,
    pub(super) tables: &'a [TableRows],
}

impl Sweep<'_> {
    /// What the rows that ask about the entities of a partition are told.
    pub(super) fn partition(&self, partition: usize) -> Result<Part, OfflineError> {
        let bytes = self.gathered.spilled.read(partition_of(self.entity, partition as u32))?;
        let mut entries = self.entries(&bytes)?;
        entries.sort_unstable_by_key(|entry| (entry.entity, entry.at, entry.position));
        let mut by_entity: HashMap<u32, &[Entry<'_>]> = HashMap::new();
        for entries in entries.chunk_by(|a, b| a.entity == b.entity) {
            if let Some(first) = entries.first() {
                by_entity.insert(first.entity, entries);
            }
        }
        let entities = (partition as u32..self.asked.len() as u32).step_by(PARTITIONS);
        let rows: usize = entities.clone().map(|entity| self.asked.asking(entity).len()).sum();
        let mut part = Part {
            rows: Vec::with_capacity(rows),
            columns: self.plan.columns(self.entity, rows),
            attributes: Vec::new(),
        };
        for entity in entities {
            let entries = by_entity.get(&entity).copied().unwrap_or_default();
            self.sweep(entries, self.asked.asking(entity), &mut part)?;
        }
        Ok(part)
    }

    /// What happened, but for what was before the deletion of a user.
    fn entries<'b>(&self, mut bytes: &'b [u8]) -> Result<Vec<Entry<'b>>, OfflineError> {
        let mut entries = Vec::new();
        while !bytes.is_empty() {
            let (entry, rest) = postcard::take_from_bytes::<Entry<'_>>(bytes)?;
            bytes = rest;
            if entry.position >= self.known_from(entry.entity) {
                entries.push(entry);
            }
        }
        Ok(entries)
    }

    fn known_from(&self, entity: u32) -> u64 {
        if self.entity == Entity::Item || self.gathered.forgotten.is_empty() {
            return 0;
        }
        let user = self.asked.key(entity).map(|key| key.first());
        user.and_then(|user| self.gathered.forgotten.get(user)).map_or(0, |forgotten| forgotten.position)
    }

    fn sweep(&self, entries: &[Entry<'_>], asking: &[Asking], part: &mut Part) -> Result<(), OfflineError> {
        let kernel = self.plan.set().streams(self.entity).kernel();
        let with_attributes = wants_attributes(self.plan, self.entity);
        let mut living = Living::default();
        let mut told = vec![None; self.tables.len()];
        let mut entries = entries.iter().peekable();
        for asking in asking {
            while let Some(entry) = entries.next_if(|entry| entry.at <= asking.time) {
                living.apply(kernel, entry)?;
                told.fill(None);
            }
            for (table, told) in self.tables.iter().zip(&mut told) {
                let place = table.place(asking.row as usize);
                // What it was told last it knows, unless the log has said something since.
                if place != *told
                    && let Some(row) = table.row(asking.row as usize)
                {
                    living.features.put(Position(0), row);
                    *told = place;
                }
            }
            let now = Timestamp::from_micros(asking.time);
            self.plan.push(&mut part.columns, self.entity, Some(&living.features), now, || None);
            part.rows.push(asking.row);
            if with_attributes {
                part.attributes.push(living.attributes.current());
            }
        }
        Ok(())
    }
}

/// What an entity comes to while what happened to it is applied.
#[derive(Default)]
pub(super) struct Living {
    pub(super) features: EntityFeatures,
    pub(super) attributes: Timeline,
}

impl Living {
    pub(super) fn apply(&mut self, kernel: &Kernel, entry: &Entry<'_>) -> Result<(), OfflineError> {
        let position = Position(entry.position);
        match postcard::from_bytes::<Happened<'_>>(entry.happened)? {
            Happened::Event { received, inputs } => {
                let received = received.map(Timestamp::from_micros);
                self.features.apply(kernel, position, Timestamp::from_micros(entry.at), received, &inputs);
            }
            Happened::Row(row) => self.features.put(position, row.into()),
            Happened::Upsert { replace, attributes } => {
                let attributes = attributes_of(attributes);
                self.attributes.add(entry.position, Change::Upsert { replace, attributes });
            }
            Happened::Delete => self.attributes.add(entry.position, Change::Delete),
        }
        Ok(())
    }
}
