//! [`Expr`]: a text compiled once, evaluated as often as one likes, from any thread.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::{Array, ArrayRef, BooleanArray, RecordBatch};
use arrow_schema::DataType;

use crate::{Ast, Column, EvalError, ExprError, Kind, Params, Schema, eval, parser};

/// Where an evaluation finds its columns.
pub trait Columns {
    /// Number of rows of every column.
    fn rows(&self) -> usize;

    /// The values of a column, `rows` of them.
    fn column(&self, column: &Column) -> Option<&ArrayRef>;
}

impl Columns for RecordBatch {
    fn rows(&self) -> usize {
        self.num_rows()
    }

    /// By name; the place in the schema is tried first. A batch may thus hold only what the expression reads.
    fn column(&self, column: &Column) -> Option<&ArrayRef> {
        match self.schema_ref().fields().get(column.index) {
            Some(field) if **field.name() == *column.name => self.columns().get(column.index),
            _ => self.column_by_name(&column.name),
        }
    }
}

/// A compiled expression.
#[derive(Debug, Clone)]
pub struct Expr {
    ast: Ast,
    kind: Option<Kind>,
    columns: Vec<Column>,
    indices: Vec<usize>,
    cache_key: Arc<str>,
}

impl Expr {
    /// Parses `sql`, checks it against `schema`, and binds `params`.
    ///
    /// # Errors
    /// [`ExprError`]: what is wrong, where, and what to write instead.
    pub fn compile(sql: &str, schema: &Schema, params: &Params) -> Result<Self, ExprError> {
        parser::parse(sql, schema, params).map(Self::of)
    }

    fn of(ast: Ast) -> Self {
        let mut columns = BTreeMap::new();
        collect_columns(&ast, &mut columns);
        let cache_key = ast.to_string().into();
        let indices = columns.keys().copied().collect();
        Self { kind: ast.kind(), columns: columns.into_values().collect(), indices, cache_key, ast }
    }

    /// As [`Expr::compile`], for a text that must be true or false of a row.
    ///
    /// # Errors
    /// As [`Expr::compile`], and if the expression is not a bool.
    pub fn compile_filter(sql: &str, schema: &Schema, params: &Params) -> Result<Self, ExprError> {
        let compiled = Self::compile(sql, schema, params)?;
        match compiled.kind {
            None | Some(Kind::Bool) => Ok(compiled),
            Some(kind) => {
                let message = format!("a condition is true or false, this is {}", kind.phrase());
                Err(ExprError::type_error(message, crate::error::At::default()).remedy("compare it with something"))
            }
        }
    }

    /// What it computes; none for the constant NULL.
    pub fn kind(&self) -> Option<Kind> {
        self.kind
    }

    /// The Arrow type of [`Expr::evaluate`]'s result.
    pub fn data_type(&self) -> DataType {
        self.kind.unwrap_or(Kind::Bool).data_type()
    }

    /// The places in the schema of the columns it reads, in order.
    pub fn columns(&self) -> &[usize] {
        &self.indices
    }

    /// The columns it reads, in the order of the schema.
    pub fn column_refs(&self) -> &[Column] {
        &self.columns
    }

    /// The normal form: equal keys mean equal results on equal columns.
    pub fn cache_key(&self) -> &str {
        &self.cache_key
    }

    /// The checked tree, for backends that translate it into filters of their own.
    pub fn ast(&self) -> &Ast {
        &self.ast
    }

    /// The conditions of which all must be true for this one to be: the operands of its `AND`. A condition without `AND` is one.
    pub fn conjuncts(&self) -> Vec<Self> {
        let mut conjuncts = Vec::new();
        collect_conjuncts(&self.ast, &mut conjuncts);
        conjuncts.into_iter().map(|ast| Self::of(ast.clone())).collect()
    }

    /// The condition that is true where all of `conjuncts` are; none of none.
    pub fn all(mut conjuncts: Vec<Self>) -> Option<Self> {
        match conjuncts.len() {
            0 | 1 => conjuncts.pop(),
            _ => Some(Self::of(Ast::And(conjuncts.into_iter().map(|part| part.ast).collect()))),
        }
    }

    /// A condition in two parts, of which both are true where it is: the operands of its `AND` that read nothing but columns for which `first`
    /// is true, and the others. A condition without `AND` is one operand.
    pub fn split(&self, first: impl Fn(&Column) -> bool) -> (Option<Self>, Option<Self>) {
        let (firsts, others) = self.conjuncts().into_iter().partition(|part| part.columns.iter().all(&first));
        (Self::all(firsts), Self::all(others))
    }

    /// Its value for every row, as an array of [`Expr::data_type`].
    ///
    /// # Errors
    /// If the batch lacks a column or holds another type than the schema said.
    pub fn evaluate(&self, columns: &dyn Columns) -> Result<ArrayRef, EvalError> {
        eval::evaluate(&self.ast, columns)?.into_array(self.kind.unwrap_or(Kind::Bool), columns.rows())
    }

    /// Whether it is true for every row; NULL counts as false, so the result has no nulls.
    ///
    /// # Errors
    /// As [`Expr::evaluate`], and if the expression is not a bool.
    pub fn filter(&self, columns: &dyn Columns) -> Result<BooleanArray, EvalError> {
        if let Some(found) = self.kind.filter(|kind| *kind != Kind::Bool) {
            return Err(EvalError::NotAFilter { found });
        }
        let truth = match eval::evaluate(&self.ast, columns)? {
            eval::Vector::Bool(array) => eval::truth(&array),
            other => {
                eval::truth(arrow_array::cast::AsArray::as_boolean(&other.into_array(Kind::Bool, columns.rows())?))
            }
        };
        Ok(BooleanArray::new(truth, None))
    }

    /// Its value for every row as numbers, NULL as `default`: for scores and weights.
    ///
    /// # Errors
    /// As [`Expr::evaluate`], and if the expression is neither a number nor a bool.
    pub fn numbers(&self, columns: &dyn Columns, default: f64) -> Result<Vec<f64>, EvalError> {
        let array = self.evaluate(columns)?;
        let array = arrow_cast::cast(&array, &DataType::Float64)?;
        let numbers = arrow_array::cast::AsArray::as_primitive::<arrow_array::types::Float64Type>(&array);
        Ok(match numbers.nulls() {
            None => numbers.values().to_vec(),
            Some(_) => numbers.iter().map(|number| number.unwrap_or(default)).collect(),
        })
    }
}

fn collect_conjuncts<'a>(ast: &'a Ast, into: &mut Vec<&'a Ast>) {
    match ast {
        Ast::And(operands) => operands.iter().for_each(|operand| collect_conjuncts(operand, into)),
        other => into.push(other),
    }
}

fn collect_columns(ast: &Ast, into: &mut BTreeMap<usize, Column>) {
    if let Ast::Column(column) = ast {
        into.entry(column.index).or_insert_with(|| column.clone());
    }
    for operand in ast.operands() {
        collect_columns(operand, into);
    }
}
