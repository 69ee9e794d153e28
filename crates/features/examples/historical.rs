//! How fast historical features are: a million rows with ten features over a log of four million events of 50,000 users.
//!
//! ```console
//! cargo run --release -p tastemaker-features --example historical -- [DIR] [EVENTS] [ROWS] [RUNS]
//! ```
//! The log and the rows are made in DIR (a folder under the system's temporary one unless told otherwise), and stay there for the next time.
#![allow(clippy::print_stdout, reason = "it prints what it measures")]

use std::error::Error;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use arrow_array::{ArrayRef, RecordBatch, StringArray, TimestampMicrosecondArray};
use parquet::arrow::ArrowWriter;
use tastemaker_config::Config;
use tastemaker_features::offline::{Historical, HistoricalOptions, OfflineError};
use tastemaker_features::set::{FeatureId, FeatureSet, Source};
use tastemaker_features::table::{EntityRows, FeatureWriter};
use tastemaker_log::{EventLog, LogOptions, LogReader};
use tastemaker_types::{Attributes, Event, Record, Timestamp, Window};

const USERS: u64 = 50_000;
const ITEMS: u64 = 10_000;
const START: Timestamp = Timestamp::from_micros(1_767_225_600_000_000);
/// Of all events.
const DAYS: u64 = 90;
const MICROS_PER_DAY: u64 = 86_400_000_000;
const CALL: u64 = 10_000;

const PROJECT: &str = r#"
[events]
click = { positive = true }
purchase = { positive = true }
"#;

const FEATURES: [(&str, &str, &str, &str); 10] = [
    ("user", "clicks_30m", "count", "events = [\"click\"]\nwindow = \"30m\""),
    ("user", "clicks_7d", "count", "events = [\"click\"]\nwindow = \"7d\""),
    ("user", "spent_30d", "sum", "events = [\"purchase\"]\nwindow = \"30d\""),
    ("user", "mean_value", "mean", "events = [\"purchase\"]"),
    ("user", "idle", "time_since_last", ""),
    ("user", "latest", "last_k", "k = 5"),
    ("user", "session", "session_duration", "gap = \"30m\""),
    (
        "item",
        "ctr_7d",
        "rate",
        "events = [\"click\"]\nper = [\"impression\"]\nwindow = \"7d\"\nprior = 10\nprior_mean = 0.1",
    ),
    ("item", "revenue_30d", "sum", "events = [\"purchase\"]\nwindow = \"30d\""),
    ("item", "trend", "decayed", "events = [\"click\"]\nvalue = \"1\"\nhalf_life = \"1d\""),
];

/// SplitMix64: the same data everywhere.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % bound
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let dir = args.next().map_or_else(|| std::env::temp_dir().join("historical"), PathBuf::from);
    let mut number = |default: u64| args.next().map_or(Ok(default), |n| n.replace('_', "").parse());
    let (events, rows, runs) = (number(4_000_000)?, number(1_000_000)?, number(3)?);
    let (log, rows_path) = (dir.join(format!("log-{events}")), dir.join(format!("rows-{rows}.parquet")));
    if !log.is_dir() {
        write_log(&log, events)?;
    }
    write_rows(&rows_path, rows)?;

    let mut project = PROJECT.to_owned();
    for (entity, name, aggregate, settings) in FEATURES {
        project += &format!(
            "[[features]]\nentity = \"{entity}\"\nname = \"{name}\"\naggregate = \"{aggregate}\"\n{settings}\n"
        );
    }
    let set = Arc::new(FeatureSet::compile(&Config::parse(&project)?)?);
    let declared = set.features().iter().zip(0..).filter(|(feature, _)| feature.source != Source::Embedding);
    let wanted: Vec<FeatureId> = declared.map(|(_, id)| FeatureId(id)).collect();
    println!("{rows} rows, {} features, {events} events, in {}", wanted.len(), dir.display());
    for _ in 0..runs {
        let started = Instant::now();
        let options = HistoricalOptions { include_late: false, statuses: false, work_dir: dir.clone() };
        let historical = Historical::new(&set, wanted.clone(), &[], Some(LogReader::open(&log)?), options)?;
        let entities = EntityRows::open(&rows_path, historical.chunk_rows())?;
        let mut writer = FeatureWriter::create(&dir.join("training.parquet"), historical.schema(entities.schema()))?;
        let mut computed = 0.0;
        for chunk in entities {
            let chunk = historical.chunk(chunk?, &mut |_| ControlFlow::Continue(()))?;
            computed = started.elapsed().as_secs_f64();
            chunk.write(|batch| writer.write(batch).map_err(OfflineError::from))?;
        }
        let written = writer.finish()?;
        println!("{:.2} s ({computed:.2} s until all was computed), {written} rows", started.elapsed().as_secs_f64());
    }
    Ok(())
}

fn write_log(dir: &Path, events: u64) -> Result<(), Box<dyn Error>> {
    let log = EventLog::open(dir, LogOptions::default(), Box::new(|_| {}))?;
    let mut random = Random(1);
    let mut number = 0;
    while number < events {
        let call: Vec<Record> =
            (number..(number + CALL).min(events)).map(|number| event(number, events, &mut random)).collect();
        number += call.len() as u64;
        log.append(call)?;
    }
    Ok(log.close()?)
}

/// In the order of time, up to a minute late.
fn event(number: u64, events: u64, random: &mut Random) -> Record {
    let event_type = match random.below(10) {
        0..=6 => "impression",
        7..=8 => "click",
        _ => "purchase",
    };
    let at = (DAYS * MICROS_PER_DAY) as u128 * u128::from(number) / u128::from(events);
    Record::Event(Event {
        event_id: format!("e{number}"),
        event_type: event_type.to_owned(),
        user_id: format!("user-{}", random.below(USERS)),
        item_id: format!("item-{}", random.below(ITEMS)),
        timestamp: START.plus(Window::from_micros(at as i64 - random.below(60_000_000) as i64)),
        value: Some(random.below(10_000) as f64 / 100.0),
        session_id: None,
        received: None,
        request_id: None,
        properties: Attributes::new(),
    })
}

fn write_rows(path: &Path, rows: u64) -> Result<(), Box<dyn Error>> {
    let mut random = Random(2);
    let users: StringArray = (0..rows).map(|_| Some(format!("user-{}", random.below(USERS)))).collect();
    let items: StringArray = (0..rows).map(|_| Some(format!("item-{}", random.below(ITEMS)))).collect();
    let times = (0..rows).map(|_| Some(START.as_micros() + random.below(DAYS * MICROS_PER_DAY) as i64));
    let times = times.collect::<TimestampMicrosecondArray>().with_timezone("UTC");
    let columns: [(&str, ArrayRef); 3] =
        [("user_id", Arc::new(users)), ("item_id", Arc::new(items)), ("event_timestamp", Arc::new(times))];
    let batch = RecordBatch::try_from_iter(columns)?;
    let mut writer = ArrowWriter::try_new(std::fs::File::create(path)?, batch.schema(), None)?;
    writer.write(&batch)?;
    writer.close()?;
    Ok(())
}
