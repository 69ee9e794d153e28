//! Features that are computed from others: expressions over features, attributes and request parameters.

use arrow_schema::DataType;
use tastemaker_config::{Config, Entity};
use tastemaker_expr::{Column, Expr, ExprError, Kind, Params, Problem, Schema, arrow_type};
use tastemaker_types::AttributeType;

use super::{Feature, FeatureId, FeatureSet, FeatureSetError, LONG_AGO_AND_FAR_AHEAD, Source, ValueType, default_of};

/// The column that holds the moment of the request.
pub(crate) const NOW: &str = "context.now";

/// A compiled expression and what its columns are.
#[derive(Debug, Clone)]
pub struct Expression {
    expr: Expr,
    inputs: Vec<(Column, InputColumn)>,
}

/// What a column of an expression is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InputColumn {
    /// A feature.
    Feature(FeatureId),
    /// An attribute of the user, by its place.
    User(usize),
    /// An attribute of the item, by its place.
    Item(usize),
    /// A request parameter, by its place.
    Context(usize),
    /// The moment of the request.
    Now,
}

impl Expression {
    /// The expression itself.
    pub fn expr(&self) -> &Expr {
        &self.expr
    }

    /// Its columns.
    pub fn inputs(&self) -> &[(Column, InputColumn)] {
        &self.inputs
    }

    /// The features that it reads.
    pub fn features(&self) -> impl Iterator<Item = FeatureId> + '_ {
        self.inputs.iter().filter_map(|(_, input)| if let InputColumn::Feature(id) = input { Some(*id) } else { None })
    }
}

impl FeatureSet {
    /// Expressions may name each other in any order, so those that can be compiled are, until none is left.
    pub(super) fn add_expressions(&mut self, config: &Config) -> Result<(), FeatureSetError> {
        let mut pending: Vec<usize> =
            (0..config.features.len()).filter(|index| config.features[*index].expression.is_some()).collect();
        while !pending.is_empty() {
            let mut waiting = Vec::new();
            let mut first_error = None;
            let before = pending.len();
            for index in pending {
                let Some(feature) = config.features.get(index) else { continue };
                let text = feature.expression.as_deref().unwrap_or_default();
                match self.compile_expression(text, feature.entity) {
                    Ok(expression) => {
                        let value_type = value_type(&expression).map_err(|message| {
                            FeatureSetError::new(format!("features[{index}].expression"), message)
                        })?;
                        let key = format!("features[{index}].default");
                        let default = default_of(&key, value_type, feature.default.as_ref())?;
                        self.add(Feature {
                            entity: feature.entity,
                            name: feature.name.clone(),
                            view: feature.view.clone().unwrap_or_else(|| feature.entity.name().to_owned()),
                            value_type,
                            source: Source::Expression(self.expressions.len()),
                            ttl: None,
                            default,
                        });
                        self.expressions.push(expression);
                    }
                    Err(error) => {
                        first_error.get_or_insert((index, error));
                        waiting.push(index);
                    }
                }
            }
            if waiting.len() == before
                && let Some((index, error)) = first_error
            {
                return Err(FeatureSetError::new(format!("features[{index}].expression"), error));
            }
            pending = waiting;
        }
        Ok(())
    }

    /// Compiles an expression over what there is of `entity` so far: `user.x` of a user, `item.y` of an item, both and `pair.z` of a pair,
    /// and `context.w` everywhere. The names of the entity's own need no prefix.
    ///
    /// # Errors
    /// What is wrong with it, and where.
    pub fn compile_expression(&self, text: &str, entity: Entity) -> Result<Expression, String> {
        let (schema, inputs) = self.expression_schema(entity);
        let compile = |now| Expr::compile(text, &schema, &Params::at(now));
        let told = |error: ExprError| match &error.problem {
            Problem::UnknownAttribute { .. } => {
                format!("{error} (features that need each other in a circle are unknown, too)")
            }
            _ => error.to_string(),
        };
        let [expr, later] = LONG_AGO_AND_FAR_AHEAD.map(compile);
        let (expr, later) = (expr.map_err(told)?, later.map_err(told)?);
        if expr.cache_key() != later.cache_key() {
            return Err(format!("now() stands still when a feature is declared; use {NOW}"));
        }
        let known = |column: &Column| inputs.get(column.index).map(|input| (column.clone(), *input));
        let inputs = expr.column_refs().iter().filter_map(known).collect();
        Ok(Expression { expr, inputs })
    }

    fn expression_schema(&self, entity: Entity) -> (Schema, Vec<InputColumn>) {
        let mut columns: Vec<(String, DataType)> = Vec::new();
        let mut inputs = Vec::new();
        let sees = |of: Entity| of == entity || entity == Entity::Pair;
        let mut attributes = |prefix: &str, fields: &[(String, AttributeType)], input: fn(usize) -> InputColumn| {
            for (place, (name, kind)) in fields.iter().enumerate() {
                columns.push((format!("{prefix}.{name}"), arrow_type(*kind)));
                inputs.push(input(place));
            }
        };
        if sees(Entity::User) {
            attributes("user", self.users.fields(), InputColumn::User);
        }
        if sees(Entity::Item) {
            attributes("item", self.items.fields(), InputColumn::Item);
        }
        attributes("context", self.context.fields(), InputColumn::Context);
        columns.push((NOW.to_owned(), arrow_type(AttributeType::Time)));
        inputs.push(InputColumn::Now);
        for (id, feature) in self.features.iter().enumerate().filter(|(_, feature)| sees(feature.entity)) {
            if let Some(data_type) = feature.value_type.expression_type() {
                columns.push((format!("{}.{}", feature.entity.name(), feature.name), data_type));
                inputs.push(InputColumn::Feature(FeatureId(id)));
            }
        }
        (Schema::new(columns).with_default_qualifier(entity.name()), inputs)
    }
}

fn value_type(expression: &Expression) -> Result<ValueType, String> {
    Ok(match expression.expr().kind() {
        Some(Kind::Number) => ValueType::Number,
        Some(Kind::Bool) => ValueType::Bool,
        Some(Kind::Text) => ValueType::Text,
        Some(Kind::Time) => ValueType::Time,
        Some(Kind::Tags) => ValueType::Texts,
        Some(Kind::Interval) => return Err("the expression is an interval; make it a number, as of seconds".to_owned()),
        None => return Err("the expression is always NULL".to_owned()),
    })
}
