//! From a checked condition to a filter that the search module applies itself, and the rest that has to be checked on its rows.
//!
//! SQL's conditions are true, false or NULL, the module's filters pass or do not. So each condition has two translations, one for where it is
//! true and one for where it is false, and `NOT` exchanges them: NULL is in neither. A translation is exact, or passes more than it should;
//! then the condition itself is in the residue. Filter and residue together pass exactly what the condition is true of.

mod bound;

use std::fmt::Write as _;

use tastemaker_expr::{Ast, Comparison, Expr, InList, Literal};
use tastemaker_types::AttributeSchema;

use crate::codec::{MAX_INDEXED_TAG, encode_number, encode_tag};
use crate::search::{Filter, IndexField, Param};
use bound::{Bound, Passes, Text};

/// The most values of one filter; a condition with more is checked afterwards.
const MAX_PARAMS: usize = 1_024;
/// The most ranges of one `IN` list of numbers.
const MAX_RANGES: usize = 64;
/// The module computes with doubles: microseconds beyond this are not told apart.
const MAX_EXACT: i64 = 1 << 53;

/// A condition in two parts.
#[derive(Debug, Clone)]
pub struct Pushdown {
    /// For the search; none if nothing can pass.
    pub filter: Option<Filter>,
    /// To be checked on the rows.
    pub residue: Option<Expr>,
}

impl Pushdown {
    /// Of a condition on items whose declared attributes are `schema`; columns are named as attributes, with `item.` before it or not.
    pub fn of(condition: &Expr, schema: &AttributeSchema) -> Self {
        let mut translator = Translator { schema, params: Vec::new() };
        let (mut filter, mut residue) = (Passes::All, Vec::new());
        for conjunct in condition.conjuncts() {
            let before = translator.params.len();
            let mut bound = translator.bound(conjunct.ast(), true);
            if translator.params.len() > MAX_PARAMS {
                bound = Bound::UNKNOWN;
            }
            // What is not part of the filter's text must not be among its values.
            if bound.passes == Passes::All {
                translator.params.truncate(before);
            }
            if !bound.exact {
                residue.push(conjunct);
            }
            filter = filter.and(bound.passes);
        }
        let filter = match filter {
            Passes::All => Some(Filter::all()),
            Passes::None => None,
            Passes::These(Text { text, .. }) => Some(Filter { text, params: translator.params }),
        };
        let residue = if filter.is_none() { None } else { Expr::all(residue) };
        Self { filter, residue }
    }
}

struct Translator<'s> {
    schema: &'s AttributeSchema,
    params: Vec<Param>,
}

impl Translator<'_> {
    /// Where `ast` is `truth`.
    fn bound(&mut self, ast: &Ast, truth: bool) -> Bound {
        match ast {
            Ast::Not(operand) => self.bound(operand, !truth),
            Ast::And(operands) if truth => self.all(operands, truth),
            Ast::Or(operands) if !truth => self.all(operands, truth),
            Ast::And(operands) | Ast::Or(operands) => self.any(operands, truth),
            Ast::Literal(Literal::Bool(value)) => {
                if *value == truth {
                    Bound::EVERYTHING
                } else {
                    Bound::NOTHING
                }
            }
            Ast::Literal(Literal::Null(_)) => Bound::NOTHING,
            Ast::Column(_) => self.equal(ast, &Literal::Bool(true), truth),
            Ast::IsNull(operand) => self.missing(operand, truth),
            Ast::Compare { op, left, right } => match (&**left, &**right) {
                (column, Ast::Literal(literal)) => self.compare(*op, column, literal, truth),
                (Ast::Literal(literal), column) => self.compare(op.swapped(), column, literal, truth),
                _ => Bound::UNKNOWN,
            },
            Ast::Between { operand, low, high } => match (&**low, &**high) {
                (Ast::Literal(low), Ast::Literal(high)) => self.between(operand, low, high, truth),
                _ => Bound::UNKNOWN,
            },
            Ast::In { operand, list } => self.one_of(operand, list, truth),
            Ast::Contains { list, value } => match &**value {
                Ast::Literal(value) => self.equal(list, value, truth),
                _ => Bound::UNKNOWN,
            },
            _ => Bound::UNKNOWN,
        }
    }

    fn all(&mut self, operands: &[Ast], truth: bool) -> Bound {
        let mut all = Bound::EVERYTHING;
        for operand in operands {
            let bound = self.bound(operand, truth);
            all = Bound { passes: all.passes.and(bound.passes), exact: all.exact && bound.exact };
        }
        // That nothing passes is exact, however wide the other bounds are.
        Bound { exact: all.exact || all.passes == Passes::None, passes: all.passes.grouped() }
    }

    fn any(&mut self, operands: &[Ast], truth: bool) -> Bound {
        let (mut branches, mut exact) = (Vec::with_capacity(operands.len()), true);
        for operand in operands {
            let bound = self.bound(operand, truth);
            if bound == Bound::EVERYTHING {
                return bound;
            }
            exact &= bound.exact;
            branches.push(bound.passes);
        }
        Bound { passes: Passes::any(branches), exact }
    }

    /// The attribute that `ast` is, if it is indexed.
    fn attribute<'a>(&self, ast: &'a Ast) -> Option<(&'a str, IndexField)> {
        let Ast::Column(column) = ast else { return None };
        let name = column.name.strip_prefix("item.").unwrap_or(&column.name);
        Some((name, IndexField::of(name, self.schema.get(name)?)?))
    }

    fn missing(&mut self, operand: &Ast, truth: bool) -> Bound {
        let Some((name, field)) = self.attribute(operand) else { return Bound::UNKNOWN };
        Bound::these(match (field, truth) {
            (IndexField::Tag, true) => format!("ismissing(@{name})"),
            (IndexField::Tag, false) => format!("-ismissing(@{name})"),
            (IndexField::Numeric, true) => format!("-@{name}:[-inf inf]"),
            (IndexField::Numeric, false) => format!("@{name}:[-inf inf]"),
        })
    }

    fn compare(&mut self, op: Comparison, column: &Ast, literal: &Literal, truth: bool) -> Bound {
        let op = if truth { op } else { opposite(op) };
        match op {
            // What is not equal to a value has a value, and so `column <> x` is where `column = x` is false.
            Comparison::Equal => self.equal(column, literal, true),
            Comparison::NotEqual => self.equal(column, literal, false),
            _ => match literal {
                Literal::Null(_) => Bound::NOTHING,
                _ => self.range(column, literal, |x| match op {
                    Comparison::Less => format!("[-inf ({x}]"),
                    Comparison::LessOrEqual => format!("[-inf {x}]"),
                    Comparison::Greater => format!("[({x} inf]"),
                    _ => format!("[{x} inf]"),
                }),
            },
        }
    }

    fn range(&mut self, column: &Ast, literal: &Literal, range: impl Fn(&str) -> String) -> Bound {
        match (self.attribute(column), decimal(literal)) {
            (Some((name, IndexField::Numeric)), Some(x)) => Bound::these(format!("@{name}:{}", range(&x))),
            _ => Bound::UNKNOWN,
        }
    }

    fn between(&mut self, operand: &Ast, low: &Literal, high: &Literal, truth: bool) -> Bound {
        match (self.attribute(operand), decimal(low), decimal(high)) {
            (Some((name, IndexField::Numeric)), Some(low), Some(high)) => Bound::these(if truth {
                format!("@{name}:[{low} {high}]")
            } else {
                format!("(@{name}:[-inf ({low}] | @{name}:[({high} inf])")
            }),
            _ => Bound::UNKNOWN,
        }
    }

    /// Equal to a constant; of tags, having it.
    fn equal(&mut self, column: &Ast, literal: &Literal, truth: bool) -> Bound {
        match (literal, self.attribute(column)) {
            (Literal::Null(_), _) => Bound::NOTHING,
            (_, None) => Bound::UNKNOWN,
            (literal, Some((name, IndexField::Numeric))) => match decimal(literal) {
                None => Bound::UNKNOWN,
                Some(x) if truth => Bound::these(format!("@{name}:[{x} {x}]")),
                Some(x) => Bound::these(format!("(@{name}:[-inf ({x}] | @{name}:[({x} inf])")),
            },
            (Literal::Bool(value), Some((name, IndexField::Tag))) => {
                Bound::these(format!("@{name}:{{{}}}", u8::from(*value == truth)))
            }
            (literal, Some((name, IndexField::Tag))) => match self.tag(literal) {
                Some(param) => Bound::these(labels(name, &param, truth)),
                None => Bound::UNKNOWN,
            },
        }
    }

    fn one_of(&mut self, operand: &Ast, list: &InList, truth: bool) -> Bound {
        // Nothing is in an empty list, not even NULL.
        if list.values().is_empty() && !list.has_null() {
            return if truth { Bound::NOTHING } else { Bound::EVERYTHING };
        }
        // With a NULL in the list, a value that is not found is not false but NULL.
        if !truth && list.has_null() {
            return if self.attribute(operand).is_some() { Bound::NOTHING } else { Bound::UNKNOWN };
        }
        let values = list.values();
        let Some((name, field)) = self.attribute(operand) else { return Bound::UNKNOWN };
        if values.is_empty() {
            return Bound::NOTHING;
        }
        match (field, values) {
            (IndexField::Numeric, values) if values.len() <= MAX_RANGES => {
                let Some(numbers) = values.iter().map(decimal).collect::<Option<Vec<_>>>() else {
                    return Bound::UNKNOWN;
                };
                let ranges: Vec<_> = numbers.iter().map(|x| format!("@{name}:[{x} {x}]")).collect();
                let ranges = ranges.join(" | ");
                Bound::these(if truth { format!("({ranges})") } else { format!("-({ranges} | -@{name}:[-inf inf])") })
            }
            (IndexField::Tag, [Literal::Bool(_), ..]) => {
                let members = [false, true].map(|member| values.contains(&Literal::Bool(member)) == truth);
                match members {
                    [true, true] => Bound::these(format!("@{name}:{{0|1}}")),
                    [false, false] => Bound::NOTHING,
                    [_, one] => Bound::these(format!("@{name}:{{{}}}", u8::from(one))),
                }
            }
            (IndexField::Tag, values) if values.len() <= MAX_PARAMS => {
                let Some(params) = values.iter().map(|value| self.tag(value)).collect::<Option<Vec<_>>>() else {
                    return Bound::UNKNOWN;
                };
                Bound::these(labels(name, &params.join("|"), truth))
            }
            _ => Bound::UNKNOWN,
        }
    }

    /// A label as a parameter; none if the index could take others for it.
    fn tag(&mut self, literal: &Literal) -> Option<String> {
        let Literal::Text(text) = literal else { return None };
        let encoded = encode_tag(text);
        if encoded.len() > MAX_INDEXED_TAG {
            return None;
        }
        let mut name = String::new();
        let _ = write!(name, "$p{}", self.params.len());
        self.params.push(Param::tag(&encoded));
        Some(name)
    }
}

fn labels(name: &str, params: &str, truth: bool) -> String {
    if truth { format!("@{name}:{{{params}}}") } else { format!("-(@{name}:{{{params}}} | ismissing(@{name}))") }
}

/// The comparison that is true where this one is false.
fn opposite(op: Comparison) -> Comparison {
    match op {
        Comparison::Equal => Comparison::NotEqual,
        Comparison::NotEqual => Comparison::Equal,
        Comparison::Less => Comparison::GreaterOrEqual,
        Comparison::LessOrEqual => Comparison::Greater,
        Comparison::Greater => Comparison::LessOrEqual,
        Comparison::GreaterOrEqual => Comparison::Less,
    }
}

/// A constant as the numeric index has it.
fn decimal(literal: &Literal) -> Option<String> {
    match literal {
        Literal::Number(number) => Some(encode_number(*number)),
        Literal::Time(time) if time.as_micros().abs() < MAX_EXACT => Some(time.as_micros().to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use tastemaker_expr::{Params, Schema};
    use tastemaker_types::{AttributeType, Timestamp};

    use super::*;

    fn attributes() -> AttributeSchema {
        AttributeSchema::new([
            ("category".to_owned(), AttributeType::Tag),
            ("genres".to_owned(), AttributeType::Tags),
            ("title".to_owned(), AttributeType::Text),
            ("price".to_owned(), AttributeType::Number),
            ("available".to_owned(), AttributeType::Bool),
            ("released".to_owned(), AttributeType::Time),
        ])
    }

    fn compiled(sql: &str) -> Expr {
        let schema = Schema::for_attributes(&attributes()).with_default_qualifier("item");
        Expr::compile_filter(sql, &schema, &Params::at(Timestamp::from_micros(0))).unwrap()
    }

    fn pushed(sql: &str) -> (String, Vec<String>, String) {
        let pushdown = Pushdown::of(&compiled(sql), &attributes());
        let text = |param: &Param| String::from_utf8(param.as_bytes().to_vec()).unwrap();
        let (filter, params) = match &pushdown.filter {
            Some(filter) => (filter.text().to_owned(), filter.params().iter().map(text).collect()),
            None => ("nothing".to_owned(), Vec::new()),
        };
        (filter, params, pushdown.residue.map(|residue| residue.cache_key().to_owned()).unwrap_or_default())
    }

    fn is(sql: &str, filter: &str, params: &[&str], residue: &str) {
        let params = params.iter().map(|param| (*param).to_owned()).collect();
        // Expressions that say the same have one key, however they are written.
        let residue = if residue.is_empty() { String::new() } else { compiled(residue).cache_key().to_owned() };
        assert_eq!(pushed(sql), (filter.to_owned(), params, residue), "{sql}");
    }

    #[test]
    fn what_the_index_knows_is_pushed_down() {
        is("available AND category = 'a'", "@available:{1} @category:{$p0}", &["a"], "");
        is("category <> 'a'", "-(@category:{$p0} | ismissing(@category))", &["a"], "");
        is("category IN ('a', ' b')", "@category:{$p0|$p1}", &["\x1e20b", "a"], "");
        is("price BETWEEN 1 AND 2.5", "@price:[1 2.5]", &[], "");
        is("NOT (price < 5)", "@price:[5 inf]", &[], "");
        is("released > '1970-01-02'", "@released:[(86400000000 inf]", &[], "");
        is("'x' = ANY(genres) OR category IS NULL", "(@genres:{$p0} | ismissing(@category))", &["x"], "");
    }

    #[test]
    fn what_it_does_not_know_is_left_over_and_the_rest_is_pushed_down_all_the_same() {
        is("available AND title = 'a'", "@available:{1}", &[], "title = 'a'");
        is("title = 'a' OR available", "*", &[], "title = 'a' OR available");
        // One branch narrows the search, though the whole has to be checked.
        let either = "(available AND title = 'a') OR price > 5";
        is(either, "((@available:{1}) | @price:[(5 inf])", &[], "(available AND title = 'a') OR price > 5");
        is("category = 'a' AND FALSE", "nothing", &[], "");
        is("price = NULL", "nothing", &[], "");
    }
}
