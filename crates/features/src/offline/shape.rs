//! How features of many entities are laid out as columns.

use std::sync::Arc;

use arrow_array::builder::{Float64Builder, StringBuilder};
use arrow_array::{Array, ArrayRef, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};
use tastemaker_config::Entity;
use tastemaker_types::FeatureValue;

use super::OfflineError;
use super::present::Rows;
use crate::columns::{feature_arrow_type, feature_column};
use crate::read::Status;
use crate::set::{FeatureId, FeatureSet};

const ENTITIES: [Entity; 3] = [Entity::User, Entity::Item, Entity::Pair];

/// What is one row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// A feature of an entity, unless nothing is known that it could come from (its status would be `NOT_FOUND`): `entity` (`user`, `item`,
    /// `pair`), `user_id`, `item_id`, `feature`, `view`, `value` (text; lists and maps as JSON), `number` (the value if it is one),
    /// `status`, `event_timestamp`.
    Values,
    /// An entity of this kind: its ids, and a column of its own type for each feature.
    Entities(Entity),
}

impl Shape {
    /// The kinds of entities that are in it.
    pub(super) fn entities(&self) -> &[Entity] {
        match self {
            Self::Values => &ENTITIES,
            Self::Entities(entity) => std::slice::from_ref(entity),
        }
    }

    pub(super) fn schema(self, set: &FeatureSet, features: &[FeatureId]) -> SchemaRef {
        let text = |name: &str, nullable| Field::new(name, DataType::Utf8, nullable);
        let fields = match self {
            Self::Values => vec![
                text("entity", false),
                text("user_id", true),
                text("item_id", true),
                text("feature", false),
                text("view", false),
                text("value", true),
                Field::new("number", DataType::Float64, true),
                text("status", false),
                Field::new("event_timestamp", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), true),
            ],
            Self::Entities(entity) => {
                let keys = keys(entity).iter().map(|key| text(key, false));
                let features = features.iter().filter_map(|id| set.feature(*id)).map(|feature| {
                    // Nobody names a feature so; if somebody does, the id keeps its name.
                    let named = keys_of(entity, &feature.name);
                    let name = if named { format!("{}.{}", entity.name(), feature.name) } else { feature.name.clone() };
                    Field::new(name, feature_arrow_type(feature.value_type), true)
                });
                keys.chain(features).collect()
            }
        };
        Arc::new(Schema::new(fields))
    }

    pub(super) fn batch(
        self,
        set: &FeatureSet,
        schema: &SchemaRef,
        rows: &Rows<'_>,
    ) -> Result<RecordBatch, OfflineError> {
        let arrays = match self {
            Self::Values => values(set, rows),
            Self::Entities(entity) => {
                let users = rows.ids.iter().map(|(user, _)| *user).collect::<StringArray>();
                let items = rows.ids.iter().map(|(_, item)| *item).collect::<StringArray>();
                let ids = keys(entity).iter().map(|key| if *key == USER { users.clone() } else { items.clone() });
                let features = rows.columns.iter().filter_map(|column| {
                    set.feature(column.id).map(|feature| feature_column(feature.value_type, &column.cells))
                });
                ids.map(|ids| Arc::new(ids) as ArrayRef).chain(features).collect()
            }
        };
        Ok(RecordBatch::try_new(Arc::clone(schema), arrays)?)
    }
}

const USER: &str = "user_id";
const ITEM: &str = "item_id";

fn keys(entity: Entity) -> &'static [&'static str] {
    match entity {
        Entity::User => &[USER],
        Entity::Item => &[ITEM],
        Entity::Pair => &[USER, ITEM],
    }
}

fn keys_of(entity: Entity, name: &str) -> bool {
    keys(entity).contains(&name)
}

fn values(set: &FeatureSet, rows: &Rows<'_>) -> Vec<ArrayRef> {
    let mut texts: [StringBuilder; 6] = Default::default();
    let [user_ids, item_ids, features, views, values, statuses] = &mut texts;
    let mut numbers = Float64Builder::new();
    let mut times = Vec::new();
    for (row, (user, item)) in rows.ids.iter().enumerate() {
        for column in &rows.columns {
            let (Some(feature), Some(cell)) = (set.feature(column.id), column.cells.get(row)) else { continue };
            if cell.status == Status::NotFound {
                continue;
            }
            user_ids.append_option(*user);
            item_ids.append_option(*item);
            features.append_value(&feature.name);
            views.append_value(&feature.view);
            values.append_option(cell.value.as_ref().map(text_of));
            statuses.append_value(cell.status.name());
            numbers.append_option(match cell.value {
                Some(FeatureValue::Number(number)) => Some(number),
                _ => None,
            });
            times.push(cell.event_time.map(|at| at.as_micros()));
        }
    }
    let entities = StringArray::from_iter_values(std::iter::repeat_n(rows.entity.name(), times.len()));
    let [user_ids, item_ids, features, views, values, statuses] = texts.map(|mut texts| texts.finish());
    let times = TimestampMicrosecondArray::from(times).with_timezone("UTC");
    let arrays: [Arc<dyn Array>; 9] = [
        Arc::new(entities),
        Arc::new(user_ids),
        Arc::new(item_ids),
        Arc::new(features),
        Arc::new(views),
        Arc::new(values),
        Arc::new(numbers.finish()),
        Arc::new(statuses),
        Arc::new(times),
    ];
    arrays.into()
}

/// A text, number, truth or time as it is written; lists and maps as JSON.
fn text_of(value: &FeatureValue) -> String {
    let json = |value: serde_json::Value| value.to_string();
    match value {
        FeatureValue::Text(text) => text.clone(),
        FeatureValue::Number(number) => number.to_string(),
        FeatureValue::Bool(truth) => truth.to_string(),
        FeatureValue::Time(time) => time.to_string(),
        FeatureValue::Texts(texts) => json(texts.as_slice().into()),
        // Through their text, so that 0.1 stays 0.1 in double precision.
        FeatureValue::Vector(vector) => {
            format!("[{}]", vector.iter().map(f32::to_string).collect::<Vec<_>>().join(","))
        }
        FeatureValue::Map(map) => {
            let entries = map.iter().map(|(name, number)| format!("{}:{number}", json(name.as_str().into())));
            format!("{{{}}}", entries.collect::<Vec<_>>().join(","))
        }
    }
}

#[cfg(test)]
mod tests {
    use tastemaker_types::Timestamp;

    use super::*;

    #[test]
    fn values_are_text_as_people_write_them_and_lists_are_json() {
        let cases = [
            (FeatureValue::Number(2.0), "2"),
            (FeatureValue::Number(-0.5), "-0.5"),
            (FeatureValue::Text("say \"ü\"".to_owned()), "say \"ü\""),
            (FeatureValue::Bool(true), "true"),
            (FeatureValue::Time(Timestamp::EPOCH), "1970-01-01T00:00:00Z"),
            (FeatureValue::Texts(vec!["a\"".to_owned(), "b".to_owned()]), r#"["a\"","b"]"#),
            (FeatureValue::Vector(vec![0.1, -2.0]), "[0.1,-2]"),
            (FeatureValue::Map(vec![("a\n".to_owned(), 1.5), ("b".to_owned(), 3.0)]), r#"{"a\n":1.5,"b":3}"#),
        ];
        for (value, expected) in cases {
            assert_eq!(text_of(&value), expected);
        }
    }
}
