//! Reading features: many entities and many features in one call, each value with an honest status and the time it is from.
//!
//! A read has two steps. [`OnlineState::fetch_users`](crate::OnlineState::fetch_users) and its siblings take what is stored of each
//! entity at one moment, with the entity's version; [`ReadPlan::assemble`] computes expressions over it and puts the columns in the order
//! that was asked for. A replay fetches each entity when it has reached the version that a request saw, and assembles by the same code.

use std::borrow::Cow;
use std::sync::Arc;

use arrow_array::{Array, ArrayRef, RecordBatch, RecordBatchOptions, TimestampMicrosecondArray, UInt32Array};
use arrow_schema::{ArrowError, Field, Schema as ArrowSchema};
use tastemaker_config::Entity;
use tastemaker_expr::EvalError;
use tastemaker_types::{Attributes, FeatureValue, Position, Timestamp};

use crate::cell::why_null;
pub use crate::cell::{Cell, Status};
use crate::columns::{attribute_column, feature_column, value_at};
use crate::entity::EntityFeatures;
use crate::set::{FeatureId, FeatureSet, InputColumn, SharedFeatures, Source};

/// One feature of all rows of a read.
#[derive(Debug, Clone, PartialEq)]
pub struct FeatureColumn {
    /// Which.
    pub id: FeatureId,
    /// A cell for each row.
    pub cells: Vec<Cell>,
}

/// Vectors of the generation that serves.
pub trait Embeddings {
    /// The vector of a user with these latest liked items, if it can be made.
    fn user(&self, history: &[crate::Liked]) -> Option<Vec<f32>>;
    /// The vector of an item.
    fn item(&self, row: u32) -> Option<Vec<f32>>;
    /// When the generation was trained.
    fn trained(&self) -> Timestamp;
}

/// Which features are wanted, and what has to be fetched for them.
#[derive(Debug, Clone)]
pub struct ReadPlan {
    set: SharedFeatures,
    wanted: Vec<FeatureId>,
    /// Expressions among them or needed by them, each after what it needs.
    computed: Vec<FeatureId>,
    /// By entity: what is stored.
    stored: [Vec<FeatureId>; 3],
    user_attributes: bool,
    item_attributes: Vec<usize>,
}

/// What was stored of some entities of one kind at one moment.
#[derive(Debug, Clone)]
pub struct Fetched {
    /// The last record that concerned each entity.
    pub versions: Vec<Option<Position>>,
    /// The features of the plan that are stored of this kind of entity.
    pub columns: Vec<FeatureColumn>,
    pub(crate) attributes: FetchedAttributes,
}

#[derive(Debug, Clone, Default)]
pub(crate) enum FetchedAttributes {
    #[default]
    None,
    Users(Vec<Attributes>),
    Items(RecordBatch),
}

impl Fetched {
    /// Fetches of single entities put together in order; they must be of one plan and kind.
    pub fn concat(parts: Vec<Self>) -> Result<Self, ArrowError> {
        let mut parts = parts.into_iter();
        let Some(mut all) = parts.next() else {
            return Ok(Self { versions: Vec::new(), columns: Vec::new(), attributes: FetchedAttributes::None });
        };
        let mut batches = Vec::new();
        if let FetchedAttributes::Items(batch) = &all.attributes {
            batches.push(batch.clone());
        }
        for part in parts {
            all.versions.extend(part.versions);
            for (column, more) in all.columns.iter_mut().zip(part.columns) {
                column.cells.extend(more.cells);
            }
            match (&mut all.attributes, part.attributes) {
                (FetchedAttributes::Users(users), FetchedAttributes::Users(more)) => users.extend(more),
                (_, FetchedAttributes::Items(batch)) => batches.push(batch),
                _ => {}
            }
        }
        if let Some(first) = batches.first() {
            // Tags have a dictionary per batch, which concatenation merges.
            all.attributes =
                FetchedAttributes::Items(arrow_select::concat::concat_batches(first.schema_ref(), &batches)?);
        }
        Ok(all)
    }
}

impl ReadPlan {
    /// A plan for these features.
    pub fn new(set: &SharedFeatures, wanted: Vec<FeatureId>) -> Self {
        let mut plan = Self {
            set: Arc::clone(set),
            computed: Vec::new(),
            stored: Default::default(),
            user_attributes: false,
            item_attributes: Vec::new(),
            wanted,
        };
        for id in set.closure(&plan.wanted) {
            let Some(feature) = set.feature(id) else { continue };
            let Source::Expression(number) = feature.source else {
                if let Some(stored) = plan.stored.get_mut(feature.entity as usize) {
                    stored.push(id);
                }
                continue;
            };
            plan.computed.push(id);
            for (_, input) in set.expression(number).map(|expression| expression.inputs()).unwrap_or_default() {
                match input {
                    InputColumn::User(_) => plan.user_attributes = true,
                    InputColumn::Item(place) if !plan.item_attributes.contains(place) => {
                        plan.item_attributes.push(*place)
                    }
                    _ => {}
                }
            }
        }
        plan
    }

    /// The features, in the order in which they were asked for.
    pub fn wanted(&self) -> &[FeatureId] {
        &self.wanted
    }

    /// The features that this is a plan for, and everything about them.
    pub fn set(&self) -> &FeatureSet {
        &self.set
    }

    /// Whether anything of this kind of entity has to be fetched, be it to know that the entity exists.
    pub fn needs(&self, entity: Entity) -> bool {
        let stored = self.stored.get(entity as usize).is_some_and(|stored| !stored.is_empty());
        stored
            || match entity {
                Entity::User => self.user_attributes,
                Entity::Item => !self.item_attributes.is_empty(),
                Entity::Pair => false,
            }
    }

    /// The plan without some of the wanted features.
    pub(crate) fn without(&self, left_out: &[FeatureId]) -> Self {
        Self::new(&self.set, self.wanted.iter().filter(|id| !left_out.contains(id)).copied().collect())
    }

    /// Whether an expression reads this feature.
    pub(crate) fn computes_from(&self, id: FeatureId) -> bool {
        let expression = |computed: &FeatureId| match self.set.feature(*computed)?.source {
            Source::Expression(number) => self.set.expression(number),
            _ => None,
        };
        let mut inputs = self.computed.iter().filter_map(expression).flat_map(|expression| expression.inputs());
        inputs.any(|(_, input)| matches!(input, InputColumn::Feature(read) if *read == id))
    }

    /// Whether any of the features is an expression.
    pub(crate) fn computes(&self) -> bool {
        !self.computed.is_empty()
    }

    pub(crate) fn user_attributes(&self) -> bool {
        self.user_attributes
    }

    pub(crate) fn item_attributes(&self) -> &[usize] {
        &self.item_attributes
    }

    /// The features that are stored of an entity.
    pub(crate) fn stored(&self, entity: Entity) -> &[FeatureId] {
        self.stored.get(entity as usize).map(Vec::as_slice).unwrap_or_default()
    }

    /// Empty columns for the stored features of an entity.
    pub(crate) fn columns(&self, entity: Entity, rows: usize) -> Vec<FeatureColumn> {
        self.stored(entity).iter().map(|id| FeatureColumn { id: *id, cells: Vec::with_capacity(rows) }).collect()
    }

    /// Adds the cells of one entity to the columns. `embedding` makes its vector, if that is among them.
    pub(crate) fn push(
        &self,
        columns: &mut [FeatureColumn],
        entity: Entity,
        features: Option<&EntityFeatures>,
        now: Timestamp,
        embedding: impl Fn() -> Option<(Vec<f32>, Timestamp)>,
    ) {
        let kernel = self.set.streams(entity).kernel();
        for column in columns {
            let Some(feature) = self.set.feature(column.id) else { continue };
            let cell = match (feature.source, features) {
                (Source::Stream(number), Some(features)) => kernel
                    .read_with_time(features.state(), number, now)
                    .map_or(Cell::NOT_FOUND, |(at, value)| Cell::new(value, Some(at))),
                (Source::View { view, column }, Some(features)) => {
                    features.row(view, now).map_or(Cell::NOT_FOUND, |row| {
                        Cell::new(row.values.get(column).cloned().flatten(), Some(row.event_time))
                    })
                }
                (Source::Embedding, _) => embedding().map_or(Cell::NOT_FOUND, |(vector, trained)| {
                    Cell::new(Some(FeatureValue::Vector(vector)), Some(trained))
                }),
                (_, None) | (Source::Expression(_), _) => Cell::NOT_FOUND,
            };
            column.cells.push(cell.aged(feature, now));
        }
    }

    /// The wanted columns of `rows` rows. What was fetched of users and items has one row, which then goes for all, or as many.
    ///
    /// # Errors
    /// Never for what was fetched by this plan.
    pub fn assemble(
        &self,
        rows: usize,
        now: Timestamp,
        context: &Attributes,
        fetched: &[(Entity, &Fetched)],
    ) -> Result<Vec<FeatureColumn>, EvalError> {
        self.assemble_at(&vec![now; rows], context, fetched)
    }

    /// As [`ReadPlan::assemble`], each row at a time of its own.
    pub(crate) fn assemble_at(
        &self,
        times: &[Timestamp],
        context: &Attributes,
        fetched: &[(Entity, &Fetched)],
    ) -> Result<Vec<FeatureColumn>, EvalError> {
        let rows = times.len();
        // By feature.
        let mut columns: Vec<Option<Cow<'_, [Cell]>>> = vec![None; self.set.features().len()];
        for FeatureColumn { id, cells } in fetched.iter().flat_map(|(_, fetched)| &fetched.columns) {
            if let Some(place) = columns.get_mut(id.0) {
                *place = Some(spread(cells, rows));
            }
        }
        for id in &self.computed {
            let Some(feature) = self.set.feature(*id) else { continue };
            let Source::Expression(number) = feature.source else { continue };
            let Some(expression) = self.set.expression(number) else { continue };
            let (mut fields, mut arrays, mut sources) = (Vec::new(), Vec::new(), Vec::new());
            let mut attributes: Vec<Option<ArrayRef>> = Vec::new();
            for (column, input) in expression.inputs() {
                let array = match input {
                    InputColumn::Feature(id) => {
                        let Some(Some(cells)) = columns.get(id.0) else { continue };
                        sources.push(cells);
                        let value_type = self.set.feature(*id).map(|feature| feature.value_type);
                        value_type.map(|value_type| feature_column(value_type, cells))
                    }
                    InputColumn::User(place) | InputColumn::Item(place) => {
                        let entity = if matches!(input, InputColumn::User(_)) { Entity::User } else { Entity::Item };
                        let array = attributes_of(fetched, entity, *place, self, rows);
                        attributes.push(array.clone());
                        array
                    }
                    InputColumn::Context(place) => self
                        .set
                        .context()
                        .fields()
                        .get(*place)
                        .map(|(name, kind)| attribute_column(*kind, &mut (0..rows).map(|_| context.get(name)))),
                    InputColumn::Now => {
                        let times = times.iter().map(|at| at.as_micros());
                        let times = TimestampMicrosecondArray::from_iter_values(times).with_timezone("UTC");
                        Some(Arc::new(times) as ArrayRef)
                    }
                };
                let Some(array) = array else { continue };
                fields.push(Field::new(&*column.name, array.data_type().clone(), true));
                arrays.push(array);
            }
            let options = RecordBatchOptions::new().with_row_count(Some(rows));
            let batch = RecordBatch::try_new_with_options(Arc::new(ArrowSchema::new(fields)), arrays, &options)?;
            let values = expression.expr().evaluate(&batch)?;
            let inputs = |row: usize| sources.iter().filter_map(move |cells| cells.get(row));
            let cell = |(row, now): (usize, &Timestamp)| {
                let event_time = inputs(row).filter_map(|cell| cell.event_time).max();
                let mut cell = Cell::new(value_at(feature.value_type, &values, row), event_time);
                if cell.value.is_none() {
                    let known = attributes.iter().map(|array| array.as_ref().is_some_and(|array| array.is_valid(row)));
                    cell.status = why_null(inputs(row).map(|cell| cell.status), known);
                }
                cell.aged(feature, *now)
            };
            let cells = times.iter().enumerate().map(cell).collect();
            if let Some(place) = columns.get_mut(id.0) {
                *place = Some(Cow::Owned(cells));
            }
        }
        let column = |id: &FeatureId| {
            let known = columns.get(id.0).cloned().flatten();
            FeatureColumn { id: *id, cells: known.map_or_else(|| vec![Cell::NOT_FOUND; rows], Cow::into_owned) }
        };
        Ok(self.wanted.iter().map(column).collect())
    }
}

/// A cell for each row.
fn spread(cells: &[Cell], rows: usize) -> Cow<'_, [Cell]> {
    match cells {
        [only] if rows != 1 => Cow::Owned(vec![only.clone(); rows]),
        _ => Cow::Borrowed(cells),
    }
}

fn attributes_of(
    fetched: &[(Entity, &Fetched)],
    entity: Entity,
    place: usize,
    plan: &ReadPlan,
    rows: usize,
) -> Option<ArrayRef> {
    let (_, fetched) = fetched.iter().find(|(kind, _)| *kind == entity)?;
    let one_for_all = |len: usize, row: usize| if len == 1 { 0 } else { row };
    match &fetched.attributes {
        FetchedAttributes::Users(users) => {
            let (name, kind) = plan.set.user_attributes().fields().get(place)?;
            let mut values = (0..rows).map(|row| users.get(one_for_all(users.len(), row))?.get(name));
            Some(attribute_column(*kind, &mut values))
        }
        FetchedAttributes::Items(batch) => {
            let (name, _) = plan.set.item_attributes().fields().get(place)?;
            let column = batch.column_by_name(name)?;
            if column.len() == rows {
                return Some(Arc::clone(column));
            }
            let first = UInt32Array::from(vec![0; rows]);
            arrow_select::take::take(column, &first, None).ok()
        }
        FetchedAttributes::None => None,
    }
}
