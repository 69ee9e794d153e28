//! What the rows of a chunk are told about one kind of entity, in little memory: about 10 bytes for a number.

use std::sync::Arc;

use arrow_array::{ArrayRef, Float64Array, RecordBatch, RecordBatchOptions};
use arrow_schema::{ArrowError, Field, Schema};
use tastemaker_config::Entity;
use tastemaker_types::{Attributes, FeatureValue, Timestamp};

use super::alone::Told;
use crate::columns::{attribute_column, value_column};
use crate::read::{FetchedAttributes, Status};
use crate::set::{FeatureId, ValueType};
use crate::{Cell, FeatureColumn, Fetched, ReadPlan};

/// Cells and attributes by row.
pub(super) struct Answers {
    entity: Entity,
    columns: Vec<Column>,
    /// Empty if none are wanted.
    attributes: Vec<Option<Arc<Attributes>>>,
}

struct Column {
    id: FeatureId,
    value_type: ValueType,
    statuses: Vec<Status>,
    values: Values,
}

enum Values {
    /// Not a number where there is no value: values are finite.
    Numbers(Vec<f64>),
    Others(Vec<Option<Box<FeatureValue>>>),
}

/// What some of the rows are told.
pub(super) struct Part {
    /// Which rows.
    pub(super) rows: Vec<u32>,
    /// A cell for each of them.
    pub(super) columns: Vec<FeatureColumn>,
    /// The attributes for each of them, if any are wanted.
    pub(super) attributes: Vec<Option<Arc<Attributes>>>,
}

/// Whether attributes of this kind of entity are wanted.
pub(super) fn wants_attributes(plan: &ReadPlan, entity: Entity) -> bool {
    match entity {
        Entity::User => plan.user_attributes(),
        Entity::Item => !plan.item_attributes().is_empty(),
        Entity::Pair => false,
    }
}

impl Answers {
    /// For `rows` rows of which nothing is known yet.
    pub(super) fn new(plan: &ReadPlan, entity: Entity, rows: usize) -> Self {
        let mut unknown = plan.columns(entity, 1);
        plan.push(&mut unknown, entity, None, Timestamp::EPOCH, || None);
        let column = |FeatureColumn { id, cells }: FeatureColumn| {
            let value = cells.into_iter().next().and_then(|cell| cell.value);
            let value_type = plan.set().feature(id)?.value_type;
            let values = match (value_type, value) {
                (ValueType::Number, Some(FeatureValue::Number(default))) => Values::Numbers(vec![default; rows]),
                (ValueType::Number, _) => Values::Numbers(vec![f64::NAN; rows]),
                (_, default) => Values::Others(vec![default.map(Box::new); rows]),
            };
            Some(Column { id, value_type, statuses: vec![Status::NotFound; rows], values })
        };
        let attributes = if wants_attributes(plan, entity) { vec![None; rows] } else { Vec::new() };
        Self { entity, columns: unknown.into_iter().filter_map(column).collect(), attributes }
    }

    /// Notes what some rows are told.
    pub(super) fn tell(&mut self, part: Part) {
        for (column, told) in self.columns.iter_mut().zip(part.columns) {
            for (row, cell) in part.rows.iter().zip(told.cells) {
                column.set(*row as usize, cell);
            }
        }
        for (row, attributes) in part.rows.iter().zip(part.attributes) {
            if let Some(place) = self.attributes.get_mut(*row as usize) {
                *place = attributes;
            }
        }
    }

    /// A feature of the rows from `from` on as it was told, without a detour over cells; none if the feature is no stored one of this entity.
    pub(super) fn column(&self, id: FeatureId, from: usize, rows: usize) -> Option<Told> {
        let column = self.columns.iter().find(|column| column.id == id)?;
        let array: ArrayRef = match &column.values {
            Values::Numbers(numbers) => {
                let numbers = numbers.get(from..from + rows)?.iter();
                Arc::new(numbers.map(|number| (!number.is_nan()).then_some(*number)).collect::<Float64Array>())
            }
            Values::Others(values) => {
                let values = values.get(from..from + rows)?.iter();
                value_column(column.value_type, values.map(Option::as_deref))
            }
        };
        Some((array, column.statuses.get(from..from + rows)?.to_vec()))
    }

    /// The rows from `from` on as if they had been fetched.
    pub(super) fn fetched(&self, plan: &ReadPlan, from: usize, rows: usize) -> Result<Fetched, ArrowError> {
        let columns = self.columns.iter().map(|column| FeatureColumn {
            id: column.id,
            cells: (from..from + rows).map(|row| column.get(row)).collect(),
        });
        let known = self.attributes.get(from..from + rows).unwrap_or_default();
        let attributes = fetched_attributes(plan, self.entity, known)?;
        Ok(Fetched { versions: vec![None; rows], columns: columns.collect(), attributes })
    }
}

/// Attributes as if they had been fetched; none if no row has a place for any.
pub(super) fn fetched_attributes(
    plan: &ReadPlan,
    entity: Entity,
    known: &[Option<Arc<Attributes>>],
) -> Result<FetchedAttributes, ArrowError> {
    Ok(match entity {
        Entity::User if !known.is_empty() => {
            FetchedAttributes::Users(known.iter().map(|known| known.as_deref().cloned().unwrap_or_default()).collect())
        }
        Entity::Item if !known.is_empty() => FetchedAttributes::Items(item_columns(plan, known)?),
        _ => FetchedAttributes::None,
    })
}

fn item_columns(plan: &ReadPlan, known: &[Option<Arc<Attributes>>]) -> Result<RecordBatch, ArrowError> {
    let (mut fields, mut arrays) = (Vec::new(), Vec::new());
    for place in plan.item_attributes() {
        let Some((name, kind)) = plan.set().item_attributes().fields().get(*place) else { continue };
        let array = attribute_column(*kind, &mut known.iter().map(|known| known.as_ref()?.get(name)));
        fields.push(Field::new(name, array.data_type().clone(), true));
        arrays.push(array);
    }
    let options = RecordBatchOptions::new().with_row_count(Some(known.len()));
    RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), arrays, &options)
}

impl Column {
    fn set(&mut self, row: usize, cell: Cell) {
        if let Some(status) = self.statuses.get_mut(row) {
            *status = cell.status;
        }
        match (&mut self.values, cell.value) {
            (Values::Numbers(numbers), Some(FeatureValue::Number(number))) => {
                if let Some(place) = numbers.get_mut(row) {
                    *place = number;
                }
            }
            (Values::Others(values), value) => {
                if let Some(place) = values.get_mut(row) {
                    *place = value.map(Box::new);
                }
            }
            (Values::Numbers(numbers), _) => {
                if let Some(place) = numbers.get_mut(row) {
                    *place = f64::NAN;
                }
            }
        }
    }

    /// Without the time that it is from, which no expression reads.
    fn get(&self, row: usize) -> Cell {
        let value = match &self.values {
            Values::Numbers(numbers) => {
                numbers.get(row).filter(|number| !number.is_nan()).map(|number| FeatureValue::Number(*number))
            }
            Values::Others(values) => values.get(row).and_then(|value| value.as_deref().cloned()),
        };
        let status = self.statuses.get(row).copied().unwrap_or(Status::NotFound);
        Cell { value, status, event_time: None }
    }
}
