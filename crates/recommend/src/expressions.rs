//! Filters, eligibility and boosts as compiled expressions: each text with its parameters is compiled once a minute, in which `now()` stands
//! still, so that the catalog's cached results stay usable.

use std::collections::BTreeMap;
use std::sync::Arc;

use moka::sync::Cache;
use tastemaker_expr::{Bind, Expr, ExprError, Params};
use tastemaker_types::Timestamp;

use crate::names::{Compiled, Names};

/// Compiled texts that are kept, of conditions and of values.
const KEPT: u64 = 1_024;
const MINUTE: i64 = 60_000_000;

/// Compiles, and remembers what it compiled.
pub(crate) struct Expressions {
    names: Names,
    conditions: Cache<Key, Arc<Condition>>,
    values: Cache<Key, Arc<Compiled>>,
}

/// A condition in the parts that are checked at different places. It is true where both are.
#[derive(Debug)]
pub(crate) struct Condition {
    /// The operands of its `AND` that read item attributes alone: the catalog answers them before retrieval.
    pub(crate) attributes: Option<Compiled>,
    /// The others: they are checked on candidates.
    pub(crate) features: Option<Compiled>,
}

impl Condition {
    /// Both parts, as far as they are there.
    pub(crate) fn parts(&self) -> impl Iterator<Item = &Compiled> {
        [&self.attributes, &self.features].into_iter().flatten()
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    text: Box<str>,
    /// The parameters as JSON, which is one-to-one.
    binds: String,
    minute: i64,
}

impl Expressions {
    pub(crate) fn new(names: Names) -> Self {
        Self { names, conditions: Cache::new(KEPT), values: Cache::new(KEPT) }
    }

    /// A condition on a candidate.
    pub(crate) fn condition(
        &self,
        text: &str,
        binds: &BTreeMap<String, Bind>,
        now: Timestamp,
    ) -> Result<Arc<Condition>, ExprError> {
        kept(&self.conditions, text, binds, now, |params| {
            let whole = Expr::compile_filter(text, self.names.schema(), params)?;
            let (attributes, features) = whole.split(|column| self.names.in_catalog(column));
            let resolve = |part: Option<Expr>| part.map(|part| self.names.resolve(part));
            Ok(Condition { attributes: resolve(attributes), features: resolve(features) })
        })
    }

    /// Any expression over a candidate.
    pub(crate) fn value(&self, text: &str, now: Timestamp) -> Result<Arc<Compiled>, ExprError> {
        kept(&self.values, text, &BTreeMap::new(), now, |params| {
            Expr::compile(text, self.names.schema(), params).map(|expr| self.names.resolve(expr))
        })
    }
}

fn kept<T: Send + Sync + 'static>(
    cache: &Cache<Key, Arc<T>>,
    text: &str,
    binds: &BTreeMap<String, Bind>,
    now: Timestamp,
    compile: impl FnOnce(&Params) -> Result<T, ExprError>,
) -> Result<Arc<T>, ExprError> {
    let minute = now.as_micros().div_euclid(MINUTE);
    let binds_text = if binds.is_empty() { String::new() } else { serde_json::to_string(binds).unwrap_or_default() };
    // What cannot be written as JSON cannot be told apart either, and is compiled each time.
    let key =
        (binds.is_empty() || !binds_text.is_empty()).then(|| Key { text: text.into(), binds: binds_text, minute });
    let found = key.as_ref().and_then(|key| cache.get(key));
    let result = if found.is_some() { "hit" } else { "miss" };
    metrics::counter!("tastemaker_cache_lookups_total", "cache" => "expressions", "result" => result).increment(1);
    if let Some(found) = found {
        return Ok(found);
    }
    let params = Params { now: Timestamp::from_micros(minute.saturating_mul(MINUTE)), binds: binds.clone() };
    let compiled = Arc::new(compile(&params)?);
    if let Some(key) = key {
        cache.insert(key, Arc::clone(&compiled));
    }
    Ok(compiled)
}
