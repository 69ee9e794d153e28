//! DataFusion's errors as ours: what went wrong, where in the query, and what may have been meant.

use std::error::Error;

use datafusion::common::SchemaError;
use datafusion::error::DataFusionError;
use tastemaker_log::LogError;
use tastemaker_types::did_you_mean;

use crate::{Limits, QueryError};

/// The text is not SQL.
pub(super) fn at_parsing(error: &DataFusionError) -> QueryError {
    QueryError::Invalid { detail: detail(error) }
}

/// The statement does not fit the tables, of which these are known.
pub(super) fn at_planning<'a>(
    error: &DataFusionError,
    known: impl Iterator<Item = &'a str>,
    limits: &Limits,
) -> QueryError {
    let prefix = format!("table '{}.{}.", super::CATALOG, super::SCHEMA);
    let text = detail(error);
    if let Some((place, rest)) = text.split_once(&prefix)
        && let Some((table, _)) = rest.split_once('\'')
    {
        let hint = did_you_mean(table, known);
        return QueryError::Invalid { detail: format!("{place}there is no table '{table}'{hint}") };
    }
    match while_running(error, limits) {
        QueryError::Failed { .. } => QueryError::Invalid { detail: text },
        other => other,
    }
}

/// The query ended early.
pub(super) fn while_running(error: &DataFusionError, limits: &Limits) -> QueryError {
    let mut cause: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(this) = cause {
        if let Some(error) = this.downcast_ref::<LogError>() {
            return QueryError::Log(error.clone());
        }
        cause = this.source();
    }
    match error.find_root() {
        DataFusionError::ResourcesExhausted(detail) => {
            QueryError::Memory { limit_bytes: limits.memory_bytes, detail: detail.clone() }
        }
        _ => QueryError::Failed { detail: detail(error) },
    }
}

/// One line: the place, if it is known, and the message.
fn detail(error: &DataFusionError) -> String {
    let root = error.find_root();
    let message = match root {
        // It names the place itself.
        DataFusionError::SQL(parser, _) => {
            return parser.to_string().trim_start_matches("sql parser error: ").to_owned();
        }
        DataFusionError::SchemaError(schema, _) => schema_detail(schema),
        other => other.message().into_owned(),
    };
    let place = error.diagnostic().and_then(|diagnostic| diagnostic.span).map(|span| span.start);
    let message = message.split_whitespace().collect::<Vec<_>>().join(" ");
    match place {
        Some(place) => format!("at line {}, column {}: {message}", place.line, place.column),
        None => message,
    }
}

/// Without the advice to change a setting, which nobody can.
fn schema_detail(error: &SchemaError) -> String {
    error.to_string().replace(" or disable the datafusion.sql_parser.enable_ident_normalization configuration", "")
}
