//! Files as people have them, and what becomes of their rows.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::{
    ArrayRef, BooleanArray, Float64Array, Int64Array, ListArray, RecordBatch, StringArray, TimestampNanosecondArray,
    types::Int32Type,
};
use flate2::{Compression, write::GzEncoder};
use parquet::arrow::ArrowWriter;
use proptest::prelude::*;
use tastemaker_config::Config;
use tastemaker_import::{Import, ImportError, Kind, MAX_ROW_BYTES, Report};
use tastemaker_types::{Attributes, EntityUpsert, Event, Record, UpsertMode, Value};

/// A folder of files to import, gone at the end of the test.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::write(&path, content).unwrap();
        path
    }
}

fn import(path: &Path, kind: Kind, config: &str) -> (Vec<Record>, Report) {
    let config = Config::parse(config).unwrap_or_else(|error| panic!("{error}"));
    let mut import = Import::open(path, kind, &config).unwrap_or_else(|error| panic!("{error}"));
    let mut records = Vec::new();
    for batch in &mut import {
        records.extend(batch.unwrap());
    }
    (records, import.into_report())
}

fn refused_file(path: &Path, kind: Kind, config: &str) -> String {
    let config = Config::parse(config).unwrap();
    let folder = path.parent().unwrap().display().to_string() + "/";
    match Import::open(path, kind, &config) {
        Ok(_) => panic!("{} was opened", path.display()),
        Err(error) => error.to_string().replace(&folder, ""),
    }
}

fn events(records: Vec<Record>) -> Vec<Event> {
    records
        .into_iter()
        .map(|record| match record {
            Record::Event(event) => event,
            other => panic!("no event: {other:?}"),
        })
        .collect()
}

/// `type user item time value` of each event.
fn lines(records: Vec<Record>) -> Vec<String> {
    let line = |e: Event| {
        let value = e.value.map_or_else(|| "-".to_owned(), |value| value.to_string());
        format!("{} {} {} {} {value}", e.event_type, e.user_id, e.item_id, e.timestamp)
    };
    events(records).into_iter().map(line).collect()
}

fn entities(records: Vec<Record>) -> Vec<(String, Attributes)> {
    records
        .into_iter()
        .map(|record| match record {
            Record::ItemUpsert(EntityUpsert { id, attributes, mode, .. })
            | Record::UserUpsert(EntityUpsert { id, attributes, mode, .. }) => {
                assert_eq!(mode, UpsertMode::Merge);
                (id, attributes)
            }
            other => panic!("no entity: {other:?}"),
        })
        .collect()
}

fn text(value: &str) -> Value {
    Value::Text(value.into())
}

fn tags(values: &[&str]) -> Value {
    Value::Tags(values.iter().map(|v| (*v).to_owned()).collect())
}

const FILMS: &str = "[items.attributes]\ntitle = \"text\"\ngenres = \"tags\"\n";

#[test]
fn movielens_ratings_need_no_settings() {
    let folder = Folder::new();
    let path = folder.file("ratings.csv", "userId,movieId,rating,timestamp\n1,31,2.5,1260759144\n7,2,4.0,964982703\n");
    let (records, report) = import(&path, Kind::Events, "");
    assert_eq!(lines(records), ["rating 1 31 2009-12-14T02:52:24Z 2.5", "rating 7 2 2000-07-30T18:45:03Z 4"]);
    assert_eq!((report.rows, report.accepted, report.refused), (2, 2, 0));
    assert_eq!(report.bytes, std::fs::metadata(&path).unwrap().len());
}

#[test]
fn movielens_films_need_only_their_attributes_declared() {
    let folder = Folder::new();
    let content =
        "movieId,title,genres\r\n1,\"American President, The (1995)\",Comedy|Romance\r\n2,Käse,(no genres listed)\r\n";
    let path = folder.file("movies.csv", content);
    let (records, _) = import(&path, Kind::Items, FILMS);
    let found = entities(records);
    assert_eq!(found[0].1["title"], text("American President, The (1995)"));
    assert_eq!(found[0].1["genres"], tags(&["Comedy", "Romance"]));
    assert_eq!((found[1].0.as_str(), &found[1].1["genres"]), ("2", &tags(&[])));

    let (records, report) = import(&path, Kind::Items, "");
    assert_eq!(entities(records)[0], ("1".to_owned(), Attributes::new()));
    assert_eq!(report.notices, ["columns that the project does not declare were ignored: title, genres"]);
}

#[test]
fn grouplens_dat_files_without_a_header_are_known() {
    let folder = Folder::new();
    let ratings = folder.file("ratings.dat", "1::1193::5::978300760\n2::661::3::978302109\n");
    let (records, _) = import(&ratings, Kind::Events, "");
    assert_eq!(lines(records), ["rating 1 1193 2000-12-31T22:12:40Z 5", "rating 2 661 2000-12-31T22:35:09Z 3"]);

    let movies = folder.file("movies.dat", "1::Toy Story: \"It\" (1995)::Animation|Children's\n");
    let (records, _) = import(&movies, Kind::Items, FILMS);
    assert_eq!(entities(records)[0].1["title"], text("Toy Story: \"It\" (1995)"));

    let users = folder.file("users.dat", "1::F::1::10::48067\n");
    let (records, _) =
        import(&users, Kind::Users, "[users.attributes]\ngender = \"tag\"\nage = \"number\"\nzip_code = \"tag\"");
    let expected = [("age", Value::Number(1.0)), ("gender", text("F")), ("zip_code", text("48067"))];
    assert_eq!(entities(records)[0].1, expected.map(|(k, v)| (k.to_owned(), v)).into());
}

#[test]
fn plain_files_need_no_settings_in_any_order_with_or_without_a_header() {
    let folder = Folder::new();
    let cases = [
        ("a.csv", "user,item,timestamp\nu,i,2020-01-02\n", "click u i 2020-01-02T00:00:00Z -"),
        (
            "b.csv",
            "timestamp,item_id,User-Id,type,value\n1577923200000,i,u,purchase,9.5\n",
            "purchase u i 2020-01-02T00:00:00Z 9.5",
        ),
        (
            "c.tsv",
            "user\titem\ttimestamp\tvalue\nu\ti\t2020-01-02T00:00:00+01:00\t1\n",
            "click u i 2020-01-01T23:00:00Z 1",
        ),
        ("d.csv", "u;i;1577923200;purchase\n", "purchase u i 2020-01-02T00:00:00Z -"),
        ("e.csv", "u,i,2020-01-02 03:04:05\n", "click u i 2020-01-02T03:04:05Z -"),
        ("u.data", "196\t242\t3\t881250949\n", "rating 196 242 1997-12-04T15:55:49Z 3"),
    ];
    for (name, content, expected) in cases {
        let (records, report) = import(&folder.file(name, content), Kind::Events, "");
        assert_eq!(lines(records), [expected], "{name}: {report:?}");
    }
}

#[test]
fn what_is_assumed_of_the_type_is_told() {
    let folder = Folder::new();
    let path = folder.file("a.csv", "user,item,timestamp\nu,i,1577923200\n");
    let (_, report) = import(&path, Kind::Events, "");
    assert_eq!(
        report.notices,
        ["no column gives the event type, so every event is a 'click'; --set import.events.type=NAME changes that"]
    );
    let (records, report) = import(&path, Kind::Events, "[import.events]\ntype = \"purchase\"");
    assert_eq!((lines(records)[0].as_str(), report.notices.len()), ("purchase u i 2020-01-02T00:00:00Z -", 0));
}

#[test]
fn a_mapping_names_columns_separator_and_unit() {
    let folder = Folder::new();
    let mapping = r#"
[import.events]
columns = { user = "who", item = "what", timestamp = "when", value = "paid" }
type = "purchase"
file = { format = "csv", delimiter = "|", timestamp_unit = "ms" }
"#;
    let path = folder.file("log.out", "when|what|user|who|paid\n86400|i|not me|u|3\n");
    let (records, report) = import(&path, Kind::Events, mapping);
    assert_eq!(lines(records), ["purchase u i 1970-01-01T00:01:26.4Z 3"]);
    assert_eq!(report.notices, ["columns that the project does not declare were ignored: user"]);

    let by_place = "[import.events.columns]\nuser = \"3\"\nitem = \"1\"\ntimestamp = \"2\"";
    let path = folder.file("places.csv", "i,1577923200,u,x\n3,1577923200,u,x\n");
    let (records, _) = import(&path, Kind::Events, by_place);
    assert_eq!(lines(records), ["click u i 2020-01-02T00:00:00Z -", "click u 3 2020-01-02T00:00:00Z -"]);

    let attributes =
        "[items.attributes]\ncategory = \"tag\"\n[import.items]\nid = \"sku\"\nattributes = { category = \"cat\" }";
    let path = folder.file("items.csv", "id,cat,category,sku\n1,toys,no,A7\n");
    let (records, _) = import(&path, Kind::Items, attributes);
    assert_eq!(entities(records), [("A7".to_owned(), [("category".to_owned(), text("toys"))].into())]);
}

#[test]
fn a_file_that_lacks_a_column_is_refused_with_a_way_out() {
    let folder = Folder::new();
    assert_eq!(
        refused_file(&folder.file("a.csv", "user,product_name,timestamp\n"), Kind::Events, ""),
        "a.csv has no column for the item's id; its columns are: user, product_name, timestamp. Name it with --set import.events.columns.item=COLUMN"
    );
    assert_eq!(
        refused_file(
            &folder.file("b.csv", "kunde,ware,zeit\n1,2,3\n"),
            Kind::Events,
            "[import.events.columns]\nuser = \"kundin\"\nitem = \"ware\""
        ),
        "b.csv has no column for the user's id, which import.events.columns.user names 'kundin'; did you mean 'kunde'?; its columns are: kunde, ware, zeit. Name it with --set import.events.columns.user=COLUMN"
    );
    assert_eq!(
        refused_file(&folder.file("c.csv", "kunde,ware,zeit\n1,2,3\n"), Kind::Events, ""),
        "c.csv starts with 'kunde,ware,zeit', which names no known column; name the columns with --set import.events.columns.user=NAME, or by place (1, 2, 3 …) if the file has no header"
    );
    assert_eq!(
        refused_file(&folder.file("d.xlsx", ""), Kind::Items, ""),
        "cannot tell the format of d.xlsx by its name; use .csv, .tsv, .dat, .jsonl or .parquet, or --set import.items.file.format=csv"
    );
    assert!(refused_file(&folder.0.path().join("none.csv"), Kind::Users, "").starts_with("cannot open none.csv: "));
}

#[test]
fn a_bad_row_is_refused_with_its_line_and_stops_nothing() {
    let folder = Folder::new();
    let long = "x".repeat(600);
    let rows: [&[u8]; 15] = [
        b"user,item,timestamp,type,value",
        b"u1,i,2020-01-02,click,",
        b",i,2020-01-02,click,",
        b"u,i,soon,click,",
        b"u,i,,click,",
        b"u,i,2020-01-02,klick,",
        b"u,i,2020-01-02,click,much",
        b"u,i,2020-01-02,click,NaN",
        b"u,i,2020-01-02",
        b"u,i,2020-01-02,click,1,2",
        b"u\xff,i,2020-01-02,click,",
        long.as_bytes(),
        b"u,\"i,2020-01-02,click,",
        b"u,a\x07b,2020-01-02,click,",
        b"u2,i,2020-01-02,click,1",
    ];
    let path = folder.file("bad.csv", rows.join(&b'\n'));
    let (records, report) = import(&path, Kind::Events, "");
    assert_eq!(lines(records), ["click u1 i 2020-01-02T00:00:00Z -", "click u2 i 2020-01-02T00:00:00Z 1"]);
    let told: Vec<String> = report.refusals.iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        [
            "line 3, column user: nothing is given",
            "line 4, column timestamp: 'soon' is not a time; give RFC 3339 (2026-01-02T03:04:05Z), a date, or seconds/milliseconds/microseconds since 1970",
            "line 5, column timestamp: nothing is given",
            "line 6, column type: unknown event type 'klick'; did you mean 'click'?; event types are declared under [events] in tastemaker.toml",
            "line 7, column value: 'much' is not a finite number",
            "line 8, column value: 'NaN' is not a finite number",
            "line 9: the row has 3 values, but there are 5 columns",
            "line 10: the row has 6 values, but there are 5 columns",
            "line 11: the row is not valid UTF-8; convert the file, such as with: iconv -f latin1 -t utf8",
            "line 12: the row has 1 values, but there are 5 columns",
            "line 13: a quote opens a value and is not closed within 1000 lines; write \"\" for a quote inside one",
            "line 14, column item: item_id has a control character (U+0007) at byte 1; remove it",
        ]
    );
    assert_eq!((report.rows, report.accepted, report.refused), (14, 2, 12));
    assert_eq!(report.refused_by["wrong number of values"], 3);
    assert_eq!(report.refused_by["value: not a number"], 2);
}

#[test]
fn all_refusals_are_counted_and_the_first_are_kept() {
    let folder = Folder::new();
    let path = folder
        .file("bad.csv", format!("user,item,timestamp\n{}", format!("u,i,{}\n", "x".repeat(5_000)).repeat(2_500)));
    let (records, report) = import(&path, Kind::Events, "");
    assert!(records.is_empty());
    assert_eq!((report.refused, report.refusals.len()), (2_500, 100));
    assert_eq!(report.refused_by["timestamp: not a time"], 2_500);
    assert!(report.refusals[0].reason.chars().count() <= 301, "a reason does not quote a whole row");
}

#[test]
fn attributes_are_coerced_by_the_schema_or_the_row_is_refused() {
    let folder = Folder::new();
    let config =
        "[items.attributes]\nprice = \"number\"\nnew = \"bool\"\nsince = \"time\"\ncolors = \"tags\"\nbrand = \"tag\"";
    let path = folder.file(
        "items.csv",
        "id,price,new,since,colors,brand,note\na,9.50,yes,2020-01-02,red|blue,7,x\nb,,,,,,\nc,cheap,1,2020-01-02,,x,\nd,1,perhaps,,,,\n",
    );
    let (records, report) = import(&path, Kind::Items, config);
    let found = entities(records);
    assert_eq!(found[0].1["colors"], tags(&["blue", "red"]));
    assert_eq!(found[0].1["since"].to_string(), "2020-01-02T00:00:00Z");
    assert_eq!((&found[0].1["new"], &found[0].1["brand"]), (&Value::Bool(true), &text("7")));
    assert_eq!(found[1], ("b".to_owned(), Attributes::new()), "an empty value leaves the attribute as it is");
    let told: Vec<String> = report.refusals.iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        [
            "line 4, column price: 'cheap' is not a finite number",
            "line 5, column new: 'perhaps' is neither true, false, yes, no, 1 nor 0",
        ]
    );
}

#[test]
fn json_lines_are_read_as_the_api_has_them_and_flat() {
    let folder = Folder::new();
    let path = folder.file(
        "events.jsonl",
        concat!(
            r#"{"event_id":"e1","type":"purchase","user_id":"u","item_id":7,"timestamp":"2020-01-02T00:00:00Z","value":2,"session_id":"s","request_id":"r","properties":{"coupon":true,"note":"käse"}}"#,
            "\n\n",
            r#"{"user":"u","item":"j","timestamp":1577923200,"extra":null}"#,
            "\nnot json\n[1]\n",
            r#"{"item_id":"j","timestamp":1577923200,"type":"click"}"#,
            "\n{\"user_id\":\"\u{ff}\",\"item_id\":[1],\"timestamp\":1,\"type\":\"click\"}\n",
        ),
    );
    let (records, report) = import(&path, Kind::Events, "");
    let found = events(records);
    assert_eq!((found[0].event_id.as_str(), found[0].item_id.as_str()), ("e1", "7"));
    assert_eq!((found[0].session_id.as_deref(), found[0].request_id.as_deref()), (Some("s"), Some("r")));
    assert_eq!(found[0].properties["note"], text("käse"));
    let told: Vec<String> = report.refusals.iter().map(ToString::to_string).collect();
    assert_eq!(told.len(), 5, "{told:#?}");
    assert_eq!(told[0], "line 3, column user_id: nothing is given", "a file keeps to the names of its first row");
    assert!(told[1].starts_with("line 4: the row is not one JSON object: expected"), "{}", told[1]);
    assert!(told[2].starts_with("line 5: the row is not one JSON object: "), "{}", told[2]);
    assert_eq!(told[3], "line 6, column user_id: nothing is given");
    assert_eq!(told[4], "line 7, column item_id: a list is not a text");

    let items = folder.file(
        "items.ndjson",
        "{\"id\":\"a\",\"attributes\":{\"title\":\"A\",\"genres\":[\"x\",\"y\"],\"other\":1}}\n{\"id\":\"b\",\"title\":\"B\",\"genres\":\"x|z\"}\n{\"id\":\"c\",\"attributes\":{\"genres\":5,\"title\":[]}}\n",
    );
    let (records, report) = import(&items, Kind::Items, FILMS);
    let found = entities(records);
    assert_eq!((&found[0].1["title"], &found[0].1["genres"]), (&text("A"), &tags(&["x", "y"])));
    assert_eq!((&found[1].1["title"], &found[1].1["genres"]), (&text("B"), &tags(&["x", "z"])));
    assert_eq!(report.refusals[0].to_string(), "line 3, column attributes: attribute 'title': a list is not a text");
}

#[test]
fn importing_a_file_twice_gives_the_same_ids_and_repetitions_count() {
    let folder = Folder::new();
    let content = "user,item,timestamp\nu,i,1\nu,i,1\nu,j,1\nu,i,1\n";
    let ids = |path: &Path| -> Vec<String> {
        events(import(path, Kind::Events, "").0).into_iter().map(|e| e.event_id).collect()
    };
    let first = ids(&folder.file("a.csv", content));
    assert_eq!(first.iter().collect::<BTreeSet<_>>().len(), 4, "{first:?}");
    assert_eq!(first[1], format!("{}-1", first[0]));
    assert_eq!(first, ids(&folder.file("b.csv", content)), "the name of the file does not matter");
    let grown = ids(&folder.file("a.csv", format!("{content}v,i,1\n")));
    assert_eq!(grown[..4], first, "a file that grew keeps the ids of its old rows");
    let jsonl = "{\"user\":\"u\",\"item\":\"i\",\"timestamp\":1}\n";
    assert_eq!(ids(&folder.file("c.jsonl", jsonl))[0], first[0], "nor does the format");
}

#[test]
fn gzip_is_read_and_a_truncated_file_gives_its_rows_and_then_an_error() {
    let folder = Folder::new();
    let rows: String = (0..20_000).map(|n| format!("u{n},i{},{}\n", n % 97, 1_577_923_200 + n)).collect();
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(format!("user,item,timestamp\n{rows}").as_bytes()).unwrap();
    let zipped = encoder.finish().unwrap();

    let (records, report) = import(&folder.file("events.csv.gz", &zipped), Kind::Events, "");
    assert_eq!((records.len(), report.bytes), (20_000, zipped.len() as u64));

    let path = folder.file("cut.csv.gz", &zipped[..zipped.len() / 2]);
    let mut import = Import::open(&path, Kind::Events, &Config::default()).unwrap();
    let (mut rows, mut error) = (0, None);
    for batch in &mut import {
        match batch {
            Ok(records) => rows += records.len() as u64,
            Err(found) => error = Some(found),
        }
    }
    assert!(matches!(error, Some(ImportError::Read { line, .. }) if line > 1_000), "{error:?}");
    assert!(import.next().is_none());
    assert_eq!(import.into_report().accepted, rows, "what was read before is handed out");
    assert!(rows > 1_000);
}

fn parquet(path: &Path, columns: Vec<(&str, ArrayRef)>) -> Vec<u8> {
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let mut writer = ArrowWriter::try_new(std::fs::File::create(path).unwrap(), batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    std::fs::read(path).unwrap()
}

#[test]
fn parquet_is_read_whatever_its_types() {
    let folder = Folder::new();
    let path = folder.0.path().join("events.parquet");
    let whole = parquet(
        &path,
        vec![
            ("user_id", Arc::new(Int64Array::from(vec![Some(9_007_199_254_740_993), Some(2), None, Some(4)]))),
            ("product", Arc::new(Float64Array::from(vec![7.0, 8.0, 9.0, f64::NAN]))),
            ("time", Arc::new(TimestampNanosecondArray::from(vec![1_577_923_200_000_000_000, 0, 1, 2]))),
            ("type", Arc::new(StringArray::from(vec!["click", "clack", "click", "click"]))),
            ("store", Arc::new(Int64Array::from(vec![1, 2, 3, 4]))),
        ],
    );
    let (records, report) = import(&path, Kind::Events, "");
    assert_eq!(lines(records), ["click 9007199254740993 7 2020-01-02T00:00:00Z -"]);
    let told: Vec<String> =
        report.refusals.iter().map(|r| format!("{} {:?} {}", r.line, r.column.as_deref(), r.kind)).collect();
    assert_eq!(told, ["2 Some(\"type\") unknown event type", "3 Some(\"user_id\") empty", "4 Some(\"product\") empty"]);
    assert_eq!(report.notices, ["columns that the project does not declare were ignored: store"]);

    for (name, bytes) in
        [("cut.parquet", &whole[..whole.len() - 9]), ("empty.parquet", &[]), ("text.parquet", b"user,item,timestamp\n")]
    {
        let error = refused_file(&folder.file(name, bytes), Kind::Events, "");
        assert!(error.starts_with(&format!("{name} is no readable Parquet file: ")), "{error}");
    }

    let path = folder.0.path().join("items.parquet");
    let lists = ListArray::from_iter_primitive::<Int32Type, _, _>([Some(vec![Some(1), Some(2)]), None]);
    parquet(
        &path,
        vec![
            ("id", Arc::new(StringArray::from(vec!["a", "b"]))),
            ("genres", Arc::new(lists)),
            ("new", Arc::new(BooleanArray::from(vec![Some(true), None]))),
        ],
    );
    let (records, _) = import(&path, Kind::Items, "[items.attributes]\ngenres = \"tags\"\nnew = \"bool\"");
    let found = entities(records);
    assert_eq!(found[0].1, [("genres".to_owned(), tags(&["1", "2"])), ("new".to_owned(), Value::Bool(true))].into());
    assert!(found[1].1.is_empty());
}

#[test]
fn empty_files_and_files_of_a_header_alone_have_no_rows() {
    let folder = Folder::new();
    for (name, content) in [
        ("a.csv", ""),
        ("b.csv", "user,item,timestamp\n"),
        ("c.jsonl", "\n\n"),
        ("d.csv", "\u{feff}user,item,timestamp"),
    ] {
        let (records, report) = import(&folder.file(name, content), Kind::Events, "");
        assert_eq!((records.len(), report.rows), (0, 0), "{name}");
    }
}

#[test]
fn a_row_without_end_is_refused_in_bounded_memory() {
    let folder = Folder::new();
    let huge = "x".repeat(3 * MAX_ROW_BYTES);
    let path = folder.file("a.csv", format!("user,item,timestamp\nu,{huge},1\nu,\"{huge}\nu,i,1\n"));
    let (records, report) = import(&path, Kind::Events, "");
    assert_eq!(records.len(), 1);
    assert_eq!(report.refused_by["row too long"], 2);
    let path = folder.file("a.jsonl", format!("{{\"user\":\"{huge}\"}}\n{}\n", "[".repeat(200_000)));
    assert_eq!(import(&path, Kind::Events, "").1.refused, 2);
}

#[test]
fn batches_are_whole_and_progress_ends_at_the_size_of_the_file() {
    let folder = Folder::new();
    let rows: String = (0..2_500).map(|n| format!("u{n},i,1577923200\n")).collect();
    let path = folder.file("a.csv", format!("user,item,timestamp\n{rows}"));
    let mut import = Import::open(&path, Kind::Events, &Config::default()).unwrap();
    let sizes: Vec<usize> = import.by_ref().map(|batch| batch.unwrap().len()).collect();
    assert_eq!(sizes, [1_000, 1_000, 500]);
    let progress = import.progress();
    assert_eq!((progress.bytes, progress.rows), (progress.total_bytes, 2_500));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever a value holds, writing it with quotes (RFC 4180) and reading it gives it back, on its line.
    #[test]
    fn any_text_survives_being_quoted(
        titles in proptest::collection::vec("[ -~\u{e4}\u{1f3ac}\n\",;]{0,20}", 1..20),
        separator in prop_oneof![Just(','), Just(';'), Just('\t'), Just('|')],
        end in prop_oneof![Just("\n"), Just("\r\n")],
    ) {
        let mut content = format!("id{separator}title{end}");
        let mut line = 2;
        for (index, title) in titles.iter().enumerate() {
            let title = title.replace('"', "\"\"");
            content.push_str(&format!("{index}{separator}\"{title}\"{end}"));
            line += 1 + title.matches('\n').count() as u64;
        }
        content.push_str(&format!("bad{end}"));
        let folder = Folder::new();
        let (records, report) = import(&folder.file("items.csv", content), Kind::Items, FILMS);
        let read: Vec<String> = entities(records).into_iter().map(|(_, a)| a.get("title").map_or(String::new(), Value::to_string)).collect();
        prop_assert_eq!(read, titles);
        prop_assert_eq!(report.refusals.iter().map(|r| r.line).collect::<Vec<_>>(), [line]);
    }

    /// No bytes make the importer fail or lose count.
    #[test]
    fn any_bytes_are_rows_or_refusals(rows in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..60), 0..30)) {
        let folder = Folder::new();
        for (name, head) in [("a.csv", "user,item,timestamp\n"), ("b.jsonl", ""), ("c.dat", "1::2::3::978300760\n")] {
            let content = [head.as_bytes().to_vec(), rows.join(&b'\n')].concat();
            let (records, report) = import(&folder.file(name, content), Kind::Events, "");
            prop_assert_eq!(report.accepted, records.len() as u64);
            prop_assert_eq!(report.rows, report.accepted + report.refused);
        }
    }
}

#[test]
fn real_movielens_files_are_taken_whole() {
    let Some(data) = std::env::var_os("TASTEMAKER_DATA").map(PathBuf::from) else {
        println!("skipped: TASTEMAKER_DATA is not set");
        return;
    };
    let attributes = "[users.attributes]\nage = \"number\"\ngender = \"tag\"\n";
    let config = format!("{FILMS}{attributes}");
    for (file, kind, accepted) in [
        ("movielens-small/ratings.csv", Kind::Events, 100_836),
        ("movielens-small/movies.csv", Kind::Items, 9_742),
        ("movielens-1m/ratings_with_ts.csv.gz", Kind::Events, 566_954),
        ("movielens-1m/movies.dat.gz", Kind::Items, 3_883),
        ("movielens-1m/users.dat.gz", Kind::Users, 6_040),
    ] {
        let (records, report) = import(&data.join(file), kind, &config);
        println!("{file}: {:.0} rows/s", report.rows_per_second());
        assert_eq!(report.rows, accepted, "{file}");
        assert_eq!((report.accepted + report.refused, records.len() as u64), (report.rows, report.accepted));
        assert!(report.refused_by.keys().all(|kind| kind == "not UTF-8"), "{report:?}");
    }
}

#[test]
fn the_limits_of_the_api_hold_for_files_and_stop_no_other_row() {
    let folder = Folder::new();
    let properties = |count: usize, bytes: usize| {
        let property = |n: usize| format!("\"p{n}\":\"{}\"", "x".repeat(bytes));
        format!("{{{}}}", (0..count).map(property).collect::<Vec<_>>().join(","))
    };
    let rows = [
        ("good", properties(64, 10)),
        ("many", properties(65, 10)),
        ("long", properties(1, 64 * 1024 + 1)),
        ("large", properties(17, 64 * 1024)),
        ("also good", properties(15, 64 * 1024)),
    ];
    let texts = |values: Vec<&str>| Arc::new(StringArray::from(values)) as ArrayRef;
    let times = Arc::new(Int64Array::from(vec![1_700_000_000; rows.len()]));
    let path = folder.0.path().join("events.parquet");
    parquet(
        &path,
        vec![
            ("event_id", texts(rows.iter().map(|(id, _)| *id).collect())),
            ("user", texts(vec!["u"; rows.len()])),
            ("item", texts(vec!["i"; rows.len()])),
            ("type", texts(vec!["click"; rows.len()])),
            ("timestamp", times),
            ("properties", texts(rows.iter().map(|(_, properties)| properties.as_str()).collect())),
        ],
    );
    let (records, report) = import(&path, Kind::Events, "[events]\nclick = { positive = true }\n");
    let taken: Vec<String> = events(records).into_iter().map(|event| event.event_id).collect();
    assert_eq!(taken, ["good", "also good"]);
    let refused: Vec<(u64, &str)> = report.refusals.iter().map(|r| (r.line, r.reason.as_str())).collect();
    let expected =
        [(2, "65 properties; at most 64"), (3, "property 'p0' has 65537 bytes"), (4, "bytes in all; at most 1048576")];
    assert_eq!(refused.len(), expected.len(), "{refused:?}");
    for ((line, reason), (expected_line, part)) in refused.into_iter().zip(expected) {
        assert_eq!(line, expected_line);
        assert!(reason.contains(part), "{reason}");
    }

    // Items have as many attributes as the project declares.
    let declared: String = (0..17).map(|n| format!("t{n} = \"text\"\n")).collect();
    let long = "x".repeat(64 * 1024);
    let names: Vec<String> = (0..17).map(|n| format!("t{n}")).collect();
    let mut columns = vec![("id", texts(vec!["small", "large"]))];
    columns.extend(names.iter().map(|name| (name.as_str(), texts(vec!["short", &long]))));
    let path = folder.0.path().join("items.parquet");
    parquet(&path, columns);
    let (records, report) = import(&path, Kind::Items, &format!("[items.attributes]\n{declared}"));
    assert_eq!(records.len(), 1);
    assert_eq!((report.refusals[0].line, report.refusals[0].kind), (2, "too large"));
}
