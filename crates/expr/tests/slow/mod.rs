//! The language as one would define it: a tree evaluated row by row, in plain Rust. It shares no code with the crate.

use std::collections::BTreeMap;

use tastemaker_types::Timestamp;

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum V {
    Null,
    Bool(bool),
    Number(f64),
    Text(String),
    Tags(Vec<String>),
    Time(i64),
    Interval(i64),
}

pub(crate) type Row = BTreeMap<&'static str, V>;

#[derive(Debug, Clone)]
pub(crate) enum E {
    Literal(V),
    Column(&'static str),
    Not(Box<E>),
    IsNull(Box<E>, bool),
    And(Box<E>, Box<E>),
    Or(Box<E>, Box<E>),
    Compare(&'static str, Box<E>, Box<E>),
    Between(Box<E>, Box<E>, Box<E>, bool),
    In(Box<E>, Vec<V>, bool),
    Like(Box<E>, String, bool),
    Any(Box<E>, &'static str),
    Arithmetic(char, Box<E>, Box<E>),
    Call(&'static str, Vec<E>),
    Case(Vec<(E, E)>, Option<Box<E>>),
    Cast(Box<E>, &'static str),
}

pub(crate) fn literal_sql(value: &V) -> String {
    match value {
        V::Null => "NULL".into(),
        V::Bool(value) => value.to_string(),
        V::Number(value) => format!("({value})"),
        V::Text(value) => format!("'{}'", value.replace('\'', "''")),
        V::Tags(_) => unreachable!("no list constants"),
        V::Time(value) => format!("TIMESTAMP '{}'", Timestamp::from_micros(*value)),
        V::Interval(value) => format!("INTERVAL '{value} microseconds'"),
    }
}

impl E {
    pub(crate) fn sql(&self) -> String {
        match self {
            E::Literal(value) => literal_sql(value),
            E::Column(name) => (*name).to_owned(),
            E::Not(a) => format!("(NOT {})", a.sql()),
            E::IsNull(a, negated) => format!("({} IS {}NULL)", a.sql(), if *negated { "NOT " } else { "" }),
            E::And(a, b) => format!("({} AND {})", a.sql(), b.sql()),
            E::Or(a, b) => format!("({} OR {})", a.sql(), b.sql()),
            E::Compare(op, a, b) => format!("({} {op} {})", a.sql(), b.sql()),
            E::Between(a, low, high, negated) => {
                let not = if *negated { "NOT " } else { "" };
                format!("({} {not}BETWEEN {} AND {})", a.sql(), low.sql(), high.sql())
            }
            E::In(a, list, negated) => {
                let list: Vec<_> = list.iter().map(literal_sql).collect();
                format!("({} {}IN ({}))", a.sql(), if *negated { "NOT " } else { "" }, list.join(", "))
            }
            E::Like(a, pattern, folded) => {
                format!("({} {} '{pattern}')", a.sql(), if *folded { "ILIKE" } else { "LIKE" })
            }
            E::Any(a, list) => format!("({} = ANY({list}))", a.sql()),
            E::Arithmetic(op, a, b) => format!("({} {op} {})", a.sql(), b.sql()),
            E::Call(name, arguments) => {
                format!("{name}({})", arguments.iter().map(E::sql).collect::<Vec<_>>().join(", "))
            }
            E::Case(branches, otherwise) => {
                let mut sql = "CASE".to_owned();
                for (when, then) in branches {
                    sql += &format!(" WHEN {} THEN {}", when.sql(), then.sql());
                }
                if let Some(otherwise) = otherwise {
                    sql += &format!(" ELSE {}", otherwise.sql());
                }
                sql + " END"
            }
            E::Cast(a, to) => format!("CAST({} AS {to})", a.sql()),
        }
    }

    pub(crate) fn value(&self, row: &Row) -> V {
        match self {
            E::Literal(value) => value.clone(),
            E::Column(name) => match &row[name] {
                V::Number(n) => number(*n),
                other => other.clone(),
            },
            E::Not(a) => not(a.value(row)),
            E::IsNull(a, negated) => V::Bool((a.value(row) == V::Null) != *negated),
            E::And(a, b) => match (a.value(row), b.value(row)) {
                (V::Bool(false), _) | (_, V::Bool(false)) => V::Bool(false),
                (V::Bool(true), V::Bool(true)) => V::Bool(true),
                _ => V::Null,
            },
            E::Or(a, b) => match (a.value(row), b.value(row)) {
                (V::Bool(true), _) | (_, V::Bool(true)) => V::Bool(true),
                (V::Bool(false), V::Bool(false)) => V::Bool(false),
                _ => V::Null,
            },
            E::Compare(op, a, b) => compare(op, &a.value(row), &b.value(row)),
            E::Between(a, low, high, negated) => {
                let (value, low, high) = (a.value(row), low.value(row), high.value(row));
                let both = E::And(
                    Box::new(E::Literal(compare(">=", &value, &low))),
                    Box::new(E::Literal(compare("<=", &value, &high))),
                );
                if *negated { not(both.value(row)) } else { both.value(row) }
            }
            E::In(a, list, negated) => {
                let value = a.value(row);
                let mut result = V::Bool(false);
                for member in list {
                    result = match (result, compare("=", &value, member)) {
                        (V::Bool(true), _) | (_, V::Bool(true)) => V::Bool(true),
                        (V::Null, _) | (_, V::Null) => V::Null,
                        _ => V::Bool(false),
                    };
                }
                if *negated { not(result) } else { result }
            }
            E::Like(a, pattern, folded) => match a.value(row) {
                V::Text(text) => {
                    let fold = |s: &str| if *folded { s.to_lowercase() } else { s.to_owned() };
                    let chars = |s: &str| fold(s).chars().collect::<Vec<_>>();
                    V::Bool(like(&chars(pattern), &chars(&text)))
                }
                _ => V::Null,
            },
            E::Any(a, list) => match (a.value(row), &row[list]) {
                (V::Text(text), V::Tags(tags)) => V::Bool(tags.contains(&text)),
                _ => V::Null,
            },
            E::Arithmetic(op, a, b) => arithmetic(*op, a.value(row), b.value(row)),
            E::Call(name, arguments) => call(name, arguments.iter().map(|a| a.value(row)).collect()),
            E::Case(branches, otherwise) => {
                for (when, then) in branches {
                    if when.value(row) == V::Bool(true) {
                        return then.value(row);
                    }
                }
                otherwise.as_ref().map_or(V::Null, |otherwise| otherwise.value(row))
            }
            E::Cast(a, to) => cast(a.value(row), to),
        }
    }
}

fn number(n: f64) -> V {
    if n.is_finite() { V::Number(n) } else { V::Null }
}

/// The years 1 to 9999.
fn time(micros: Option<i64>) -> V {
    match micros {
        Some(micros) if (-62_135_596_800_000_000..=253_402_214_400_000_000).contains(&micros) => V::Time(micros),
        _ => V::Null,
    }
}

fn not(value: V) -> V {
    if let V::Bool(value) = value { V::Bool(!value) } else { V::Null }
}

fn compare(op: &str, a: &V, b: &V) -> V {
    let ordering = match (a, b) {
        (V::Number(a), V::Number(b)) => a.partial_cmp(b).unwrap(),
        (V::Text(a), V::Text(b)) => a.cmp(b),
        (V::Bool(a), V::Bool(b)) => a.cmp(b),
        (V::Time(a), V::Time(b)) | (V::Interval(a), V::Interval(b)) => a.cmp(b),
        _ => return V::Null,
    };
    V::Bool(match op {
        "=" => ordering.is_eq(),
        "<>" => ordering.is_ne(),
        "<" => ordering.is_lt(),
        "<=" => ordering.is_le(),
        ">" => ordering.is_gt(),
        _ => ordering.is_ge(),
    })
}

fn like(pattern: &[char], text: &[char]) -> bool {
    match (pattern.split_first(), text.split_first()) {
        (None, _) => text.is_empty(),
        (Some(('%', rest)), _) => (0..=text.len()).any(|skip| like(rest, &text[skip..])),
        (Some(('_', rest)), Some((_, tail))) => like(rest, tail),
        (Some((c, rest)), Some((d, tail))) => c == d && like(rest, tail),
        (Some(_), None) => false,
    }
}

fn as_number(value: V) -> V {
    if let V::Bool(value) = value { V::Number(f64::from(u8::from(value))) } else { value }
}

fn arithmetic(op: char, a: V, b: V) -> V {
    match (as_number(a), op, as_number(b)) {
        (V::Number(a), '+', V::Number(b)) => number(a + b),
        (V::Number(a), '-', V::Number(b)) => number(a - b),
        (V::Number(a), '*', V::Number(b)) => number(a * b),
        (V::Number(a), '/', V::Number(b)) => number(a / b),
        (V::Number(a), '%', V::Number(b)) => number(a % b),
        (V::Time(a), '+', V::Interval(b)) => time(a.checked_add(b)),
        (V::Time(a), '-', V::Interval(b)) => time(a.checked_sub(b)),
        (V::Time(a), '-', V::Time(b)) => a.checked_sub(b).map_or(V::Null, V::Interval),
        (V::Interval(a), '+', V::Interval(b)) => a.checked_add(b).map_or(V::Null, V::Interval),
        (V::Interval(a), '/', V::Interval(b)) => number(a as f64 / b as f64),
        (V::Interval(a), '*', V::Number(b)) => {
            let scaled = a as f64 * b;
            if scaled.abs() < 9.0e18 { V::Interval(scaled.round() as i64) } else { V::Null }
        }
        _ => V::Null,
    }
}

fn call(name: &str, arguments: Vec<V>) -> V {
    let known = || arguments.iter().filter(|value| **value != V::Null);
    let best = |op: &str| {
        known().fold(V::Null, |best, value| match (&best, compare(op, &best, value)) {
            (V::Null, _) | (_, V::Bool(false)) => value.clone(),
            _ => best,
        })
    };
    match (name, arguments.as_slice()) {
        ("coalesce", _) => known().next().cloned().unwrap_or(V::Null),
        ("greatest", _) => best(">="),
        ("least", _) => best("<="),
        ("nullif", [a, b]) => {
            if compare("=", a, b) == V::Bool(true) {
                V::Null
            } else {
                a.clone()
            }
        }
        ("lower", [V::Text(text)]) => V::Text(text.to_lowercase()),
        ("upper", [V::Text(text)]) => V::Text(text.to_uppercase()),
        ("length", [V::Text(text)]) => V::Number(text.chars().count() as f64),
        ("cardinality", [V::Tags(tags)]) => V::Number(tags.len() as f64),
        ("power", [a, b]) => match (as_number(a.clone()), as_number(b.clone())) {
            (V::Number(a), V::Number(b)) => number(a.powf(b)),
            _ => V::Null,
        },
        ("round", [a, V::Number(digits)]) => match as_number(a.clone()) {
            V::Number(a) => number((a * 10f64.powf(*digits)).round() / 10f64.powf(*digits)),
            _ => V::Null,
        },
        (_, [a]) => match (name, as_number(a.clone())) {
            ("abs", V::Number(a)) => number(a.abs()),
            ("round", V::Number(a)) => number(a.round()),
            ("floor", V::Number(a)) => number(a.floor()),
            ("ceil", V::Number(a)) => number(a.ceil()),
            ("ln", V::Number(a)) => number(a.ln()),
            ("log10", V::Number(a)) => number(a.log10()),
            ("exp", V::Number(a)) => number(a.exp()),
            ("sqrt", V::Number(a)) => number(a.sqrt()),
            _ => V::Null,
        },
        _ => V::Null,
    }
}

fn cast(value: V, to: &str) -> V {
    match (value, to) {
        (V::Bool(value), "number") => V::Number(f64::from(u8::from(value))),
        (V::Bool(value), "text") => V::Text(value.to_string()),
        (V::Number(value), "text") => V::Text(value.to_string()),
        (V::Number(value), "bool") => V::Bool(value != 0.0),
        (V::Text(value), "number") => value.trim().parse().map_or(V::Null, number),
        (V::Text(value), "bool") => match value.trim().to_lowercase().as_str() {
            "true" | "t" | "yes" | "1" => V::Bool(true),
            "false" | "f" | "no" | "0" => V::Bool(false),
            _ => V::Null,
        },
        (V::Time(value), "text") => V::Text(Timestamp::from_micros(value).to_string()),
        (same, _) => same,
    }
}
