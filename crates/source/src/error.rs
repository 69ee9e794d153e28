//! What can go wrong between us and the database, sorted by who must act.

use tastemaker_types::Window;

/// An error of the items' database.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// A setting cannot work.
    #[error("{key}: {reason}")]
    Setting {
        /// The key in the project file.
        key: String,
        /// What is wrong, and what to do.
        reason: String,
    },
    /// Nobody answers, or not us.
    #[error("PostgreSQL cannot be reached: {0}")]
    Unavailable(String),
    /// It takes too long.
    #[error("PostgreSQL did not answer within {0} (items.source.timeout)")]
    Timeout(Window),
    /// The table is not there.
    #[error(
        "there is no table {table}, or we may not see it; set items.source.table, or GRANT USAGE on its schema and SELECT on it"
    )]
    NoTable {
        /// As it is quoted.
        table: String,
    },
    /// A column is not there.
    #[error("{table} has no column '{column}'{hint}; set {key}")]
    NoColumn {
        /// As it is quoted.
        table: String,
        /// The column that was looked for.
        column: String,
        /// Columns that are there.
        hint: String,
        /// The setting that names it.
        key: String,
    },
    /// A column is of a type that it cannot be used as.
    #[error("column '{column}' of {table} is {found}, which cannot be {wanted}; {remedy}")]
    ColumnType {
        /// As it is quoted.
        table: String,
        /// The column.
        column: String,
        /// Its type.
        found: String,
        /// What it is used as.
        wanted: String,
        /// What to do.
        remedy: String,
    },
    /// It answered with an error.
    #[error("PostgreSQL refused to read {table}: {message}")]
    Refused {
        /// As it is quoted.
        table: String,
        /// What it said.
        message: String,
    },
    /// More is asked for than can wait.
    #[error("too many items wait to be read from PostgreSQL; try again")]
    Busy,
    /// It failed a moment ago, and is not asked again so soon.
    #[error("PostgreSQL failed a moment ago: {0}")]
    Resting(Box<SourceError>),
}

impl SourceError {
    /// The setting to change, if it is that.
    pub fn key(&self) -> Option<&str> {
        match self {
            Self::Setting { key, .. } => Some(key),
            _ => None,
        }
    }

    /// Whether the database is away or busy, which passes; anything else wants somebody to act.
    pub fn is_outage(&self) -> bool {
        match self {
            Self::Unavailable(_) | Self::Timeout(_) | Self::Busy => true,
            Self::Resting(cause) => cause.is_outage(),
            _ => false,
        }
    }

    /// What the client library says. `57…` and `53…` of the server mean that it is not there for us now; anything else that it says is
    /// about the query.
    #[cfg(feature = "postgres")]
    pub(crate) fn of(table: &str, error: &sqlx::Error) -> Self {
        match error {
            sqlx::Error::Database(told) => {
                let code = told.code().unwrap_or_default();
                let message = told.message().to_owned();
                match code.get(..2) {
                    Some("57" | "53" | "28" | "3D" | "08") => Self::Unavailable(message),
                    _ => Self::Refused { table: table.to_owned(), message },
                }
            }
            sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => {
                Self::Refused { table: table.to_owned(), message: error.to_string() }
            }
            sqlx::Error::PoolTimedOut => Self::Unavailable("no connection could be had in time".to_owned()),
            other => Self::Unavailable(other.to_string()),
        }
    }
}
