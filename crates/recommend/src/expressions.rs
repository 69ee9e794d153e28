//! Filters, eligibility and boosts as compiled expressions: each text with its parameters is compiled once a minute, in which `now()` stands
//! still, so that the catalog's cached results stay usable.

use std::collections::BTreeMap;
use std::sync::Arc;

use moka::sync::Cache;
use tastemaker_expr::{Bind, Expr, ExprError, Params, Schema};
use tastemaker_types::Timestamp;

/// Compiled texts that are kept.
const KEPT: u64 = 1_024;
const MINUTE: i64 = 60_000_000;

/// Compiles, and remembers what it compiled.
pub(crate) struct Expressions {
    schema: Schema,
    compiled: Cache<Key, Arc<Expr>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    text: Box<str>,
    /// The parameters as JSON, which is one-to-one.
    binds: String,
    minute: i64,
    condition: bool,
}

impl Expressions {
    pub(crate) fn new(schema: Schema) -> Self {
        Self { schema, compiled: Cache::new(KEPT) }
    }

    /// A condition over item attributes.
    pub(crate) fn condition(
        &self,
        text: &str,
        binds: &BTreeMap<String, Bind>,
        now: Timestamp,
    ) -> Result<Arc<Expr>, ExprError> {
        self.get(text, binds, now, true)
    }

    /// Any expression over item attributes.
    pub(crate) fn value(&self, text: &str, now: Timestamp) -> Result<Arc<Expr>, ExprError> {
        self.get(text, &BTreeMap::new(), now, false)
    }

    fn get(
        &self,
        text: &str,
        binds: &BTreeMap<String, Bind>,
        now: Timestamp,
        condition: bool,
    ) -> Result<Arc<Expr>, ExprError> {
        let minute = now.as_micros().div_euclid(MINUTE);
        let binds_text =
            if binds.is_empty() { String::new() } else { serde_json::to_string(binds).unwrap_or_default() };
        // What cannot be written as JSON cannot be told apart either, and is compiled each time.
        let key = (binds.is_empty() || !binds_text.is_empty()).then(|| Key {
            text: text.into(),
            binds: binds_text,
            minute,
            condition,
        });
        let found = key.as_ref().and_then(|key| self.compiled.get(key));
        let result = if found.is_some() { "hit" } else { "miss" };
        metrics::counter!("tastemaker_cache_lookups_total", "cache" => "expressions", "result" => result).increment(1);
        if let Some(found) = found {
            return Ok(found);
        }
        let params = Params { now: Timestamp::from_micros(minute.saturating_mul(MINUTE)), binds: binds.clone() };
        let compile = if condition { Expr::compile_filter } else { Expr::compile };
        let compiled = Arc::new(compile(text, &self.schema, &params)?);
        if let Some(key) = key {
            self.compiled.insert(key, Arc::clone(&compiled));
        }
        Ok(compiled)
    }
}
