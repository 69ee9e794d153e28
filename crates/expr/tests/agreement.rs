//! The vectorised evaluation agrees with a slow row-by-row one on random expressions and random batches, with NULL, NaN
//! and no rows among them.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod slow;

use std::sync::Arc;

use arrow_array::builder::{ListBuilder, StringBuilder};
use arrow_array::cast::AsArray;
use arrow_array::types::{DurationMicrosecondType, Float64Type, Int32Type, TimestampMicrosecondType};
use arrow_array::{
    Array, ArrayRef, BooleanArray, DictionaryArray, Float64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use proptest::prelude::*;
use slow::{E, Row, V};
use tastemaker_expr::{Expr, Params, Schema};
use tastemaker_types::{AttributeSchema, AttributeType, Timestamp};

const DAY: i64 = 86_400_000_000;

fn attributes() -> AttributeSchema {
    AttributeSchema::new(
        [
            ("price", AttributeType::Number),
            ("ctr", AttributeType::Number),
            ("available", AttributeType::Bool),
            ("category", AttributeType::Tag),
            ("title", AttributeType::Text),
            ("genres", AttributeType::Tags),
            ("released", AttributeType::Time),
        ]
        .map(|(name, kind)| (name.to_owned(), kind)),
    )
}

/// Random choices, drawn from bytes so that proptest can shrink them.
struct Choices {
    bytes: Vec<u8>,
    next: usize,
}

impl Choices {
    fn pick(&mut self, n: usize) -> usize {
        self.next += 1;
        self.bytes.get(self.next - 1).map_or(0, |byte| *byte as usize % n)
    }

    fn of<T: Clone>(&mut self, options: &[T]) -> T {
        options[self.pick(options.len())].clone()
    }

    fn text_literal(&mut self) -> V {
        self.of(&["a", "b", "Ab", "äÖ", "", "12", "1e3", "true", "it's"].map(|text| V::Text(text.to_owned())))
    }

    fn number_literal(&mut self) -> V {
        V::Number(self.of(&[0.0, 1.0, -1.0, 2.5, 100.0, -0.0, 1e200, 3.0, 0.5]))
    }

    fn time_literal(&mut self) -> V {
        V::Time(self.of(&[0, DAY, 20 * DAY, -DAY]))
    }

    fn number(&mut self, depth: usize) -> E {
        let boxed = |e: E| Box::new(e);
        match if depth == 0 { self.pick(3) } else { self.pick(13) } {
            0 => E::Column("price"),
            1 => E::Column("ctr"),
            2 => E::Literal(self.number_literal()),
            3..6 => {
                let op = self.of(&['+', '-', '*', '/', '%']);
                let left = if self.pick(4) == 0 { self.bool(depth - 1) } else { self.number(depth - 1) };
                E::Arithmetic(op, boxed(left), boxed(self.number(depth - 1)))
            }
            6 => {
                let name = self.of(&["abs", "round", "floor", "ceil", "ln", "log10", "exp", "sqrt"]);
                E::Call(name, vec![self.number(depth - 1)])
            }
            7 => {
                let name = self.of(&["power", "coalesce", "nullif", "greatest", "least"]);
                E::Call(name, vec![self.number(depth - 1), self.number(depth - 1)])
            }
            8 => E::Call("round", vec![self.number(depth - 1), E::Literal(V::Number(self.of(&[0.0, 2.0, -1.0])))]),
            9 => {
                let otherwise = (self.pick(2) == 0).then(|| boxed(self.number(depth - 1)));
                E::Case(
                    vec![(self.bool(depth - 1), self.number(depth - 1)), (self.bool(0), E::Literal(V::Null))],
                    otherwise,
                )
            }
            10 => match self.pick(2) {
                0 => E::Call("length", vec![self.text(depth - 1)]),
                _ => E::Call("cardinality", vec![E::Column("genres")]),
            },
            11 => match self.pick(2) {
                0 => E::Cast(boxed(self.text(depth - 1)), "number"),
                _ => E::Cast(boxed(self.bool(depth - 1)), "number"),
            },
            _ => E::Arithmetic('/', boxed(self.interval(depth - 1)), boxed(self.interval(depth - 1))),
        }
    }

    fn text(&mut self, depth: usize) -> E {
        match if depth == 0 { self.pick(3) } else { self.pick(7) } {
            0 => E::Column("category"),
            1 => E::Column("title"),
            2 => E::Literal(self.text_literal()),
            3 => E::Call(self.of(&["lower", "upper"]), vec![self.text(depth - 1)]),
            4 => {
                let name = self.of(&["coalesce", "nullif", "greatest", "least"]);
                E::Call(name, vec![self.text(depth - 1), self.text(depth - 1)])
            }
            5 => E::Case(vec![(self.bool(depth - 1), self.text(depth - 1))], Some(Box::new(self.text(depth - 1)))),
            _ => match self.pick(3) {
                0 => E::Cast(Box::new(self.number(depth - 1)), "text"),
                1 => E::Cast(Box::new(E::Column("released")), "text"),
                _ => E::Cast(Box::new(self.bool(depth - 1)), "text"),
            },
        }
    }

    fn time(&mut self, depth: usize) -> E {
        match if depth == 0 { self.pick(2) } else { self.pick(4) } {
            0 => E::Column("released"),
            1 => E::Literal(self.time_literal()),
            2 => {
                let op = self.of(&['+', '-']);
                E::Arithmetic(op, Box::new(self.time(depth - 1)), Box::new(self.interval(depth - 1)))
            }
            _ => E::Call(self.of(&["coalesce", "least", "nullif"]), vec![self.time(depth - 1), self.time(depth - 1)]),
        }
    }

    fn interval(&mut self, depth: usize) -> E {
        match if depth == 0 { 0 } else { self.pick(4) } {
            0 => E::Literal(V::Interval(self.of(&[0, DAY, -3 * DAY, i64::MAX / 2]))),
            1 => E::Arithmetic('-', Box::new(self.time(depth - 1)), Box::new(self.time(depth - 1))),
            2 => E::Arithmetic('*', Box::new(self.interval(depth - 1)), Box::new(self.number(depth - 1))),
            _ => E::Arithmetic('+', Box::new(self.interval(depth - 1)), Box::new(self.interval(depth - 1))),
        }
    }

    fn any_kind(&mut self, depth: usize) -> E {
        match self.pick(4) {
            0 => self.number(depth),
            1 => self.text(depth),
            2 => self.time(depth),
            _ => self.bool(depth),
        }
    }

    fn bool(&mut self, depth: usize) -> E {
        let boxed = |e: E| Box::new(e);
        if depth == 0 {
            return match self.pick(3) {
                0 => E::Column("available"),
                1 => E::Literal(V::Bool(self.pick(2) == 0)),
                _ => E::Compare("<", boxed(E::Column("price")), boxed(E::Literal(V::Number(2.5)))),
            };
        }
        let depth = depth - 1;
        let negated = self.pick(4) == 0;
        match self.pick(13) {
            0 => E::Not(boxed(self.bool(depth))),
            1 => E::IsNull(boxed(self.any_kind(depth)), negated),
            2 | 3 => E::And(boxed(self.bool(depth)), boxed(self.bool(depth))),
            4 | 5 => E::Or(boxed(self.bool(depth)), boxed(self.bool(depth))),
            6 | 7 => {
                let op = self.of(&["=", "<>", "<", "<=", ">", ">="]);
                let (a, b) = match self.pick(5) {
                    0 => (self.number(depth), self.number(depth)),
                    1 => (self.text(depth), self.text(depth)),
                    2 => (self.time(depth), self.time(depth)),
                    3 => (self.interval(depth), self.interval(depth)),
                    _ => {
                        let op = if op == "=" { "=" } else { "<>" };
                        return E::Compare(op, boxed(self.bool(depth)), boxed(self.bool(depth)));
                    }
                };
                E::Compare(op, boxed(a), boxed(b))
            }
            8 => match self.pick(2) {
                0 => {
                    let high = if self.pick(5) == 0 { E::Literal(V::Null) } else { self.number(depth) };
                    E::Between(boxed(self.number(depth)), boxed(self.number(depth)), boxed(high), negated)
                }
                _ => E::Between(boxed(self.text(depth)), boxed(self.text(depth)), boxed(self.text(depth)), negated),
            },
            9 => {
                let size = self.pick(14);
                let mut list: Vec<V>;
                let operand = match self.pick(3) {
                    0 => {
                        list = (0..size).map(|_| self.number_literal()).collect();
                        self.number(depth)
                    }
                    1 => {
                        list = (0..size).map(|_| self.text_literal()).collect();
                        self.text(depth)
                    }
                    _ => {
                        list = (0..size).map(|_| self.time_literal()).collect();
                        self.time(depth)
                    }
                };
                if self.pick(4) == 0 {
                    list.push(V::Null);
                }
                E::In(boxed(operand), list, negated)
            }
            10 => {
                let pattern = self.of(&["a%", "%b", "_", "%", "", "%ä%", "a_%b", "%TITLE%"]).to_owned();
                E::Like(boxed(self.text(depth)), pattern, negated)
            }
            11 => E::Any(boxed(self.text(depth)), "genres"),
            _ => match self.pick(3) {
                0 => E::Cast(boxed(self.number(depth)), "bool"),
                1 => E::Cast(boxed(self.text(depth)), "bool"),
                _ => E::Call("coalesce", vec![self.bool(depth), self.bool(depth)]),
            },
        }
    }
}

fn text() -> impl Strategy<Value = V> {
    let texts = ["a", "b", "Ab", "äÖ", "", "12", "true", "0", "a title, b", "it's"];
    prop_oneof![1 => Just(V::Null), 5 => proptest::sample::select(texts.map(|t| V::Text(t.to_owned())).to_vec())]
}

fn row() -> impl Strategy<Value = Row> {
    let specials = vec![0.0, -0.0, 1.0, 2.5, -1.0, 100.0, f64::NAN, f64::INFINITY, 1e308, -7.25];
    let number =
        move || prop_oneof![1 => Just(V::Null), 6 => proptest::sample::select(specials.clone()).prop_map(V::Number)];
    let tags = proptest::collection::vec(proptest::sample::select(vec!["a", "b", "Ab", ""]), 0..3)
        .prop_map(|tags| V::Tags(tags.into_iter().map(str::to_owned).collect()));
    (
        number(),
        number(),
        prop_oneof![1 => Just(V::Null), 4 => any::<bool>().prop_map(V::Bool)],
        text(),
        text(),
        prop_oneof![1 => Just(V::Null), 4 => tags],
        prop_oneof![1 => Just(V::Null), 4 => (-3..30i64).prop_map(|days| V::Time(days * DAY))],
    )
        .prop_map(|(price, ctr, available, category, title, genres, released)| {
            Row::from([
                ("price", price),
                ("ctr", ctr),
                ("available", available),
                ("category", category),
                ("title", title),
                ("genres", genres),
                ("released", released),
            ])
        })
}

fn batch(rows: &[Row]) -> RecordBatch {
    let number = |name: &str| -> ArrayRef {
        let of = |row: &Row| if let V::Number(n) = row[name] { Some(n) } else { None };
        Arc::new(rows.iter().map(of).collect::<Float64Array>())
    };
    let text = |name: &str| {
        rows.iter()
            .map(move |row| if let V::Text(t) = &row[name] { Some(t.as_str()) } else { None })
            .collect::<Vec<_>>()
    };
    let mut genres = ListBuilder::new(StringBuilder::new());
    for row in rows {
        match &row["genres"] {
            V::Tags(tags) => genres.append_value(tags.iter().map(Some)),
            _ => genres.append_null(),
        }
    }
    let available = rows.iter().map(|row| if let V::Bool(b) = row["available"] { Some(b) } else { None });
    let released = rows.iter().map(|row| if let V::Time(t) = row["released"] { Some(t) } else { None });
    let columns: [(&str, ArrayRef); 7] = [
        ("price", number("price")),
        ("ctr", number("ctr")),
        ("available", Arc::new(available.collect::<BooleanArray>())),
        ("category", Arc::new(text("category").into_iter().collect::<DictionaryArray<Int32Type>>())),
        ("title", Arc::new(StringArray::from(text("title")))),
        ("genres", Arc::new(genres.finish())),
        ("released", Arc::new(released.collect::<TimestampMicrosecondArray>().with_timezone("UTC"))),
    ];
    RecordBatch::try_from_iter_with_nullable(columns.map(|(name, array)| (name, array, true))).unwrap()
}

fn at(array: &ArrayRef, row: usize) -> V {
    use arrow_schema::DataType;
    if array.is_null(row) {
        return V::Null;
    }
    match array.data_type() {
        DataType::Boolean => V::Bool(array.as_boolean().value(row)),
        DataType::Float64 => V::Number(array.as_primitive::<Float64Type>().value(row)),
        DataType::Utf8 => V::Text(array.as_string::<i32>().value(row).to_owned()),
        DataType::Timestamp(..) => V::Time(array.as_primitive::<TimestampMicrosecondType>().value(row)),
        DataType::Duration(_) => V::Interval(array.as_primitive::<DurationMicrosecondType>().value(row)),
        other => panic!("unexpected result type {other}"),
    }
}

fn agree(expression: &E, rows: &[Row]) -> Result<(), TestCaseError> {
    let sql = expression.sql();
    let schema = Schema::for_attributes(&attributes()).with_default_qualifier("item");
    let params = Params::at(Timestamp::EPOCH);
    let compiled = Expr::compile(&sql, &schema, &params).map_err(|e| TestCaseError::fail(format!("{sql}: {e}")))?;
    let batch = batch(rows);
    let values = compiled.evaluate(&batch).map_err(|e| TestCaseError::fail(format!("{sql}: {e}")))?;
    prop_assert_eq!(values.data_type(), &compiled.data_type());
    prop_assert_eq!(values.len(), rows.len());
    for (index, row) in rows.iter().enumerate() {
        prop_assert_eq!(at(&values, index), expression.value(row), "row {} of {}", index, sql);
    }
    if compiled.data_type() == arrow_schema::DataType::Boolean {
        let filter = compiled.filter(&batch).unwrap();
        prop_assert_eq!(filter.null_count(), 0);
        let (numbers, others) = compiled.split(|column| ["price", "ctr"].contains(&&*column.name));
        let read: Vec<&str> = numbers.iter().flat_map(Expr::column_refs).map(|column| &*column.name).collect();
        prop_assert!(
            read.iter().all(|name| ["price", "ctr"].contains(name)),
            "{:?} in the first part of {}",
            read,
            sql
        );
        let parts = [numbers, others].into_iter().flatten();
        let both = parts.map(|part| part.filter(&batch).unwrap()).reduce(|a, b| {
            a.iter().zip(b.iter()).map(|(a, b)| Some(a == Some(true) && b == Some(true))).collect::<BooleanArray>()
        });
        prop_assert_eq!(both.unwrap(), filter.clone(), "the parts of {}", sql);
        for (index, row) in rows.iter().enumerate() {
            prop_assert_eq!(
                filter.value(index),
                expression.value(row) == V::Bool(true),
                "filter row {} of {}",
                index,
                sql
            );
        }
    }
    // The normal form is a text of the language and means the same.
    let again = Expr::compile(compiled.cache_key(), &schema, &params)
        .map_err(|e| TestCaseError::fail(format!("{}: {e}", compiled.cache_key())))?;
    prop_assert_eq!(again.cache_key(), compiled.cache_key());
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_500))]
    #[test]
    fn kernels_agree_with_a_row_by_row_interpreter(
        bytes in proptest::collection::vec(any::<u8>(), 0..80),
        rows in proptest::collection::vec(row(), 0..9),
    ) {
        let mut choices = Choices { bytes, next: 0 };
        let expression = match choices.pick(3) {
            0 => choices.any_kind(3),
            _ => choices.bool(4),
        };
        agree(&expression, &rows)?;
    }

    #[test]
    fn long_batches_agree_across_word_boundaries(
        bytes in proptest::collection::vec(any::<u8>(), 0..40),
        rows in proptest::collection::vec(row(), 60..140),
    ) {
        let mut choices = Choices { bytes, next: 0 };
        let expression = choices.bool(3);
        agree(&expression, &rows)?;
    }
}
