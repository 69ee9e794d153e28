"""The join of point_in_time.rs by DuckDB and pandas, on the files that it leaves in DIR: `python point_in_time_peers.py DIR [RUNS]`.

Needs duckdb, pandas and pyarrow. Each prints the seconds from Parquet to joined values, and the same sum of `spend`.
"""

import sys
import time

import duckdb
import pandas as pd

directory = sys.argv[1]
runs = int(sys.argv[2]) if len(sys.argv) > 2 else 5
ASOF = f"""
    SELECT r.user_id, r.event_timestamp,
           CASE WHEN t.event_time >= r.event_timestamp - INTERVAL 30 DAY THEN t.clicks END AS clicks,
           CASE WHEN t.event_time >= r.event_timestamp - INTERVAL 30 DAY THEN t.spend END AS spend,
           CASE WHEN t.event_time >= r.event_timestamp - INTERVAL 30 DAY THEN t.segment END AS segment
    FROM '{directory}/rows.parquet' r
    ASOF LEFT JOIN '{directory}/table.parquet' t ON r.user_id = t.user_id AND r.event_timestamp >= t.event_time
"""


def with_duckdb():
    joined = duckdb.sql(ASOF).to_arrow_table()
    return joined.num_rows, pd.Series(joined["spend"]).sum()


def with_pandas():
    rows = pd.read_parquet(f"{directory}/rows.parquet").sort_values("event_timestamp", kind="stable")
    table = pd.read_parquet(f"{directory}/table.parquet").sort_values("event_time", kind="stable")
    joined = pd.merge_asof(
        rows,
        table,
        left_on="event_timestamp",
        right_on="event_time",
        by="user_id",
        tolerance=pd.Timedelta(days=30),
    ).sort_index()
    return len(joined), joined["spend"].sum()


for _ in range(runs):
    for name, join in [("duckdb", with_duckdb), ("pandas", with_pandas)]:
        started = time.perf_counter()
        count, spend = join()
        print(f"{name}: {time.perf_counter() - started:.3f} s, {count} rows, spend {spend:.0f}")
