//! One statement that reads, or a refusal that says what the text would do.

use datafusion::sql::parser::{DFParserBuilder, Statement};
use datafusion::sql::sqlparser::ast;

use super::error;
use crate::QueryError;

/// Parses the text of a query.
pub(super) fn parse(sql: &str) -> Result<Statement, QueryError> {
    let statements = DFParserBuilder::new(sql).build().and_then(|mut parser| parser.parse_statements());
    let mut statements = statements.map_err(|error| error::at_parsing(&error))?;
    let refuse = |what: String| Err(QueryError::ReadOnly { what });
    match statements.pop_front() {
        None => refuse("there is no statement".to_owned()),
        Some(_) if !statements.is_empty() => refuse(format!("there are {} statements", statements.len() + 1)),
        Some(statement) if reads(&statement) => Ok(statement),
        Some(statement) => {
            let text = statement.to_string();
            let verb = text.split_whitespace().next().unwrap_or("this");
            refuse(format!("{verb} is no query"))
        }
    }
}

/// Whether the statement does no more than read.
fn reads(statement: &Statement) -> bool {
    match statement {
        Statement::Explain(explain) => reads(&explain.statement),
        Statement::Statement(statement) => matches!(
            **statement,
            ast::Statement::Query(_)
                | ast::Statement::Explain { .. }
                | ast::Statement::ExplainTable { .. }
                | ast::Statement::ShowColumns { .. }
                | ast::Statement::ShowFunctions { .. }
                | ast::Statement::ShowTables { .. }
                | ast::Statement::ShowVariable { .. }
        ),
        Statement::CreateExternalTable(_) | Statement::CopyTo(_) | Statement::Reset(_) => false,
    }
}
