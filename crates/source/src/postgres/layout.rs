//! The settings and the table brought together: the queries, and how a row of theirs is read.

use tastemaker_config::ItemsConfig;
use tastemaker_types::{AttributeSchema, did_you_mean};

use super::columns::{self, Column, Kind, Wire};
use super::inspect::Table;
use super::quote::identifier;
use crate::SourceError;

/// Columns of an answer that come before the attributes: id, time of the last change, whether it is deleted, the present.
pub(crate) const LEADING: usize = 4;

/// What an id is in the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum IdKind {
    Text,
    Integer,
    Uuid,
}

/// The queries of a table.
#[derive(Debug)]
pub(crate) struct Layout {
    pub(crate) id: IdKind,
    /// Attributes in the order of the answer's columns.
    pub(crate) attributes: Vec<(String, Wire)>,
    pub(crate) schema: AttributeSchema,
    /// By a list of ids.
    pub(crate) fetch: String,
    /// From a time on, so many.
    pub(crate) changes_from: String,
    /// After a time and id, so many.
    pub(crate) changes_after: String,
}

impl Layout {
    pub(crate) fn new(items: &ItemsConfig, name: &str, table: &Table) -> Result<Self, SourceError> {
        let source = &items.source;
        let find = |column: &str, key: &str| {
            let found = table.columns.iter().find(|known| known.name == column);
            found.ok_or_else(|| SourceError::NoColumn {
                table: name.to_owned(),
                column: column.to_owned(),
                hint: did_you_mean(column, table.columns.iter().map(|known| known.name.as_str())),
                key: key.to_owned(),
            })
        };
        let misfit = |column: &Column, wanted: &str, remedy: &str| SourceError::ColumnType {
            table: name.to_owned(),
            column: column.name.clone(),
            found: column.type_name.clone(),
            wanted: wanted.to_owned(),
            remedy: remedy.to_owned(),
        };

        let id = find(&source.id_column, "items.source.id_column")?;
        // What an id of ours is compared with, so that an index on the column helps.
        let (id_kind, list, one) = match id.kind {
            Kind::Text => (IdKind::Text, "text[]", "text"),
            Kind::PaddedText => (IdKind::Text, "bpchar[]", "bpchar"),
            Kind::Integer => (IdKind::Integer, "int8[]", "int8"),
            Kind::Uuid => (IdKind::Uuid, "text[]::uuid[]", "text::uuid"),
            _ => return Err(misfit(id, "an id", "use a column of text, an integer or a uuid")),
        };
        let updated = find(&source.updated_at_column, "items.source.updated_at_column")?;
        let epoch = match updated.kind {
            Kind::Instant => "timestamptz 'epoch'",
            Kind::LocalTime => "timestamp 'epoch'",
            _ => {
                return Err(misfit(updated, "the time of a change", "use a column of timestamptz or timestamp"));
            }
        };
        let deleted = match &source.deleted_column {
            None => "false".to_owned(),
            Some(column) => {
                let column = find(column, "items.source.deleted_column")?;
                let quoted = identifier(&column.name);
                match column.kind {
                    Kind::Bool => format!("coalesce({quoted}, false)"),
                    Kind::Instant | Kind::LocalTime | Kind::Date => format!("{quoted} IS NOT NULL"),
                    _ => return Err(misfit(column, "a mark of deletion", "use a column of boolean or timestamptz")),
                }
            }
        };

        let (id, updated) = (identifier(&id.name), identifier(&updated.name));
        let present = "(extract(epoch FROM now()) * 1000000)::int8";
        let mut select = format!("SELECT {id}::text, {}, {deleted}, {present}", columns::micros(&updated));
        let mut attributes = Vec::with_capacity(items.attributes.len());
        for (attribute, declared) in &items.attributes {
            let column = source.columns.get(attribute).unwrap_or(attribute);
            let column = find(column, &format!("items.source.columns.{attribute}"))?;
            let (wire, expression) = columns::read(column, *declared)
                .map_err(|remedy| misfit(column, &format!("attribute '{attribute}', a {declared}"), remedy))?;
            select.push_str(", ");
            select.push_str(&expression);
            attributes.push((attribute.clone(), wire));
        }
        select.push_str(&format!(" FROM {name} AS items"));

        let known = columns::in_range(&updated);
        let since = format!("{epoch} + $1::int8 * interval '1 microsecond'");
        // With the name of the table: a bare name would mean the answer's column, which is another type.
        let order = format!("ORDER BY items.{updated}, items.{id} LIMIT");
        Ok(Self {
            id: id_kind,
            attributes,
            schema: items.schema(),
            fetch: format!("{select} WHERE {id} = ANY ($1::{list})"),
            changes_from: format!("{select} WHERE {updated} >= {since} AND {known} {order} $2::int8"),
            changes_after: format!(
                "{select} WHERE ({updated}, {id}) > ({since}, $2::{one}) AND {known} {order} $3::int8"
            ),
        })
    }
}
