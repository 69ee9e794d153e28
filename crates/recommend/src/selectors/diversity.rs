//! The slate that is served: by score, with caps per attribute and maximal marginal relevance where the project asks for them.

use std::collections::HashMap;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int32Type};
use arrow_array::{Array, ArrayRef, RecordBatch};
use tastemaker_pipeline::{Selector, StageContext, StageError};

use super::best::by_score;
use super::slate::{Pool, Rules, compose};
use crate::candidates::Candidates;
use crate::generation::ServingGeneration;
use crate::numeric::dot;
use crate::query::Query;

/// Places that maximal marginal relevance looks after; its time grows with their number times that of the candidates.
const MMR_DEPTH: usize = 100;

/// Composes the answer and its reserve.
pub(crate) struct Diversity {
    /// Names of attributes and the most items that share one value of each.
    pub(crate) caps: Vec<(String, u32)>,
    /// The weight of the score against difference.
    pub(crate) mmr_lambda: Option<f32>,
}

impl Selector<Query, Candidates> for Diversity {
    const NAME: &'static str = "diversity";

    fn select(&self, query: &Query, batch: &Candidates, context: &StageContext) -> Result<Vec<u32>, StageError> {
        let order = by_score(query, batch);
        let take = query.limit + query.reserve;
        if self.caps.is_empty() && self.mmr_lambda.is_none() {
            return Ok(order.into_iter().take(take).collect());
        }
        let (groups, caps) = match &batch.attributes {
            Some(attributes) => groups(attributes, &self.caps),
            None => (Groups::none(batch.rows.len()), Vec::new()),
        };
        let pool = Items { batch, generation: query.generation.as_deref(), groups };
        let rules = Rules { caps, mmr: self.mmr_lambda.map(|lambda| (lambda, MMR_DEPTH)) };
        Ok(compose(&pool, &order, take, &rules, || context.expired()))
    }
}

struct Items<'a> {
    batch: &'a Candidates,
    generation: Option<&'a ServingGeneration>,
    groups: Groups,
}

impl Pool for Items<'_> {
    fn len(&self) -> usize {
        self.batch.rows.len()
    }

    fn score(&self, position: u32) -> f32 {
        self.batch.scores.get(position as usize).copied().unwrap_or(0.0)
    }

    fn groups(&self, position: u32) -> &[u32] {
        self.groups.of(position as usize)
    }

    /// The cosine of the vectors; 0 where one has none.
    fn similarity(&self, a: u32, b: u32) -> f32 {
        let vector = |position: u32| self.generation?.vector(*self.batch.rows.get(position as usize)?);
        match (vector(a), vector(b)) {
            (Some((a, a_norm)), Some((b, b_norm))) if a_norm > 0.0 && b_norm > 0.0 => dot(a, b) / (a_norm * b_norm),
            _ => 0.0,
        }
    }
}

/// The groups of each candidate, one after the other.
struct Groups {
    ends: Vec<u32>,
    members: Vec<u32>,
}

impl Groups {
    fn none(len: usize) -> Self {
        Self { ends: vec![0; len], members: Vec::new() }
    }

    fn of(&self, position: usize) -> &[u32] {
        let end = |position: usize| self.ends.get(position).map_or(0, |end| *end as usize);
        let start = position.checked_sub(1).map_or(0, end);
        self.members.get(start..end(position)).unwrap_or_default()
    }
}

/// Numbers the values of the capped attributes; each group's cap is that of its attribute. NULL is in no group.
fn groups(attributes: &RecordBatch, caps: &[(String, u32)]) -> (Groups, Vec<u32>) {
    let columns: Vec<(&ArrayRef, u32)> =
        caps.iter().filter_map(|(name, cap)| Some((attributes.column_by_name(name)?, *cap))).collect();
    let mut numbers: HashMap<(usize, Label<'_>), u32> = HashMap::new();
    let mut group_caps = Vec::new();
    let mut groups = Groups { ends: Vec::with_capacity(attributes.num_rows()), members: Vec::new() };
    for position in 0..attributes.num_rows() {
        for (attribute, (column, cap)) in columns.iter().enumerate() {
            labels(column, position, |label| {
                let number = *numbers.entry((attribute, label)).or_insert_with(|| {
                    group_caps.push(*cap);
                    group_caps.len() as u32 - 1
                });
                groups.members.push(number);
            });
        }
        groups.ends.push(groups.members.len() as u32);
    }
    (groups, group_caps)
}

/// One value that items may share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Label<'a> {
    Text(&'a str),
    Bits(u64),
}

/// Hands over each value of one cell.
fn labels<'a>(column: &'a ArrayRef, position: usize, mut take: impl FnMut(Label<'a>)) {
    if column.is_null(position) {
        return;
    }
    if let Some(tags) = column.as_dictionary_opt::<Int32Type>() {
        let text = tags.key(position).zip(tags.values().as_string_opt::<i32>());
        if let Some((key, texts)) = text.filter(|(key, texts)| *key < texts.len()) {
            take(Label::Text(texts.value(key)));
        }
    } else if let Some(lists) = column.as_list_opt::<i32>() {
        let range = lists.value_offsets().get(position..position + 2);
        if let (Some(&[start, end]), Some(texts)) = (range, lists.values().as_string_opt::<i32>()) {
            (start..end).for_each(|at| take(Label::Text(texts.value(at as usize))));
        }
    } else if let Some(texts) = column.as_string_opt::<i32>() {
        take(Label::Text(texts.value(position)));
    } else if let Some(numbers) = column.as_primitive_opt::<Float64Type>() {
        take(Label::Bits(numbers.value(position).to_bits()));
    } else if let Some(bools) = column.as_boolean_opt() {
        take(Label::Bits(u64::from(bools.value(position))));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::builder::{ListBuilder, StringBuilder, StringDictionaryBuilder};

    use super::*;

    #[test]
    fn values_are_groups_with_the_cap_of_their_attribute() {
        let mut tags = StringDictionaryBuilder::<Int32Type>::new();
        tags.append_option(Some("red"));
        tags.append_option(None::<&str>);
        tags.append_option(Some("red"));
        let mut lists = ListBuilder::new(StringBuilder::new());
        lists.append_value([Some("drama"), Some("red")]);
        lists.append_value([Some("drama")]);
        lists.append_null();
        let batch = RecordBatch::try_from_iter([
            ("colour", Arc::new(tags.finish()) as ArrayRef),
            ("genres", Arc::new(lists.finish()) as ArrayRef),
        ])
        .unwrap();
        let (groups, caps) = groups(&batch, &[("colour".into(), 2), ("genres".into(), 1), ("gone".into(), 9)]);
        assert_eq!(groups.of(0), [0, 1, 2]);
        assert_eq!(groups.of(1), [1]);
        assert_eq!(groups.of(2), [0]);
        assert_eq!(caps, [2, 1, 1], "red the colour and red the genre are two groups");
    }
}
