//! The language as its users meet it: what expressions mean, and what the errors say.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int32Type};
use arrow_array::{
    ArrayRef, BooleanArray, DictionaryArray, Float32Array, Float64Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use arrow_schema::DataType;
use tastemaker_expr::{Ast, Bind, EvalError, Expr, ExprError, MAX_BYTES, Params, Problem, Schema};
use tastemaker_types::{AttributeSchema, AttributeType, Timestamp};

fn schema() -> Schema {
    let attributes = [
        ("category", AttributeType::Tag),
        ("genres", AttributeType::Tags),
        ("title", AttributeType::Text),
        ("price", AttributeType::Number),
        ("ctr", AttributeType::Number),
        ("available", AttributeType::Bool),
        ("released", AttributeType::Time),
    ];
    let attributes = AttributeSchema::new(attributes.map(|(name, kind)| (name.to_owned(), kind)));
    Schema::for_attributes(&attributes).with_default_qualifier("item")
}

fn now() -> Timestamp {
    "2026-06-15T12:00:00Z".parse().unwrap()
}

fn params() -> Params {
    Params::at(now())
        .with("max", 200.0)
        .with("category", "book")
        .with("categories", vec!["book", "game"])
        .with("prices", vec![9.5, 20.0])
        .with("none", Vec::<f64>::new())
        .with("since", "2026-06-01")
}

fn compile(sql: &str) -> Result<Expr, ExprError> {
    Expr::compile(sql, &schema(), &params())
}

fn error(sql: &str) -> String {
    compile(sql).map(|expr| panic!("{sql} compiled to {}", expr.cache_key())).unwrap_err().within("filter").to_string()
}

fn batch() -> RecordBatch {
    let mut genres = arrow_array::builder::ListBuilder::new(arrow_array::builder::StringBuilder::new());
    genres.append_value([Some("Comedy"), Some("Drama")]);
    genres.append_value(std::iter::empty::<Option<&str>>());
    genres.append_null();
    let day = 86_400_000_000;
    let released = [now().as_micros() - day, now().as_micros() - 10 * day, now().as_micros() + day];
    RecordBatch::try_from_iter([
        ("category", Arc::new(DictionaryArray::<Int32Type>::from_iter([Some("book"), Some("game"), None])) as ArrayRef),
        ("genres", Arc::new(genres.finish())),
        ("title", Arc::new(StringArray::from(vec!["Emma", "Go", "100% Wolf"]))),
        ("price", Arc::new(Float64Array::from(vec![Some(9.5), Some(500.0), None]))),
        ("ctr", Arc::new(Float64Array::from(vec![0.0, 0.2, f64::NAN]))),
        ("available", Arc::new(BooleanArray::from(vec![Some(true), Some(false), None]))),
        ("released", Arc::new(TimestampMicrosecondArray::from(released.to_vec()).with_timezone("UTC"))),
    ])
    .unwrap()
}

/// `+` for true, `-` for false, `?` for NULL.
fn bools(sql: &str) -> String {
    let values = compile(sql).unwrap_or_else(|e| panic!("{sql}: {e}")).evaluate(&batch()).unwrap();
    values.as_boolean().iter().map(|value| value.map_or('?', |value| if value { '+' } else { '-' })).collect()
}

fn numbers(sql: &str) -> Vec<Option<f64>> {
    let values = compile(sql).unwrap_or_else(|e| panic!("{sql}: {e}")).evaluate(&batch()).unwrap();
    values.as_primitive::<Float64Type>().iter().collect()
}

#[test]
fn filters_mean_what_sql_says() {
    for (sql, expected) in [
        ("category = 'book'", "+-?"),
        ("category <> 'book'", "-+?"),
        ("'book' = category", "+-?"),
        ("available", "+-?"),
        ("NOT available", "-+?"),
        ("available AND price < 200", "+-?"),
        ("available OR price > 200", "++?"),
        ("available = true", "+-?"),
        ("available IS TRUE", "+--"),
        ("available IS NOT TRUE", "-++"),
        ("available IS FALSE", "-+-"),
        ("price IS NULL", "--+"),
        ("price IS NOT NULL AND price < 10", "+--"),
        ("category IN ('book', 'game')", "++?"),
        ("category NOT IN ('book')", "-+?"),
        ("category IN ('book', NULL)", "+??"),
        ("category IN ()", "---"),
        ("price BETWEEN 5 AND 10", "+-?"),
        ("price NOT BETWEEN 5 AND 10", "-+?"),
        ("title LIKE '%m%'", "+--"),
        ("title LIKE 'G_'", "-+-"),
        ("title ILIKE 'EMMA'", "+--"),
        (r"title LIKE '100\%%'", "--+"),
        ("'Comedy' = ANY(genres)", "+-?"),
        ("array_contains(genres, 'Drama')", "+-?"),
        ("NOT 'Comedy' = ANY(genres)", "-+?"),
        ("cardinality(genres) = 0", "-+?"),
        ("released > now() - interval '7 days'", "+-+"),
        ("released > '2026-06-14'", "+-+"),
        ("released < current_timestamp", "++-"),
        ("released >= TIMESTAMP '2026-06-14T12:00:00Z'", "+-+"),
        ("released BETWEEN '2026-06-01' AND now()", "++-"),
        ("now() - released < interval '36 hours'", "+-+"),
        ("item.price < 10 and item.category = 'book'", "+-?"),
        (r#""price" < 10"#, "+-?"),
        ("price > 5 -- a comment\n AND price < 10", "+-?"),
        ("NULL", "???"),
        ("price = NULL", "???"),
        ("1 < 2", "+++"),
        ("lower(title) = 'emma'", "+--"),
        ("price::bool", "++?"),
        ("title = title", "+++"),
    ] {
        assert_eq!(bools(sql), expected, "{sql}");
    }
}

#[test]
fn parameters_are_bound_by_name_and_type() {
    for (sql, expected) in [
        ("price < :max", "+-?"),
        ("category = :category", "+-?"),
        ("category IN (:categories)", "++?"),
        ("category IN ('toy', :categories)", "++?"),
        ("category = ANY(:categories)", "++?"),
        ("price IN (:prices)", "+-?"),
        ("price IN (:none)", "---"),
        ("released > :since", "+++"),
    ] {
        assert_eq!(bools(sql), expected, "{sql}");
    }
    let binds: std::collections::BTreeMap<String, Bind> =
        serde_json::from_str(r#"{"a": 2, "b": "x", "c": [1, 2.5], "d": ["x"], "e": true, "f": null}"#).unwrap();
    let params = Params { now: now(), binds };
    for sql in ["price < :a", "category = :b", "price IN (:c)", "category IN (:d)", "available = :e", "price = :f"] {
        Expr::compile(sql, &schema(), &params).unwrap_or_else(|e| panic!("{sql}: {e}"));
    }
}

#[test]
fn numbers_mean_what_arithmetic_says() {
    for (sql, expected) in [
        ("price + 0.5", [Some(10.0), Some(500.5), None]),
        ("2 + 3 * 4 - -1", [Some(15.0); 3]),
        ("-price", [Some(-9.5), Some(-500.0), None]),
        ("(2 + 3) * 4 % 7", [Some(6.0); 3]),
        ("1 + 0.2 * (ctr > 0.1)", [Some(1.0), Some(1.2), None]),
        ("available + 1", [Some(2.0), Some(1.0), None]),
        ("price / 0", [None; 3]),
        ("price % 0", [None; 3]),
        ("ln(0)", [None; 3]),
        ("sqrt(-1)", [None; 3]),
        ("exp(1000)", [None; 3]),
        ("ctr", [Some(0.0), Some(0.2), None]),
        ("coalesce(price, 1)", [Some(9.5), Some(500.0), Some(1.0)]),
        ("nullif(price, 500)", [Some(9.5), None, None]),
        ("greatest(price, 20)", [Some(20.0), Some(500.0), Some(20.0)]),
        ("least(price, 20, NULL)", [Some(9.5), Some(20.0), Some(20.0)]),
        ("round(price / 7, 2)", [Some(1.36), Some(71.43), None]),
        ("round(-2.5)", [Some(-3.0); 3]),
        ("floor(9.7) + ceil(0.2) + abs(-3)", [Some(13.0); 3]),
        ("power(2, 10) + log10(1000)", [Some(1027.0); 3]),
        ("length(title)", [Some(4.0), Some(2.0), Some(9.0)]),
        ("CASE WHEN price < 10 THEN 1 WHEN price > 10 THEN 2 ELSE 0 END", [Some(1.0), Some(2.0), Some(0.0)]),
        ("CASE category WHEN 'book' THEN 1 END", [Some(1.0), None, None]),
        ("CAST('12.5' AS number) + CAST(available AS double precision)", [Some(13.5), Some(12.5), None]),
        ("CAST(title AS number)", [None; 3]),
        ("(now() - released) / interval '1 day'", [Some(1.0), Some(10.0), Some(-1.0)]),
        ("interval '1 day' * 2 / interval '12 hours'", [Some(4.0); 3]),
        ("1e2", [Some(100.0); 3]),
        (".5", [Some(0.5); 3]),
    ] {
        assert_eq!(numbers(sql), expected, "{sql}");
    }
}

#[test]
fn errors_say_what_where_and_what_to_do() {
    let mut wrong = Vec::new();
    for (sql, expected) in [
        ("prise < 5", "unknown attribute 'prise' in filter; did you mean 'price'? (column 1)"),
        ("available AND item.prce < 5", "unknown attribute 'item.prce' in filter; did you mean 'price'? (column 15)"),
        (
            "category < 5",
            "cannot compare tag 'category' with a number in filter; texts are quoted, numbers are not (column 1)",
        ),
        (
            "price = 'a'",
            "cannot compare number 'price' with a text in filter; texts are quoted, numbers are not (column 1)",
        ),
        (
            "genres = 'Comedy'",
            "cannot compare tags 'genres' with a text in filter; use 'x' = ANY(list) or cardinality(list) (column 1)",
        ),
        (
            "available = 1",
            "cannot compare bool 'available' with a number in filter; a bool stands alone, as in: available AND price < 200 (column 1)",
        ),
        (
            "price AND available",
            "AND takes a condition, not number 'price' in filter; compare it with something (column 1)",
        ),
        ("rond(price)", "unknown function 'rond' in filter; did you mean 'round'? (column 1)"),
        (
            "sum(price) > 5",
            "the function 'sum' over many rows cannot be used in filter; an expression sees one row at a time; greatest(a, b) and least(a, b) take values of one (column 1)",
        ),
        (
            "price < (SELECT 1)",
            "a subquery cannot be used in filter; an expression sees one row at a time; bind values as parameters (column 10)",
        ),
        (
            "category IN (SELECT x FROM y)",
            "a subquery cannot be used in filter; an expression sees one row at a time; bind values as parameters (column 14)",
        ),
        (
            "EXISTS (SELECT 1)",
            "a subquery cannot be used in filter; an expression sees one row at a time; bind values as parameters (column 1)",
        ),
        (
            "abs(price) OVER ()",
            "a window function cannot be used in filter; an expression sees one row at a time (column 12)",
        ),
        ("title SIMILAR TO 'x'", "a regular expression cannot be used in filter; write LIKE or ILIKE (column 7)"),
        ("price <", "expected an expression, found the end in filter (column 8)"),
        ("price < 5 available", "expected an operator or the end, found 'available' in filter (column 11)"),
        ("(price < 5", "expected ')', found the end in filter (column 11)"),
        ("", "expected an expression, found the end in filter (column 1)"),
        ("price == 5", "the operator == cannot be used in filter; equality is written = (column 7)"),
        ("category = 'book", "unreadable text: Unterminated string literal in filter (column 12)"),
        ("price < :mox", "parameter ':mox' has no value in filter; did you mean 'max'? (column 9)"),
        (
            "category = :categories",
            "parameter ':categories' is a list in filter; use it as IN (:categories) or = ANY(:categories), and do not nest lists (column 12)",
        ),
        (
            "price > ?",
            "an unnamed parameter cannot be used in filter; parameters have names, as in :max_price (column 9)",
        ),
        (
            "released > 'yesterday'",
            "'yesterday' is not a time; give RFC 3339 (2026-01-02T03:04:05Z), a date, or seconds/milliseconds/microseconds since 1970 in filter (column 12)",
        ),
        ("released > now() - interval '1 month'", "a month has no fixed length; use days in filter (column 20)"),
        (
            "released > 7",
            "cannot compare time 'released' with a number in filter; a time is written '2026-01-02T03:04:05Z' (column 1)",
        ),
        (
            "released > now() - 7",
            "- does not go between a time and a number in filter; write a length of time as interval '7 days' (column 12)",
        ),
        ("lower(price) = 'a'", "lower takes a text, not number 'price' in filter (column 7)"),
        ("round(1, 2, 3)", "round takes 1 to 2 arguments, not 3 in filter (column 1)"),
        (
            "CAST(price AS int)",
            "the type 'int' cannot be used in filter; numbers are 64-bit floats; use round(x) or floor(x) (column 15)",
        ),
        (
            "CASE WHEN available THEN 1 ELSE 'a' END",
            "CASE gives values of one kind, not a number and a text in filter (column 26)",
        ),
        (
            "coalesce(price, category)",
            "coalesce takes values of one kind, not number 'price' and tag 'category' in filter (column 10)",
        ),
        (
            "price IN (1, ctr)",
            "a list of values that are not constants cannot be used in filter; write a = b OR a = c (column 14)",
        ),
        (
            "title LIKE category",
            "LIKE takes a constant pattern in filter; write it in quotes or bind it as a parameter (column 12)",
        ),
        ("5 = ANY(genres)", "a list of texts cannot contain a number in filter; texts are quoted (column 1)"),
        (
            "price\n  < 'x'\n  AND prise",
            "cannot compare number 'price' with a text in filter; texts are quoted, numbers are not (column 1)",
        ),
        ("available\n  AND prise", "unknown attribute 'prise' in filter; did you mean 'price'? (line 2, column 7)"),
        ("1e999", "1e999 is not a finite number in filter (column 1)"),
    ] {
        let found = error(sql);
        if found != expected {
            wrong.push(format!("{sql}\n  said {found}\n  not  {expected}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn only_a_condition_is_a_filter() {
    let error = Expr::compile_filter("price + 1", &schema(), &params()).unwrap_err().within("recommend.eligibility");
    assert_eq!(
        error.to_string(),
        "a condition is true or false, this is a number in recommend.eligibility; compare it with something (column 1)"
    );
    assert!(matches!(compile("price").unwrap().filter(&batch()), Err(EvalError::NotAFilter { .. })));
    assert_eq!(compile("available").unwrap().filter(&batch()).unwrap().true_count(), 1);
}

#[test]
fn equal_meaning_gives_equal_keys() {
    for (a, b) in [
        ("price<200", "item.price  <  :max"),
        ("price < 100 + 100", "price < 200"),
        ("available AND (price < 1 AND ctr > 2)", "(available and price < 1) and ctr > 2"),
        ("available AND TRUE", "available"),
        ("NOT NOT available", "available"),
        ("category IN ('b', 'a', 'b')", "category IN ('a', 'b')"),
        ("released > now() - interval '1 day'", "released > '2026-06-14T12:00:00Z'"),
        ("price < 5 OR 1 = 1", "TRUE"),
        ("price * NULL > 3 AND 1 = 2", "false"),
    ] {
        assert_eq!(compile(a).unwrap().cache_key(), compile(b).unwrap().cache_key());
    }
    assert_ne!(compile("category = 'a'").unwrap().cache_key(), compile("category = 'a '").unwrap().cache_key());
}

#[test]
fn a_filter_names_the_columns_it_reads() {
    let filter = compile("price < 5 AND (category = 'a' OR price > 9)").unwrap();
    assert_eq!(filter.columns(), [0, 3]);
    assert!(matches!(filter.ast(), Ast::And(operands) if operands.len() == 2));
    // A batch needs no other columns, in any order.
    let narrow = batch().project(&[3, 0]).unwrap();
    assert_eq!(filter.filter(&narrow).unwrap(), filter.filter(&batch()).unwrap());
    let missing = filter.filter(&batch().project(&[0]).unwrap()).unwrap_err();
    assert_eq!(missing.to_string(), "the batch has no column 'price', which the expression reads");
    let wrong = RecordBatch::try_from_iter([
        ("price", Arc::new(StringArray::from(vec!["a"])) as ArrayRef),
        ("category", Arc::new(StringArray::from(vec!["a"]))),
    ]);
    assert!(matches!(filter.filter(&wrong.unwrap()), Err(EvalError::ColumnType { .. })));
}

#[test]
fn other_arrow_types_are_read_as_the_kind_that_they_are() {
    let schema = Schema::new([
        ("score", DataType::Float32),
        ("clicks", DataType::Int64),
        ("user.name", DataType::LargeUtf8),
        ("blob", DataType::Binary),
    ]);
    let params = Params::at(now());
    let batch = RecordBatch::try_from_iter([
        ("score", Arc::new(Float32Array::from(vec![0.5, f32::NAN])) as ArrayRef),
        ("clicks", Arc::new(Int64Array::from(vec![Some(3), None]))),
        ("user.name", Arc::new(arrow_array::LargeStringArray::from(vec!["Ann", "Bo"]))),
    ])
    .unwrap();
    let boost = Expr::compile("score * (1 + clicks) + (user.name = 'Bo')", &schema, &params).unwrap();
    assert_eq!(boost.numbers(&batch, -1.0).unwrap(), [2.0, -1.0]);
    let error = Expr::compile("blob = 'a'", &schema, &params).unwrap_err();
    assert_eq!(error.to_string(), "'blob' holds Binary values, which expressions cannot read in expression (column 1)");
}

#[test]
fn sizes_have_limits() {
    let too_large = |sql: &str| {
        let error = compile(sql).unwrap_err();
        assert!(matches!(error.problem, Problem::TooLarge { .. }), "{error}");
        error.to_string()
    };
    assert!(too_large(&format!("title = '{}'", "x".repeat(MAX_BYTES))).contains("at most 32768"));
    let list: Vec<String> = (0..5_000).map(|n| n.to_string()).collect();
    assert!(too_large(&format!("price IN ({})", list.join(","))).contains("at most 4096"));
    let many: Vec<f64> = (0..5_000).map(f64::from).collect();
    assert!(Expr::compile("price IN (:many)", &schema(), &Params::at(now()).with("many", many)).is_err());
    assert!(too_large(&vec!["price > 1"; 1_000].join(" AND ")).contains("at most 2048"));
    assert!(too_large(&format!("title LIKE '{}'", "%a".repeat(200))).contains("at most 256"));
    let flat = vec!["price > 1"; 500].join(" AND ");
    assert_eq!(compile(&flat).unwrap().ast().operands().len(), 500);
}

#[test]
fn deep_texts_are_refused_quickly_and_without_a_stack_overflow() {
    let deep = |open: &str, core: &str, close: &str, n: usize| format!("{}{core}{}", open.repeat(n), close.repeat(n));
    let mut texts = Vec::new();
    for n in [100, 2_000, 30_000] {
        for (open, core, close) in [
            ("(", "1", ")"),
            ("NOT ", "available", ""),
            ("- ", "1", ""),
            ("+", "1", ""),
            ("abs(", "price", ")"),
            ("cast(", "1", " as number)"),
            ("interval ", "'1 day'", ""),
            ("CASE WHEN available THEN ", "1", " END"),
            ("CASE ", "1", " WHEN 1 THEN 1 END"),
            ("array<", "int", ">"),
            ("price IN (", "1", ")"),
            ("array_contains(", "1", ", 'a')"),
            ("", "price", " + price"),
            ("", "price", " BETWEEN 1 AND 2"),
            ("", "price", "::text"),
            ("", "available", " IS TRUE"),
            ("", "available", " = available"),
            ("(", "available", " OR available) AND available"),
            ("1 + (", "price", ") * 2"),
            ("[", "", "]"),
            ("{", "", "}"),
            ("item.", "price", ""),
            ("coalesce(nullif(", "price", ", 1), 2)"),
        ] {
            texts.push(deep(open, core, close, n));
        }
    }
    let started = std::time::Instant::now();
    // Half the stack of a thread that serves requests, and frames are largest without optimisation.
    let checker = std::thread::Builder::new().stack_size(1024 * 1024).spawn(move || {
        for text in texts {
            if let Ok(expr) = compile(&text) {
                expr.evaluate(&batch()).unwrap();
            }
        }
    });
    checker.unwrap().join().unwrap();
    assert!(started.elapsed().as_secs() < 20, "{:?}", started.elapsed());
}

#[test]
fn any_bytes_compile_or_are_refused() {
    use proptest::prelude::*;
    let words = vec![
        "price",
        "category",
        "available",
        "genres",
        "released",
        "(",
        ")",
        ",",
        "AND",
        "OR",
        "NOT",
        "IN",
        "BETWEEN",
        "LIKE",
        "IS",
        "NULL",
        "CASE",
        "WHEN",
        "THEN",
        "ELSE",
        "END",
        "CAST",
        "AS",
        "number",
        "'a'",
        "1",
        "+",
        "-",
        "*",
        "/",
        "=",
        "<",
        "ANY",
        "::",
        ":max",
        ":categories",
        "interval",
        "'1 day'",
        "now()",
        "coalesce(",
        "round(",
        "\"",
        "'",
        ".",
        "é",
        "--",
    ];
    let text = proptest::collection::vec(proptest::sample::select(words), 0..14).prop_map(|words| words.join(" "));
    proptest!(ProptestConfig::with_cases(4_000), |(text in text)| {
        if let Ok(expr) = compile(&text) {
            expr.evaluate(&batch()).unwrap();
        }
    });
    proptest!(|(text in "\\PC{0,40}")| {
        if let Ok(expr) = compile(&text) {
            expr.evaluate(&batch()).unwrap();
        }
    });
}

#[test]
fn a_condition_is_split_at_its_ands() {
    let parts = |sql: &str| {
        let (numbers, others) = compile(sql).unwrap().split(|column| ["price", "ctr"].contains(&&*column.name));
        let key = |part: Option<Expr>| part.map(|part| part.cache_key().to_owned()).unwrap_or_default();
        (key(numbers), key(others))
    };
    let part = |sql: &str| compile(sql).unwrap().cache_key().to_owned();
    assert_eq!(
        parts("price < 5 AND (available AND (ctr > 0 AND category = 'book'))"),
        (part("price < 5 AND ctr > 0"), part("available AND category = 'book'"))
    );
    assert_eq!(parts("price < 5 OR available"), (String::new(), part("price < 5 OR available")));
    assert_eq!(parts("price < 5 OR ctr > 1"), (part("price < 5 OR ctr > 1"), String::new()));
    assert_eq!(parts("available"), (String::new(), part("available")));
}

#[test]
fn an_expression_is_shared_between_threads() {
    fn shared<T: Send + Sync + Clone>(_: &T) {}
    shared(&compile("price < 5").unwrap());
}
