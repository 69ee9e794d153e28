//! Queries as the search module reads them, dialect 2. Values of filters travel as parameters, never inside of the query's text: nothing a
//! value holds can change what the query means.

use std::fmt::Write as _;
use std::time::Duration;

use redis::{Cmd, Pipeline};

use super::rows::{Row, Rows};
use crate::client::{Client, Operation};
use crate::layout::{EMBEDDING, VERSION};
use crate::reply::{bytes, fields, list};
use crate::{Layout, RedisError};

/// What rows call their distance.
pub(crate) const DISTANCE: &str = "__distance";
/// The most results that one search may ask for.
pub(crate) const MAX_RESULTS: usize = 100_000;

/// A value of a filter.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Param(Vec<u8>);

impl Param {
    /// A tag as it stands in the index. Where the module reads a parameter, a backslash hides the character behind it.
    pub fn tag(encoded: &str) -> Self {
        Self(encoded.replace('\\', "\\\\").into_bytes())
    }

    /// What is sent.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// A condition on indexed fields: text with `$p0`, `$p1`, … where its values go.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Filter {
    pub(crate) text: String,
    pub(crate) params: Vec<Param>,
}

impl Filter {
    /// Everything that is indexed.
    pub fn all() -> Self {
        Self { text: "*".to_owned(), params: Vec::new() }
    }

    /// Whether everything passes.
    pub fn is_all(&self) -> bool {
        self.text == "*"
    }

    /// As the module reads it.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The values of `$p0`, `$p1`, ….
    pub fn params(&self) -> &[Param] {
        &self.params
    }
}

/// How the module goes about a filter and a graph at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HybridPolicy {
    /// Compares every item that passes: exact, and fast where few do.
    AdhocBruteForce,
    /// Takes ever more of the graph's nearest until enough of them pass: fast where many do.
    Batches,
}

/// The nearest of what passes.
#[derive(Debug, Clone, PartialEq)]
pub struct Knn {
    /// How many.
    pub k: usize,
    /// The query vector, encoded as the index has it.
    pub vector: Vec<u8>,
    /// Left out: the module decides.
    pub policy: Option<HybridPolicy>,
    /// The number of candidates a graph search keeps; left out: as the index was made. An index without graph refuses it.
    pub ef_runtime: Option<usize>,
}

/// Which fields come with each row.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Returned {
    /// None, not even the distance: ids in order.
    Order,
    /// None: ids and distances alone.
    #[default]
    Ids,
    /// These. The module shortens numbers that are indexed to 12 digits: for what must be exact, take the whole hash.
    Fields(Vec<String>),
    /// The whole hash, exactly as it was written, with all vectors.
    Hash,
}

/// A search in one index.
#[derive(Debug, Clone, PartialEq)]
pub struct Query {
    /// The index or alias.
    pub index: String,
    /// What must hold of a row.
    pub filter: Filter,
    /// The nearest only.
    pub knn: Option<Knn>,
    /// What comes with it.
    pub returned: Returned,
    /// Rows to pass over.
    pub offset: usize,
    /// The most rows; 0 counts what there is.
    pub limit: usize,
    /// When the module is to stop and give what it has; [`Rows::partial`] tells, where the protocol is RESP3.
    pub timeout: Option<Duration>,
}

impl Query {
    /// The nearest `knn.k` that pass.
    pub fn nearest(index: impl Into<String>, filter: Filter, knn: Knn, returned: Returned) -> Self {
        let limit = knn.k;
        Self { index: index.into(), filter, knn: Some(knn), returned, offset: 0, limit, timeout: None }
    }

    /// How many pass.
    pub fn count(index: impl Into<String>, filter: Filter) -> Self {
        Self { index: index.into(), filter, knn: None, returned: Returned::Ids, offset: 0, limit: 0, timeout: None }
    }

    /// As a command.
    pub fn command(&self) -> Cmd {
        let mut text = self.filter.text.clone();
        if let Some(knn) = &self.knn {
            if !self.filter.is_all() {
                text = format!("({text})");
            }
            let _ = write!(text, "=>[KNN {} @{EMBEDDING} $vec", knn.k);
            // The module decides for itself where nothing is filtered, and takes no advice then.
            match knn.policy.filter(|_| !self.filter.is_all()) {
                Some(HybridPolicy::AdhocBruteForce) => text.push_str(" HYBRID_POLICY ADHOC_BF"),
                Some(HybridPolicy::Batches) => text.push_str(" HYBRID_POLICY BATCHES"),
                None => {}
            }
            if let (Some(ef), true) =
                (knn.ef_runtime, self.filter.is_all() || knn.policy != Some(HybridPolicy::AdhocBruteForce))
            {
                let _ = write!(text, " EF_RUNTIME {ef}");
            }
            let _ = write!(text, " AS {DISTANCE}]");
        }
        let mut command = redis::cmd("FT.SEARCH");
        command.arg(&self.index).arg(text);
        let params = self.filter.params.len() + usize::from(self.knn.is_some());
        if params > 0 {
            command.arg("PARAMS").arg(2 * params);
            for (index, param) in self.filter.params.iter().enumerate() {
                command.arg(format!("p{index}")).arg(param.as_bytes());
            }
            if let Some(knn) = &self.knn {
                command.arg("vec").arg(&knn.vector);
            }
        }
        let distance = self.knn.as_ref().map(|_| DISTANCE);
        match &self.returned {
            Returned::Hash => {}
            Returned::Order => {
                command.arg("NOCONTENT");
            }
            Returned::Ids if distance.is_none() => {
                command.arg("NOCONTENT");
            }
            Returned::Ids => {
                command.arg("RETURN").arg(1).arg(distance);
            }
            Returned::Fields(names) => {
                command.arg("RETURN").arg(names.len() + usize::from(distance.is_some())).arg(distance).arg(names);
            }
        }
        if distance.is_some() {
            command.arg("SORTBY").arg(DISTANCE);
        }
        command.arg("LIMIT").arg(self.offset).arg(self.limit.min(MAX_RESULTS));
        if let Some(timeout) = self.timeout {
            command.arg("TIMEOUT").arg(timeout.as_millis().max(1) as u64);
        }
        command.arg("DIALECT").arg(2);
        command
    }
}

impl Client {
    /// Rows of items. Each node of a cluster is asked for the best that it has.
    ///
    /// # Errors
    /// [`RedisError`].
    pub async fn search(&self, operation: Operation, query: &Query) -> Result<Rows, RedisError> {
        let command = |ending: &str| match ending {
            "" => query.command(),
            // What is best of all is among the best of some node.
            _ => Query {
                index: [&query.index, ending].concat(),
                // Redis looks for other keys only where the name of the part is, in its slot: fields are read afterwards.
                returned: Returned::Ids,
                offset: 0,
                limit: query.offset.saturating_add(query.limit),
                ..query.clone()
            }
            .command(),
        };
        let answers = self.call_parts(operation, command).await?.into_iter();
        let read =
            |answer| Rows::read(answer, operation.name(), |key| Layout::item_id(self.layout(), key).map(str::to_owned));
        let mut parts = answers
            .map(|answer| read(answer.map_err(|error| named(error, &query.index))?))
            .collect::<Result<Vec<Rows>, RedisError>>()?;
        let mut found = match parts.len() {
            1 => parts.remove(0),
            _ => Rows::merged(parts, query.offset, query.limit),
        };
        if matches!(query.returned, Returned::Fields(_) | Returned::Hash) && self.has_parts(operation).await? {
            self.read_fields(operation, &query.returned, &mut found.rows).await?;
        }
        Ok(found)
    }

    /// Gives rows their fields; those whose hash is gone are left out.
    async fn read_fields(
        &self,
        operation: Operation,
        returned: &Returned,
        rows: &mut Vec<Row>,
    ) -> Result<(), RedisError> {
        let mut pipeline = Pipeline::with_capacity(rows.len());
        for row in &*rows {
            let key = self.layout().item(&row.id);
            match returned {
                Returned::Fields(names) => pipeline.cmd("HMGET").arg(key).arg(VERSION).arg(names),
                _ => pipeline.cmd("HGETALL").arg(key),
            };
        }
        let mut answers = self.pipeline(operation, &pipeline).await?.into_iter();
        let mut read = Vec::with_capacity(rows.len());
        for mut row in rows.drain(..) {
            let Some(answer) = answers.next() else { break };
            let answer = answer?;
            let unreadable = RedisError::answer(operation.name(), "the fields of a hash", &answer);
            row.fields = match returned {
                Returned::Fields(names) => {
                    let mut values = list(answer).ok_or(unreadable)?.into_iter().map(bytes);
                    if values.next().flatten().is_none() {
                        continue;
                    }
                    names.iter().cloned().zip(values).filter_map(|(name, value)| Some((name, value?))).collect()
                }
                _ => fields(answer).ok_or(unreadable)?,
            };
            if !row.fields.is_empty() || matches!(returned, Returned::Fields(_)) {
                read.push(row);
            }
        }
        *rows = read;
        Ok(())
    }
}

/// The module does not always say which index it does not have.
pub(super) fn named(error: RedisError, index: &str) -> RedisError {
    match error {
        RedisError::NoIndex { .. } => RedisError::NoIndex { index: index.to_owned() },
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(query: &Query) -> String {
        let command = query.command();
        let arguments = command.args_iter().map(|argument| match argument {
            redis::Arg::Simple(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            _ => "?".to_owned(),
        });
        arguments.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn a_filtered_search_reads_as_one_would_write_it_by_hand() {
        let filter = Filter { text: "@category:{$p0}".to_owned(), params: vec![Param::tag("a\\b")] };
        let knn =
            Knn { k: 5, vector: b"v".to_vec(), policy: Some(HybridPolicy::AdhocBruteForce), ef_runtime: Some(64) };
        let fields = Returned::Fields(vec!["price".to_owned()]);
        assert_eq!(
            words(&Query::nearest("idx:items", filter.clone(), knn, fields)),
            "FT.SEARCH idx:items (@category:{$p0})=>[KNN 5 @embedding $vec HYBRID_POLICY ADHOC_BF AS __distance] PARAMS 4 p0 a\\\\b vec v \
             RETURN 2 __distance price SORTBY __distance LIMIT 0 5 DIALECT 2"
        );
        assert_eq!(
            words(&Query::count("idx:items", filter)),
            "FT.SEARCH idx:items @category:{$p0} PARAMS 2 p0 a\\\\b NOCONTENT LIMIT 0 0 DIALECT 2"
        );
    }

    #[test]
    fn a_search_of_everything_leaves_the_policy_to_the_module() {
        let knn = Knn { k: 5, vector: b"v".to_vec(), policy: Some(HybridPolicy::Batches), ef_runtime: Some(64) };
        assert_eq!(
            words(&Query::nearest("idx:items", Filter::all(), knn, Returned::Ids)),
            "FT.SEARCH idx:items *=>[KNN 5 @embedding $vec EF_RUNTIME 64 AS __distance] PARAMS 2 vec v RETURN 1 __distance SORTBY \
             __distance LIMIT 0 5 DIALECT 2"
        );
    }
}
