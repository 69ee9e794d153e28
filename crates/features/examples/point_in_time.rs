//! How fast the point-in-time join is: reads entity rows and a feature table from Parquet, joins them, and gathers every value.
//! `cargo run --release -p tastemaker-features --example point_in_time -- [DIR] [ROWS] [ENTITIES] [RUNS]` (a folder under the system's
//! temporary one, a million rows on both sides, 50,000 entities and five runs unless told otherwise). The files stay in DIR, for
//! `point_in_time_peers.py` to read.
#![allow(clippy::print_stdout, missing_docs)]

use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use arrow_array::{ArrayRef, Float64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use parquet::arrow::ArrowWriter;
use tastemaker_features::table::{
    EntityRows, FeatureColumn, FeatureStatus, FeatureType, JoinOptions, KeyColumn, LatestOptions, Table, TableSource,
    join,
};
use tastemaker_types::Window;

const DAYS: u64 = 90;
const MICROS_PER_DAY: u64 = 86_400_000_000;
const START: u64 = 1_767_225_600_000_000;
/// Values are gathered this many rows at a time, as they would be written.
const GATHERED: usize = 65_536;

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let dir = args.next().map_or_else(|| std::env::temp_dir().join("point_in_time"), PathBuf::from);
    let mut number = |default: u64| args.next().map_or(Ok(default), |n| n.parse());
    let (rows, entities, runs) = (number(1_000_000)?, number(50_000)?, number(5)?);
    std::fs::create_dir_all(&dir)?;
    let (table_path, rows_path) = (dir.join("table.parquet"), dir.join("rows.parquet"));
    write_table(&table_path, rows, entities)?;
    write_rows(&rows_path, rows, entities)?;
    println!("{} rows on both sides, {entities} entities, in {}", rows, dir.display());

    let named = |name: &str| name.to_owned();
    let features = ["clicks", "spend"].map(|name| FeatureColumn {
        name: named(name),
        column: named(name),
        feature_type: FeatureType::Number,
    });
    let text = FeatureColumn { name: named("segment"), column: named("segment"), feature_type: FeatureType::Text };
    let source = TableSource {
        path: table_path.to_string_lossy().into_owned(),
        keys: vec![KeyColumn { name: named("user_id"), column: named("user_id") }],
        event_time: named("event_time"),
        created: None,
        features: features.into_iter().chain([text]).collect(),
    };
    let options = JoinOptions { ttl: Some(Window::from_days(30)), include_late: false };
    for _ in 0..runs {
        let started = Instant::now();
        let chunks = EntityRows::open(&rows_path, EntityRows::CHUNK_ROWS)?.collect::<Result<Vec<_>, _>>()?;
        let asked = chunks.iter().map(|chunk| chunk.join_rows(&["user_id"])).collect::<Result<Vec<_>, _>>()?;
        let read = started.elapsed();
        let table = Table::open(&source)?;
        let (mut present, mut sum) = (0, 0.0);
        let (mut joining, mut gathering) = (0.0, 0.0);
        for asked in &asked {
            let begun = Instant::now();
            let joined = join(asked, &table, &options)?;
            joining += begun.elapsed().as_secs_f64();
            let begun = Instant::now();
            for start in (0..joined.len()).step_by(GATHERED) {
                let found = joined.rows(start..start + GATHERED)?;
                if let Some(spend) = found.features.get(1) {
                    present += spend.statuses.iter().filter(|status| **status == FeatureStatus::Present).count();
                    sum += arrow_array::cast::AsArray::as_primitive::<arrow_array::types::Float64Type>(&spend.values)
                        .iter()
                        .flatten()
                        .sum::<f64>();
                }
            }
            gathering += begun.elapsed().as_secs_f64();
        }
        println!(
            "join: {:.3} s (rows read {:.3}, joined with table read {joining:.3}, gathered {gathering:.3}); {present} present, spend {sum:.0}",
            started.elapsed().as_secs_f64(),
            read.as_secs_f64()
        );
        let started = Instant::now();
        let newest: usize = table
            .latest(0, &LatestOptions::default())?
            .map(|batch| batch.map(|batch| batch.num_rows()))
            .sum::<Result<_, _>>()?;
        println!("newest: {:.3} s, {newest} entities", started.elapsed().as_secs_f64());
    }
    Ok(())
}

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

fn keys_and_times(random: &mut Random, rows: u64, entities: u64) -> (ArrayRef, ArrayRef) {
    let users: StringArray = (0..rows).map(|_| Some(format!("user-{}", random.below(entities)))).collect();
    let times = (0..rows).map(|_| Some((START + random.below(DAYS * MICROS_PER_DAY)) as i64));
    let times = times.collect::<TimestampMicrosecondArray>().with_timezone("UTC");
    (Arc::new(users), Arc::new(times))
}

fn write_table(path: &Path, rows: u64, entities: u64) -> Result<(), Box<dyn Error>> {
    let mut random = Random(1);
    let (users, times) = keys_and_times(&mut random, rows, entities);
    let clicks: Float64Array = (0..rows).map(|_| Some(random.below(1_000) as f64)).collect();
    let spend: Float64Array = (0..rows).map(|_| Some(random.below(100_000) as f64)).collect();
    let segments: StringArray = (0..rows).map(|_| Some(format!("segment {}", random.below(20)))).collect();
    let columns: [(&str, ArrayRef); 5] = [
        ("user_id", users),
        ("event_time", times),
        ("clicks", Arc::new(clicks)),
        ("spend", Arc::new(spend)),
        ("segment", Arc::new(segments)),
    ];
    write(path, RecordBatch::try_from_iter(columns)?)
}

fn write_rows(path: &Path, rows: u64, entities: u64) -> Result<(), Box<dyn Error>> {
    let (users, times) = keys_and_times(&mut Random(2), rows, entities);
    write(path, RecordBatch::try_from_iter([("user_id", users), ("event_timestamp", times)])?)
}

fn write(path: &Path, batch: RecordBatch) -> Result<(), Box<dyn Error>> {
    let mut writer = ArrowWriter::try_new(std::fs::File::create(path)?, batch.schema(), None)?;
    writer.write(&batch)?;
    writer.close()?;
    Ok(())
}
