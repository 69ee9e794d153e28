//! What the catalog of the database says of the table.

use sqlx::{PgExecutor, Row as _};

use super::columns::{Column, Kind};
use crate::SourceError;

/// A domain is taken for what is below it; of a list, the category of the elements counts.
const COLUMNS: &str = "
SELECT a.attname::text AS name, format_type(a.atttypid, a.atttypmod) AS type_name, coalesce(b.typname, t.typname)::text AS base,
       coalesce(b.typcategory, t.typcategory)::text AS category, e.typcategory::text AS element, c.relkind::text AS kind,
       EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisvalid AND i.indkey[0] = a.attnum) AS leads_index
FROM pg_class c
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
JOIN pg_type t ON t.oid = a.atttypid
LEFT JOIN pg_type b ON t.typtype = 'd' AND b.oid = t.typbasetype
LEFT JOIN pg_type e ON e.oid = nullif(coalesce(b.typelem, t.typelem), 0)
WHERE c.oid = to_regclass($1)
ORDER BY a.attnum";

/// A table or view and its columns.
#[derive(Debug, Clone)]
pub(crate) struct Table {
    pub(crate) columns: Vec<Column>,
    /// Columns by which an index begins.
    pub(crate) indexed: Vec<String>,
    /// Whether it can have indexes.
    pub(crate) stored: bool,
}

/// Reads the columns of the quoted `table`.
pub(crate) async fn table(connection: impl PgExecutor<'_>, table: &str) -> Result<Table, SourceError> {
    let failed = |error: &sqlx::Error| SourceError::of(table, error);
    let query = sqlx::query(COLUMNS).bind(table).persistent(false);
    let rows = query.fetch_all(connection).await.map_err(|e| failed(&e))?;
    let mut found = Table { columns: Vec::with_capacity(rows.len()), indexed: Vec::new(), stored: true };
    for row in rows {
        let text = |name: &str| row.try_get::<String, _>(name).map_err(|e| failed(&e));
        let element: Option<String> = row.try_get("element").map_err(|e| failed(&e))?;
        let name = text("name")?;
        if row.try_get("leads_index").map_err(|e| failed(&e))? {
            found.indexed.push(name.clone());
        }
        found.stored = matches!(text("kind")?.as_str(), "r" | "p" | "m");
        let kind = Kind::of(&text("base")?, &text("category")?, element.as_deref());
        found.columns.push(Column { name, type_name: text("type_name")?, kind });
    }
    if found.columns.is_empty() {
        return Err(SourceError::NoTable { table: table.to_owned() });
    }
    Ok(found)
}
