//! Rows to items or users.

use tastemaker_config::{Config, TimestampUnit};
use tastemaker_types::{AttributeSchema, Attributes, EntityUpsert, Record, Timestamp, UpsertMode, validate_id};

use crate::coerce::{self, Mistake};
use crate::columns::Columns;
use crate::events::Refused;
use crate::row::{Cell, Row};
use crate::well_known::{Kind, entity, entity_slots};

/// Makes upserts of rows. They merge: an attribute that the file has no column for, or no value, stays as it is.
pub(crate) struct EntityMaker {
    kind: Kind,
    schema: AttributeSchema,
    unit: Option<TimestampUnit>,
    now: Timestamp,
}

impl EntityMaker {
    pub(crate) fn new(kind: Kind, config: &Config, now: Timestamp) -> (Self, Columns) {
        let (schema, mapping) = match kind {
            Kind::Users => (config.users.schema(), &config.import.users),
            _ => (config.items.schema(), &config.import.items),
        };
        let columns = Columns::new(entity_slots(kind, mapping, &schema));
        (Self { kind, schema, unit: mapping.file.timestamp_unit, now }, columns)
    }

    /// One upsert.
    pub(crate) fn record(&self, row: Row<'_>, columns: &Columns) -> Result<Record, Refused> {
        let mut cells = columns.sort(row).into_iter();
        let mut take = || cells.next().unwrap_or_default();
        let what = if self.kind == Kind::Users { "user_id" } else { "item_id" };
        let at = |slot: usize| move |mistake: Mistake| (Some(slot), mistake);
        let id = coerce::text(take()).map_err(at(entity::ID))?;
        let id = id.ok_or_else(|| columns.missing(entity::ID))?;
        validate_id(what, &id).map_err(|error| (Some(entity::ID), Mistake::new("bad id", error.to_string())))?;
        let timestamp = coerce::time(take(), self.unit).map_err(at(entity::TIMESTAMP))?.unwrap_or(self.now);
        let mut attributes = self.nested(take()).map_err(at(entity::NESTED))?;
        for (index, ((name, _), cell)) in self.schema.fields().iter().zip(cells).enumerate() {
            let slot = entity::ATTRIBUTES + index;
            if let Some(value) = coerce::attribute(&self.schema, name, cell, self.unit).map_err(at(slot))? {
                attributes.insert(name.clone(), value);
            }
        }
        let upsert = EntityUpsert { id, attributes, mode: UpsertMode::Merge, timestamp };
        let record = if self.kind == Kind::Users { Record::UserUpsert(upsert) } else { Record::ItemUpsert(upsert) };
        record.check_size().map_err(|error| (None, Mistake::new("too large", error.to_string())))?;
        Ok(record)
    }

    /// `{"id": …, "attributes": {…}}`, as the API has it. Names that are not declared are passed over, as columns are.
    fn nested(&self, cell: Cell<'_>) -> Result<Attributes, Mistake> {
        let map = match cell {
            Cell::Empty => return Ok(Attributes::new()),
            Cell::Object(map) => map,
            other => return Err(Mistake::new("not attributes", format!("{} is not a JSON object", other.describe()))),
        };
        let declared = map.into_iter().filter(|(name, _)| self.schema.get(name).is_some());
        let mut attributes = Attributes::new();
        for (name, value) in declared {
            let value = coerce::attribute(&self.schema, &name, Cell::json(value), self.unit)
                .map_err(|mistake| Mistake::new(mistake.kind, format!("attribute '{name}': {}", mistake.reason)))?;
            attributes.extend(value.map(|value| (name, value)));
        }
        Ok(attributes)
    }
}
