//! Batch feature views as tables.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use tastemaker_config::{Entity, FeatureViewConfig};
use tastemaker_types::{Timestamp, Window};

use super::alone::{Alone, AloneFeature};
use super::gather::Forgotten;
use super::{HistoricalOptions, OfflineError};
use crate::ReadPlan;
use crate::columns::value_at;
use crate::entity::ViewRow;
use crate::set::{FeatureId, FeatureSet, Source, ValueType};

use crate::table::keys::Key;
use crate::table::{
    FeatureColumn, FeatureType, JoinOptions, JoinRows, Joined, KeyColumn, Table, TableSource, join_where,
};

/// Where the table of a view is, and which of its columns are what; none for a view that has no path.
pub fn table_source(view: &FeatureViewConfig) -> Option<TableSource> {
    view.path.as_deref().map(|path| table_source_at(view, path))
}

/// The rows of a view as a table at `path`, wherever they came from.
pub fn table_source_at(view: &FeatureViewConfig, path: &Path) -> TableSource {
    let key = |name: &str, column: &str| KeyColumn { name: name.to_owned(), column: column.to_owned() };
    let (user, item) = (|| key("user_id", &view.user_column), || key("item_id", &view.item_column));
    let features = view.features.iter().filter_map(|(name, kind)| {
        let feature_type = feature_type(ValueType::from(*kind))?;
        Some(FeatureColumn { name: name.clone(), column: name.clone(), feature_type })
    });
    TableSource {
        path: path.to_string_lossy().into_owned(),
        keys: match view.entity {
            Entity::User => vec![user()],
            Entity::Item => vec![item()],
            Entity::Pair => vec![user(), item()],
        },
        event_time: view.event_time_column.clone(),
        created: view.created_time_column.clone(),
        features: features.collect(),
    }
}

fn feature_type(value_type: ValueType) -> Option<FeatureType> {
    Some(match value_type {
        ValueType::Number => FeatureType::Number,
        ValueType::Bool => FeatureType::Bool,
        ValueType::Text => FeatureType::Text,
        ValueType::Time => FeatureType::Time,
        ValueType::Texts => FeatureType::Texts,
        ValueType::Vector => FeatureType::Vector,
        ValueType::Map => return None,
    })
}

/// The table of a view that features are wanted of.
pub(super) struct ViewTable {
    pub(super) number: u16,
    pub(super) entity: Entity,
    table: Table,
    ttl: Option<Window>,
    /// Of each column of the view: its type and its place in what is read, if it is wanted.
    columns: Arc<[(ValueType, Option<usize>)]>,
    /// The features of the view that are wanted, if they need not be seen row by row as long as the log has no rows of the view; else none.
    pub(super) alone: Vec<AloneFeature>,
}

/// What a table says to the rows that ask.
pub(super) struct TableRows {
    number: u16,
    joined: Joined,
    columns: Arc<[(ValueType, Option<usize>)]>,
}

impl ViewTable {
    /// Opens the tables of the views that the plan reads, of them the columns that it reads.
    pub(super) fn open_all(plan: &ReadPlan, views: &[FeatureViewConfig]) -> Result<Vec<Self>, OfflineError> {
        let set: &FeatureSet = plan.set();
        let mut tables = Vec::new();
        for (number, view) in set.views().iter().enumerate() {
            let wanted = |place: usize| {
                let reads = |id: &FeatureId| {
                    let source = set.feature(*id).map(|feature| feature.source);
                    source == Some(Source::View { view: number, column: place })
                };
                plan.stored(view.entity).iter().any(reads)
            };
            let Some(mut source) = views.get(number).and_then(table_source) else { continue };
            source.features.retain(|column| view.columns.get_index_of(&column.name).is_some_and(wanted));
            if source.features.is_empty() {
                continue;
            }
            let place = |name: &String| source.features.iter().position(|column| column.name == *name);
            let columns: Arc<[_]> = view.columns.iter().map(|(name, kind)| (*kind, place(name))).collect();
            let alone = alone(plan, view.entity, number, &columns);
            let ttl = views.get(number).and_then(|view| view.ttl);
            let Ok(number) = u16::try_from(number) else { continue };
            tables.push(Self { number, entity: view.entity, table: Table::open(&source)?, ttl, columns, alone });
        }
        Ok(tables)
    }

    /// Looks up what the features of the view were at the times of `rows`, if the log has no rows of it.
    pub(super) fn features(
        &self,
        rows: &JoinRows,
        options: &HistoricalOptions,
        forgotten: &HashMap<String, Forgotten>,
    ) -> Result<Alone<'_>, OfflineError> {
        Ok(Alone { features: &self.alone, joined: self.joined(rows, self.ttl, options, forgotten)? })
    }

    /// Looks up what was known at the times of `rows`.
    pub(super) fn rows(
        &self,
        rows: &JoinRows,
        options: &HistoricalOptions,
        forgotten: &HashMap<String, Forgotten>,
    ) -> Result<TableRows, OfflineError> {
        // The ttl is enforced where features are read, over what tables and pushed rows come to together.
        let joined = self.joined(rows, None, options, forgotten)?;
        Ok(TableRows { number: self.number, joined, columns: Arc::clone(&self.columns) })
    }

    /// Rows that were created before their user was forgotten say nothing, whenever is asked: they are not brought back by a table.
    fn joined(
        &self,
        rows: &JoinRows,
        ttl: Option<Window>,
        options: &HistoricalOptions,
        forgotten: &HashMap<String, Forgotten>,
    ) -> Result<Joined, OfflineError> {
        let of_users = self.entity != Entity::Item && !forgotten.is_empty();
        let says = |key: Key<'_>, created: i64| {
            let forgotten = forgotten.get(key.first()).filter(|_| of_users);
            forgotten.is_none_or(|forgotten| created > forgotten.at.as_micros())
        };
        let options = JoinOptions { ttl, include_late: options.include_late };
        Ok(join_where(rows, &self.table, &options, says)?)
    }
}

/// The wanted features of a view, unless there is one of them that an expression reads, or whose lists may have nulls in them, which a
/// value has not.
fn alone(plan: &ReadPlan, entity: Entity, view: usize, columns: &[(ValueType, Option<usize>)]) -> Vec<AloneFeature> {
    let mut features = Vec::new();
    for id in plan.stored(entity) {
        let Some(feature) = plan.set().feature(*id) else { continue };
        let Source::View { view: of, column } = feature.source else { continue };
        if of != view {
            continue;
        }
        let place = columns.get(column).and_then(|(_, place)| *place);
        let (Some(place), false) = (place, feature.value_type == ValueType::Texts || plan.computes_from(*id)) else {
            return Vec::new();
        };
        let (value_type, default) = (feature.value_type, feature.default.clone());
        features.push(AloneFeature { id: *id, value_type, default, place });
    }
    features
}

impl TableRows {
    /// Where the row is in the table; see [`TableRows::row`].
    pub(super) fn place(&self, asking: usize) -> Option<(u32, u32)> {
        self.joined.place(asking)
    }

    /// The row of the view that was known to a row that asks.
    pub(super) fn row(&self, asking: usize) -> Option<ViewRow> {
        let found = self.joined.found(asking)?;
        let value = |(value_type, place): &(ValueType, Option<usize>)| {
            value_at(*value_type, found.columns.get((*place)?)?, found.row)
        };
        Some(ViewRow {
            view: self.number,
            event_time: Timestamp::from_micros(found.event),
            created: Timestamp::from_micros(found.created),
            values: self.columns.iter().map(value).collect(),
        })
    }
}
