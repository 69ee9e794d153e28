//! Historical features.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, Float64Type};
use arrow_array::{
    Array, ArrayRef, BooleanArray, Float64Array, ListArray, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use proptest::prelude::*;
use tastemaker_types::{FeatureValue, Record, Timestamp, UpsertMode, Value, Window};

use crate::common::{PROJECT, Project, at, event, upsert, worth, write_log, write_parquet};
use crate::reference::{Reference, Worth};

pub(crate) const NAMES: [&str; 9] = [
    "clicks_30m",
    "spent",
    "by_category",
    "latest",
    "purchases_per_click",
    "pair.clicks",
    "dear",
    "at_home",
    "worth:value",
];
const USERS: [&str; 3] = ["ann", "bob", "cat"];
const ITEMS: [&str; 3] = ["tea", "pot", "cup"];

fn times(times: &[Timestamp]) -> ArrayRef {
    let micros = times.iter().map(|at| at.as_micros());
    Arc::new(TimestampMicrosecondArray::from_iter_values(micros).with_timezone("UTC"))
}

fn texts<'a>(texts: impl IntoIterator<Item = &'a str>) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(texts))
}

pub(crate) fn write_rows(path: &std::path::Path, rows: &[(&str, &str, Timestamp)]) {
    let at: Vec<Timestamp> = rows.iter().map(|row| row.2).collect();
    write_parquet(
        path,
        vec![
            ("user_id", texts(rows.iter().map(|row| row.0))),
            ("item_id", texts(rows.iter().map(|row| row.1))),
            ("event_timestamp", times(&at)),
        ],
    );
}

/// The value in a column of a row, as features have them.
pub(crate) fn value(array: &ArrayRef, row: usize) -> Option<FeatureValue> {
    if array.is_null(row) {
        return None;
    }
    if let Some(numbers) = array.as_primitive_opt::<Float64Type>() {
        return Some(FeatureValue::Number(numbers.value(row)));
    }
    if let Some(truths) = array.as_any().downcast_ref::<BooleanArray>() {
        return Some(FeatureValue::Bool(truths.value(row)));
    }
    let list = array.as_list::<i32>().value(row);
    if let Some(texts) = list.as_string_opt::<i32>() {
        return Some(FeatureValue::Texts(texts.iter().flatten().map(str::to_owned).collect()));
    }
    let pairs = list.as_struct();
    let names = pairs.column(0).as_string::<i32>();
    let numbers = pairs.column(1).as_primitive::<Float64Type>();
    let pair = |at| (names.value(at).to_owned(), numbers.value(at));
    Some(FeatureValue::Map((0..pairs.len()).map(pair).collect()))
}

fn values(batches: &[RecordBatch]) -> Vec<BTreeMap<String, Option<FeatureValue>>> {
    let row = |batch: &RecordBatch, row: usize| {
        let schema = batch.schema();
        let column = |(field, array): (&Arc<arrow_schema::Field>, &ArrayRef)| {
            let skipped = ["user_id", "item_id", "event_timestamp"].contains(&field.name().as_str());
            (!skipped && !field.name().ends_with("__status")).then(|| (field.name().clone(), value(array, row)))
        };
        schema.fields().iter().zip(batch.columns()).filter_map(column).collect()
    };
    batches.iter().flat_map(|batch| (0..batch.num_rows()).map(move |n| row(batch, n))).collect()
}

/// Times that meet often: multiples of ten minutes, and one microsecond beside them.
fn time() -> impl Strategy<Value = Timestamp> {
    (0..30i64, -1..=1i64).prop_map(|(tens, micros)| at(tens * 10).plus(Window::from_micros(micros)))
}

fn user() -> impl Strategy<Value = &'static str> {
    prop::sample::select(USERS.to_vec())
}

fn item() -> impl Strategy<Value = &'static str> {
    prop::sample::select(ITEMS.to_vec())
}

fn record() -> impl Strategy<Value = Record> {
    let kind = prop::sample::select(vec!["click", "click", "purchase", "impression"]);
    let mode = prop::sample::select(vec![UpsertMode::Replace, UpsertMode::Merge]);
    let item_upsert = (item(), time(), mode.clone(), 0..5u8, prop::option::of(prop::sample::select(vec!["a", "b"])));
    let item_upsert = item_upsert.prop_map(|(id, at, mode, price, category)| {
        let mut attributes = vec![("price", Value::Number(f64::from(price)))];
        attributes.extend(category.map(|category| ("category", Value::Text(category.to_owned()))));
        Record::ItemUpsert(upsert(id, &attributes, mode, at))
    });
    let user_upsert = (user(), time(), mode, prop::option::of(prop::sample::select(vec!["ch", "li"])));
    let user_upsert = user_upsert.prop_map(|(id, at, mode, country)| {
        let country = country.map(|country| ("country", Value::Text(country.to_owned())));
        Record::UserUpsert(upsert(id, &Vec::from_iter(country), mode, at))
    });
    prop_oneof![
        12 => (kind, user(), item(), time()).prop_map(|(kind, user, item, at)| event(0, kind, user, item, at)),
        3 => item_upsert,
        2 => user_upsert,
        1 => (item(), time()).prop_map(|(id, timestamp)| Record::ItemDelete { id: id.to_owned(), timestamp }),
        1 => (user(), time()).prop_map(|(id, timestamp)| Record::UserDelete { id: id.to_owned(), timestamp }),
        2 => (user(), time(), prop::option::of(time()), 0..9u8)
            .prop_map(|(id, event, created, value)| worth(id, event, created, f64::from(value))),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn every_row_is_told_what_was_known_then(
        records in prop::collection::vec(record(), 0..60),
        table in prop::collection::vec((user(), time(), prop::option::of(time()), 10..19u8), 1..8),
        rows in prop::collection::vec((user(), item(), time()), 1..12),
    ) {
        let project = Project::new(PROJECT);
        let dir = tempfile::tempdir().unwrap();
        let mut records = records;
        for (number, record) in records.iter_mut().enumerate() {
            if let Record::Event(event) = record {
                event.event_id = format!("e{number}");
            }
        }
        write_log(&dir.path().join("log"), records.clone());
        let table_path = dir.path().join("worth.parquet");
        let created = table.iter().map(|row| row.2.map(|at| at.as_micros())).collect::<TimestampMicrosecondArray>();
        write_parquet(&table_path, vec![
            ("user_id", texts(table.iter().map(|row| row.0))),
            ("event_timestamp", times(&table.iter().map(|row| row.1).collect::<Vec<_>>())),
            ("created", Arc::new(created.with_timezone("UTC"))),
            ("value", Arc::new(table.iter().map(|row| Some(f64::from(row.3))).collect::<Float64Array>())),
        ]);
        let rows_path = dir.path().join("rows.parquet");
        write_rows(&rows_path, &rows);

        let mut views = project.config.feature_views.clone();
        views[0].path = Some(table_path);
        let told = project.historical(&NAMES, &views, &dir.path().join("log"), &rows_path, false).unwrap();
        let told = values(&told);
        let table: Vec<Worth> = table.iter().map(|(user, event, created, value)| Worth {
            user: (*user).to_owned(),
            event: *event,
            created: created.unwrap_or(*event),
            value: Some(f64::from(*value)),
        }).collect();
        let reference = Reference::new(&project.set, &records, &table);
        prop_assert_eq!(told.len(), rows.len());
        for (told, (user, item, now)) in told.iter().zip(&rows) {
            for (name, expected) in reference.row(user, item, *now) {
                let same = match (&told[name], &expected) {
                    (Some(told), Some(expected)) => told.same_bits(expected),
                    (told, expected) => told.is_none() && expected.is_none(),
                };
                prop_assert!(same, "{} of {} and {} at {}: {:?}, not {:?}", name, user, item, now, told[name], expected);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    /// An expression that reads a view makes it be seen row by row, as one is that rows of the log belong to.
    #[test]
    fn a_view_without_rows_in_the_log_is_told_the_same_as_a_column_and_row_by_row(
        table in prop::collection::vec((user(), time(), prop::option::of(time()), prop::option::of(10..19u8)), 1..12),
        rows in prop::collection::vec((user(), item(), time()), 1..12),
        with_defaults in any::<bool>(),
        with_log in any::<bool>(),
        late in any::<bool>(),
    ) {
        let mut project = format!("{PROJECT}\n[[features]]\nentity = \"user\"\nname = \"valued\"\nexpression = \"user.value > 12\"\n");
        if with_defaults {
            let defaults = "defaults = { value = -1, segment = \"none\" }\ncreated_time_column";
            project = project.replacen("created_time_column", defaults, 1);
        }
        let project = Project::new(&project);
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        if with_log {
            write_log(&log, vec![event(0, "click", "ann", "tea", at(0))]);
        }
        let table_path = dir.path().join("worth.parquet");
        let created = table.iter().map(|row| row.2.map(|at| at.as_micros())).collect::<TimestampMicrosecondArray>();
        let taste = table.iter().map(|row| row.3.map(|value| vec![Some(f32::from(value)), Some(0.5)]));
        let segment = table.iter().map(|row| row.3.map(|value| value.to_string())).collect::<StringArray>();
        write_parquet(&table_path, vec![
            ("user_id", texts(table.iter().map(|row| row.0))),
            ("event_timestamp", times(&table.iter().map(|row| row.1).collect::<Vec<_>>())),
            ("created", Arc::new(created.with_timezone("UTC"))),
            ("value", Arc::new(table.iter().map(|row| row.3.map(f64::from)).collect::<Float64Array>())),
            ("taste", Arc::new(ListArray::from_iter_primitive::<Float32Type, _, _>(taste))),
            ("segment", Arc::new(segment)),
        ]);
        let rows_path = dir.path().join("rows.parquet");
        write_rows(&rows_path, &rows);
        let mut views = project.config.feature_views.clone();
        views[0].path = Some(table_path);
        let told = |names: &[&str]| project.historical(names, &views, &log, &rows_path, late).unwrap();
        let columns = ["clicks_30m", "worth:value", "worth:segment", "worth:taste"];
        let as_columns = told(&columns);
        let row_by_row = told(&[columns.as_slice(), &["valued"]].concat());
        prop_assert_eq!(as_columns.len(), row_by_row.len());
        for (columns, rows) in as_columns.iter().zip(&row_by_row) {
            prop_assert_eq!(columns.num_columns(), 3 + 2 * 4);
            for (field, column) in columns.schema().fields().iter().zip(columns.columns()) {
                prop_assert_eq!(column, rows.column_by_name(field.name()).unwrap(), "{}", field.name());
            }
        }
    }
}

#[test]
fn edges_of_windows_ttls_and_equal_times_by_hand() {
    let project = Project::new(PROJECT);
    let dir = tempfile::tempdir().unwrap();
    let micro = Window::from_micros(1);
    let price = |price| [("price", Value::Number(price))];
    write_log(
        &dir.path().join("log"),
        vec![
            Record::ItemUpsert(upsert("tea", &price(4.0), UpsertMode::Replace, at(-100))),
            event(0, "click", "ann", "tea", at(0)),
            event(1, "click", "ann", "pot", at(0)),
            event(2, "purchase", "ann", "tea", at(10)),
            // The price of the purchase before stays what it was.
            Record::ItemUpsert(upsert("tea", &price(9.0), UpsertMode::Replace, at(20))),
            // Late by its own time.
            event(3, "click", "ann", "cup", at(-5)),
            worth("ann", at(0), Some(at(30)), 7.0),
        ],
    );
    let rows = [
        ("ann", "tea", at(0).minus(micro)),
        ("ann", "tea", at(0)),
        ("ann", "tea", at(10)),
        ("ann", "tea", at(30).minus(micro)),
        ("ann", "tea", at(30)),
        ("ann", "tea", at(60)),
        ("ann", "tea", at(60).plus(micro)),
        ("ann", "tea", at(130)),
        ("ann", "tea", at(130).plus(micro)),
        ("nobody", "nothing", at(10)),
    ];
    let rows_path = dir.path().join("rows.parquet");
    write_rows(&rows_path, &rows);
    let run = |late| {
        let views = &project.config.feature_views;
        project.historical(&NAMES, views, &dir.path().join("log"), &rows_path, late).unwrap()
    };
    let told = run(false);
    let numbers = |name: &str, told: &[RecordBatch]| -> Vec<Option<f64>> {
        let number = |row: &BTreeMap<String, Option<FeatureValue>>| match row[name] {
            Some(FeatureValue::Number(number)) => Some(number),
            _ => None,
        };
        values(told).iter().map(number).collect()
    };
    let latest: Vec<_> = values(&told).iter().take(2).map(|row| row["latest"].clone()).collect();
    let items = |items: &[&str]| Some(FeatureValue::Texts(items.iter().map(|item| (*item).to_owned()).collect()));
    assert_eq!(
        latest,
        [items(&["cup"]), items(&["pot", "tea", "cup"])],
        "of equal times the later in the log is later"
    );
    assert_eq!(
        numbers("spent", &told),
        [-1.0, -1.0, 4.0, 4.0, 4.0, 4.0, 4.0, 4.0, -1.0, -1.0].map(Some),
        "two hours old is not too old"
    );
    let known_from_30_to_60 = [None, None, None, None, Some(7.0), Some(7.0), None, None, None, None];
    assert_eq!(numbers("value", &told), known_from_30_to_60, "created at 30, and an hour old at 60");
    let late = [None, Some(7.0), Some(7.0), Some(7.0), Some(7.0), Some(7.0), None, None, None, None];
    assert_eq!(numbers("value", &run(true)), late);
    assert_eq!(
        numbers("dear", &told).iter().skip(2).take(3).copied().collect::<Vec<_>>(),
        [Some(2.0), Some(9.0 / 4.0 + 1.0), Some(9.0 / 4.0 + 1.0)],
        "the price changed at 20"
    );
    let statuses = |name: &str| -> Vec<String> {
        let of = |batch: &RecordBatch| {
            let column = batch.column_by_name(&format!("{name}__status")).unwrap().as_string::<i32>().clone();
            column.iter().flatten().map(str::to_owned).collect::<Vec<_>>()
        };
        told.iter().flat_map(of).collect()
    };
    assert_eq!(statuses("value")[3..7], ["NOT_FOUND", "PRESENT", "PRESENT", "OUTSIDE_MAX_AGE"]);
    assert_eq!((statuses("spent")[1].as_str(), statuses("spent")[8].as_str()), ("NOT_FOUND", "OUTSIDE_MAX_AGE"));
}

#[test]
fn of_a_deleted_user_nothing_before_is_known_at_any_time_and_of_a_deleted_item_its_events_stay() {
    let project = Project::new(PROJECT);
    let dir = tempfile::tempdir().unwrap();
    let country = [("country", Value::Text("ch".to_owned()))];
    write_log(
        &dir.path().join("log"),
        vec![
            Record::ItemUpsert(upsert("tea", &[("price", Value::Number(4.0))], UpsertMode::Replace, at(0))),
            Record::UserUpsert(upsert("ann", &country, UpsertMode::Replace, at(0))),
            event(0, "click", "ann", "tea", at(1)),
            event(1, "click", "bob", "tea", at(2)),
            event(2, "purchase", "bob", "tea", at(3)),
            worth("ann", at(1), None, 7.0),
            Record::UserDelete { id: "ann".to_owned(), timestamp: at(10) },
            // After the deletion a user begins anew, whatever the time of the event.
            event(3, "click", "ann", "tea", at(5)),
            Record::ItemDelete { id: "tea".to_owned(), timestamp: at(20) },
        ],
    );
    let rows = [("ann", "tea", at(4)), ("ann", "tea", at(6)), ("bob", "tea", at(6)), ("bob", "tea", at(20))];
    let path = dir.path().join("rows.parquet");
    write_rows(&path, &rows);
    let told = project.historical(&NAMES, &project.config.feature_views, &dir.path().join("log"), &path, false);
    let told = values(&told.unwrap());
    let number = |row: usize, name: &str| match told[row][name] {
        Some(FeatureValue::Number(number)) => Some(number),
        _ => None,
    };
    assert_eq!((number(0, "clicks_30m"), number(0, "clicks"), number(0, "value")), (None, None, None), "forgotten");
    assert_eq!(told[0]["at_home"], None, "their attributes, too");
    assert_eq!((number(1, "clicks_30m"), number(1, "clicks"), number(1, "value")), (Some(1.0), Some(1.0), None));
    assert_eq!(number(0, "purchases_per_click"), Some(0.5), "what a user did to items stays");
    assert_eq!((number(2, "purchases_per_click"), number(2, "dear")), (Some(1.0 / 3.0), Some(2.0)));
    assert_eq!(
        (number(3, "purchases_per_click"), number(3, "dear")),
        (Some(1.0 / 3.0), None),
        "a deleted item has no price"
    );
}

#[test]
fn times_in_csv_may_have_any_zone_and_rows_keep_their_columns_and_order() {
    let project = Project::new(PROJECT);
    let dir = tempfile::tempdir().unwrap();
    write_log(&dir.path().join("log"), vec![event(0, "click", "ann", "tea", "2026-01-01T10:00:00Z".parse().unwrap())]);
    let rows = dir.path().join("rows.csv");
    std::fs::write(
        &rows,
        "label,user_id,timestamp\n\
         b,ann,2026-01-01T12:00:00+02:00\na,ann,2026-01-01T11:59:59+02:00\nc,ann,2026-01-01 10:00:00\nd,,2026-01-01\n",
    )
    .unwrap();
    let views = &project.config.feature_views;
    let told = project.historical(&["clicks_30m", "spent"], views, &dir.path().join("log"), &rows, false).unwrap();
    let batch = &told[0];
    let labels: Vec<_> = batch.column_by_name("label").unwrap().as_string::<i32>().iter().flatten().collect();
    assert_eq!(labels, ["b", "a", "c", "d"]);
    let clicks = batch.column_by_name("clicks_30m").unwrap().as_primitive::<Float64Type>();
    assert_eq!(clicks.iter().collect::<Vec<_>>(), [Some(1.0), None, Some(1.0), None]);
    let spent = batch.column_by_name("spent").unwrap().as_primitive::<Float64Type>();
    assert_eq!(spent.iter().collect::<Vec<_>>(), [Some(-1.0); 4], "the default, also of a row without a user");
    let error = project.historical(&["pair.clicks"], views, &dir.path().join("log"), &rows, false).unwrap_err();
    assert!(error.to_string().contains("item_id"), "{error}");
}

#[test]
fn without_a_log_and_interrupted_there_is_no_panic() {
    let project = Project::new(PROJECT);
    let dir = tempfile::tempdir().unwrap();
    let rows = dir.path().join("rows.parquet");
    write_rows(&rows, &[("ann", "tea", at(0))]);
    let told =
        project.historical(&NAMES, &project.config.feature_views, &dir.path().join("none"), &rows, false).unwrap();
    assert_eq!(values(&told)[0]["clicks_30m"], None);
}
