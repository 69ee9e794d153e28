//! Values and Arrow columns of each other.

use std::sync::Arc;

use arrow_array::builder::{Float32Builder, Float64Builder, ListBuilder, StringBuilder, StructBuilder};
use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, Float64Type, TimestampMicrosecondType};
use arrow_array::{Array, ArrayRef, BooleanArray, Float64Array, StringArray, TimestampMicrosecondArray};
use arrow_schema::{DataType, Field, Fields, TimeUnit};
use tastemaker_types::{AttributeType, FeatureValue, Timestamp, Value};

use crate::read::Cell;
use crate::set::ValueType;

/// The values of cells; of another type than the feature's they are NULL.
pub fn feature_column(value_type: ValueType, cells: &[Cell]) -> ArrayRef {
    value_column(value_type, cells.iter().map(|cell| cell.value.as_ref()))
}

/// As [`feature_column`], of values without their cells.
pub(crate) fn value_column<'a>(
    value_type: ValueType,
    values: impl Iterator<Item = Option<&'a FeatureValue>>,
) -> ArrayRef {
    match value_type {
        ValueType::Number => Arc::new(
            values.map(|v| if let FeatureValue::Number(v) = v? { Some(*v) } else { None }).collect::<Float64Array>(),
        ),
        ValueType::Bool => Arc::new(
            values.map(|v| if let FeatureValue::Bool(v) = v? { Some(*v) } else { None }).collect::<BooleanArray>(),
        ),
        ValueType::Text => Arc::new(
            values.map(|v| if let FeatureValue::Text(v) = v? { Some(v) } else { None }).collect::<StringArray>(),
        ),
        ValueType::Time => times(values.map(|v| if let FeatureValue::Time(v) = v? { Some(*v) } else { None })),
        ValueType::Texts => {
            lists(values.map(|v| if let FeatureValue::Texts(v) = v? { Some(v.as_slice()) } else { None }))
        }
        ValueType::Vector => {
            let mut vectors = ListBuilder::new(Float32Builder::new());
            for value in values {
                let vector = if let Some(FeatureValue::Vector(vector)) = value { Some(vector) } else { None };
                vector.into_iter().for_each(|vector| vectors.values().append_slice(vector));
                vectors.append(vector.is_some());
            }
            Arc::new(vectors.finish())
        }
        ValueType::Map => {
            // A list of pairs, because not every reader of Parquet knows maps.
            let mut maps = ListBuilder::new(StructBuilder::from_fields(map_fields(), 0));
            for value in values {
                let map = if let Some(FeatureValue::Map(map)) = value { Some(map) } else { None };
                for (name, number) in map.into_iter().flatten() {
                    let entries = maps.values();
                    if let Some(names) = entries.field_builder::<StringBuilder>(0) {
                        names.append_value(name);
                    }
                    if let Some(numbers) = entries.field_builder::<Float64Builder>(1) {
                        numbers.append_value(*number);
                    }
                    entries.append(true);
                }
                maps.append(map.is_some());
            }
            Arc::new(maps.finish())
        }
    }
}

fn map_fields() -> Fields {
    [("name", DataType::Utf8), ("number", DataType::Float64)]
        .map(|(name, kind)| Field::new(name, kind, true))
        .into_iter()
        .collect()
}

/// The Arrow type of [`feature_column`].
pub(crate) fn feature_arrow_type(value_type: ValueType) -> DataType {
    let list = |item| DataType::List(Arc::new(Field::new_list_field(item, true)));
    match value_type {
        ValueType::Number => DataType::Float64,
        ValueType::Bool => DataType::Boolean,
        ValueType::Text => DataType::Utf8,
        ValueType::Time => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        ValueType::Texts => list(DataType::Utf8),
        ValueType::Vector => list(DataType::Float32),
        ValueType::Map => list(DataType::Struct(map_fields())),
    }
}

/// The values of an attribute; of another type than that they are NULL.
pub fn attribute_column(kind: AttributeType, values: &mut dyn Iterator<Item = Option<&Value>>) -> ArrayRef {
    match kind {
        AttributeType::Tag | AttributeType::Text => {
            let texts: StringArray =
                values.map(|v| if let Value::Text(v) = v? { Some(v.as_str()) } else { None }).collect();
            let texts: ArrayRef = Arc::new(texts);
            // Expressions compare tags as such.
            arrow_cast::cast(&texts, &tastemaker_expr::arrow_type(kind)).unwrap_or(texts)
        }
        AttributeType::Number => {
            Arc::new(values.map(|v| if let Value::Number(v) = v? { Some(*v) } else { None }).collect::<Float64Array>())
        }
        AttributeType::Bool => {
            Arc::new(values.map(|v| if let Value::Bool(v) = v? { Some(*v) } else { None }).collect::<BooleanArray>())
        }
        AttributeType::Time => times(values.map(|v| if let Value::Time(v) = v? { Some(*v) } else { None })),
        AttributeType::Tags => lists(values.map(|v| if let Value::Tags(v) = v? { Some(v.as_slice()) } else { None })),
    }
}

fn times(values: impl Iterator<Item = Option<Timestamp>>) -> ArrayRef {
    let micros = values.map(|value| value.map(|at| at.as_micros()));
    Arc::new(micros.collect::<TimestampMicrosecondArray>().with_timezone("UTC"))
}

fn lists<'a>(values: impl Iterator<Item = Option<&'a [String]>>) -> ArrayRef {
    let mut lists = ListBuilder::new(StringBuilder::new());
    for value in values {
        value.into_iter().flatten().for_each(|text| lists.values().append_value(text));
        lists.append(value.is_some());
    }
    Arc::new(lists.finish())
}

/// One value of an expression's result or a table's column.
pub(crate) fn value_at(value_type: ValueType, values: &ArrayRef, row: usize) -> Option<FeatureValue> {
    if row >= values.len() || values.is_null(row) {
        return None;
    }
    Some(match value_type {
        ValueType::Number => {
            let number = values.as_primitive_opt::<Float64Type>()?.value(row);
            if !number.is_finite() {
                return None;
            }
            FeatureValue::Number(number)
        }
        ValueType::Bool => FeatureValue::Bool(values.as_boolean_opt()?.value(row)),
        ValueType::Text => FeatureValue::Text(values.as_string_opt::<i32>()?.value(row).to_owned()),
        ValueType::Time => FeatureValue::Time(Timestamp::from_micros(
            values.as_primitive_opt::<TimestampMicrosecondType>()?.value(row),
        )),
        ValueType::Texts => {
            let list = values.as_list_opt::<i32>()?.value(row);
            let texts = list.as_string_opt::<i32>()?;
            FeatureValue::Texts(texts.iter().flatten().map(str::to_owned).collect())
        }
        ValueType::Vector => {
            let list = values.as_list_opt::<i32>()?.value(row);
            FeatureValue::Vector(list.as_primitive_opt::<Float32Type>()?.values().to_vec())
        }
        ValueType::Map => return None,
    })
}
