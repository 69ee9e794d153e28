//! What the project's expressions may name, and how a compiled one is evaluated over candidates: `price` or `item.price` is an attribute or a
//! feature of the item, `user.x` of the user, `pair.x` a feature of both together, `context.x` a parameter of the request.

use std::sync::Arc;

use arrow_array::{ArrayRef, BooleanArray, RecordBatch, TimestampMicrosecondArray};
use arrow_schema::DataType;
use tastemaker_config::Entity;
use tastemaker_expr::{Column, Columns, Expr, Schema, arrow_type};
use tastemaker_features::attribute_column;
use tastemaker_features::set::{FeatureId, FeatureSet, ValueType};
use tastemaker_pipeline::StageError;
use tastemaker_types::{AttributeSchema, AttributeType, Attributes};

use crate::candidates::Candidates;
use crate::query::Query;

/// What a column of an expression is.
#[derive(Debug, Clone, PartialEq)]
enum Input {
    /// An attribute of the item, by its place.
    Item(usize),
    /// An attribute of the user.
    User(String, AttributeType),
    /// A parameter of the request.
    Context(String, AttributeType),
    /// The moment of the request.
    Now,
    Feature(FeatureId, Entity, ValueType),
}

/// Everything that can be named. The attributes of items come first, in the order of the catalog, so that the catalog can answer what reads them alone.
pub(crate) struct Names {
    schema: Schema,
    inputs: Vec<Input>,
}

impl Names {
    pub(crate) fn new(items: &AttributeSchema, features: &FeatureSet) -> Self {
        let mut columns: Vec<(String, DataType)> = Vec::new();
        let mut inputs = Vec::new();
        let mut add = |name: String, data_type: DataType, input: Input| {
            columns.push((name, data_type));
            inputs.push(input);
        };
        for (place, (name, kind)) in items.fields().iter().enumerate() {
            add(name.clone(), arrow_type(*kind), Input::Item(place));
        }
        for (name, kind) in features.user_attributes().fields() {
            add(format!("user.{name}"), arrow_type(*kind), Input::User(name.clone(), *kind));
        }
        for (name, kind) in features.context().fields() {
            add(format!("context.{name}"), arrow_type(*kind), Input::Context(name.clone(), *kind));
        }
        add("context.now".to_owned(), arrow_type(AttributeType::Time), Input::Now);
        for (id, feature) in (0..).map(FeatureId).zip(features.features()) {
            let Some(data_type) = feature.value_type.expression_type() else { continue };
            let name = match feature.entity {
                Entity::Item => feature.name.clone(),
                entity => format!("{}.{}", entity.name(), feature.name),
            };
            add(name, data_type, Input::Feature(id, feature.entity, feature.value_type));
        }
        Self { schema: Schema::new(columns).with_default_qualifier(Entity::Item.name()), inputs }
    }

    /// What expressions are compiled against.
    pub(crate) fn schema(&self) -> &Schema {
        &self.schema
    }

    /// Whether the catalog has this column.
    pub(crate) fn in_catalog(&self, column: &Column) -> bool {
        matches!(self.inputs.get(column.index), Some(Input::Item(_)))
    }

    /// An expression that was compiled against the schema.
    pub(crate) fn resolve(&self, expr: Expr) -> Compiled {
        let known = |column: &Column| Some((column.index, self.inputs.get(column.index)?.clone()));
        let (items, others) =
            expr.column_refs().iter().filter_map(known).partition::<Vec<_>, _>(|(_, i)| matches!(i, Input::Item(_)));
        Compiled { attributes: items.into_iter().map(|(place, _)| place).collect(), others, expr }
    }
}

/// An expression with what it reads.
#[derive(Debug)]
pub(crate) struct Compiled {
    expr: Expr,
    /// Places of item attributes.
    attributes: Vec<usize>,
    /// All else, by the place in the schema.
    others: Vec<(usize, Input)>,
}

/// A value that was to be read for the candidates is not there: a stage failed before.
#[derive(Debug, thiserror::Error)]
#[error("the features that are needed were not read")]
struct NotRead;

impl Compiled {
    pub(crate) fn expr(&self) -> &Expr {
        &self.expr
    }

    /// Places of the item attributes that it reads.
    pub(crate) fn attributes(&self) -> &[usize] {
        &self.attributes
    }

    /// The features that it reads.
    pub(crate) fn features(&self) -> impl Iterator<Item = FeatureId> + '_ {
        self.others.iter().filter_map(|(_, input)| if let Input::Feature(id, ..) = input { Some(*id) } else { None })
    }

    pub(crate) fn reads_user_attributes(&self) -> bool {
        self.others.iter().any(|(_, input)| matches!(input, Input::User(..)))
    }

    /// Whether it can be one thing for one item and another for the next.
    pub(crate) fn varies(&self) -> bool {
        let of_item = |input: &Input| matches!(input, Input::Feature(_, Entity::Item | Entity::Pair, _));
        !self.attributes.is_empty() || self.others.iter().any(|(_, input)| of_item(input))
    }

    /// For each candidate whether it is true; `attributes` has those that it reads, of the candidates.
    pub(crate) fn filter(
        &self,
        query: &Query,
        batch: &Candidates,
        attributes: &RecordBatch,
    ) -> Result<BooleanArray, StageError> {
        let inputs = self.inputs(query, batch, attributes).ok_or_else(|| StageError::failed(NotRead))?;
        self.expr.filter(&inputs).map_err(StageError::failed)
    }

    /// Its value for each candidate, NULL as `default`; none if features that it needs could not be read.
    pub(crate) fn numbers(
        &self,
        query: &Query,
        batch: &Candidates,
        attributes: &RecordBatch,
        default: f64,
    ) -> Result<Option<Vec<f64>>, StageError> {
        let Some(inputs) = self.inputs(query, batch, attributes) else { return Ok(None) };
        self.expr.numbers(&inputs, default).map(Some).map_err(StageError::failed)
    }

    fn inputs<'a>(&self, query: &Query, batch: &Candidates, attributes: &'a RecordBatch) -> Option<Inputs<'a>> {
        let rows = batch.rows.len();
        let same = |kind: AttributeType, of: &Attributes, name: &str| {
            attribute_column(kind, &mut std::iter::repeat_n(of.get(name), rows))
        };
        let array = |input: &Input| -> Option<ArrayRef> {
            Some(match input {
                Input::User(name, kind) => same(*kind, &query.user_attributes, name),
                Input::Context(name, kind) => same(*kind, &query.context, name),
                Input::Now => {
                    let times = std::iter::repeat_n(query.now.as_micros(), rows);
                    Arc::new(TimestampMicrosecondArray::from_iter_values(times).with_timezone("UTC"))
                }
                Input::Feature(id, _, value_type) => batch.features.as_ref()?.array(*id, *value_type)?,
                Input::Item(_) => return None,
            })
        };
        let others = self.others.iter().map(|(place, input)| Some((*place, array(input)?)));
        Some(Inputs { rows, attributes, others: others.collect::<Option<_>>()? })
    }
}

/// Candidates as an expression sees them.
struct Inputs<'a> {
    rows: usize,
    attributes: &'a RecordBatch,
    others: Vec<(usize, ArrayRef)>,
}

impl Columns for Inputs<'_> {
    fn rows(&self) -> usize {
        self.rows
    }

    fn column(&self, column: &Column) -> Option<&ArrayRef> {
        let other = self.others.iter().find(|(place, _)| *place == column.index).map(|(_, array)| array);
        other.or_else(|| self.attributes.column_by_name(&column.name))
    }
}
