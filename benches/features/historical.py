"""Historical features: a million rows × 10 features, point in time, from the same Parquet table."""

import json
import os
import pathlib
import subprocess
import sys
import time

import projects

ROWS, FEATURES, USERS, VERSIONS = 1_000_000, 10, 100_000, 10
DAYS = 90
COMPARED = 20_000

# Run as a process of its own, so that its memory is its own: entity rows in, training rows out.
FEAST = """
import sys, time, json
import pandas
from feast import FeatureStore
begin = time.perf_counter()
rows = pandas.read_parquet(sys.argv[2])
store = FeatureStore(sys.argv[1])
features = store.get_historical_features(entity_df=rows, features=sys.argv[4].split(",")).to_df()
features.to_parquet(sys.argv[3])
print(json.dumps({"seconds": time.perf_counter() - begin}))
"""


def tables(folder: pathlib.Path) -> tuple[pathlib.Path, pathlib.Path]:
    """The view's table, and the rows that ask."""
    import numpy
    import pandas

    random = numpy.random.default_rng(2)
    start = pandas.Timestamp("2026-01-01", tz="UTC")

    def times(count: int) -> "pandas.Series":
        return start + pandas.to_timedelta(random.integers(0, DAYS * 86_400, count), unit="s")

    users = numpy.array([f"u{n}" for n in range(USERS)])
    count = USERS * VERSIONS
    columns = {"user_id": numpy.repeat(users, VERSIONS), "event_timestamp": times(count)}
    columns |= {f"f{n}": random.standard_normal(count) for n in range(FEATURES)}
    # Which of two rows of one user and second is the later one is not said, so there are none.
    view = pandas.DataFrame(columns).drop_duplicates(["user_id", "event_timestamp"])
    view.sample(frac=1, random_state=3).to_parquet(folder / "view.parquet", index=False)
    asking = {"user_id": random.choice(users, ROWS), "event_timestamp": times(ROWS), "row": numpy.arange(ROWS)}
    pandas.DataFrame(asking).to_parquet(folder / "rows.parquet", index=False)
    return folder / "view.parquet", folder / "rows.parquet"


def timed(command: list, folder: pathlib.Path) -> tuple[float, float, str]:
    """Seconds, the most MiB in memory, and what it printed."""
    begin = time.perf_counter()
    process = subprocess.Popen(command, cwd=folder, env=projects.ENVIRONMENT, stdout=subprocess.PIPE, text=True)
    printed = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise SystemExit(f"{command[0]} failed with {process.returncode}")
    return time.perf_counter() - begin, usage.ru_maxrss / 1024, printed


def differing(theirs: pathlib.Path, ours: pathlib.Path) -> dict:
    """How many rows Feast drops: those of which nothing was known at their time. Of a sample, how many values differ; a dropped row has none."""
    import pandas

    names = [f"f{n}" for n in range(FEATURES)]
    read = lambda path: pandas.read_parquet(path).set_index("row", verify_integrity=True)[names]
    theirs, ours = read(theirs), read(ours)
    if len(ours) != ROWS:
        raise SystemExit(f"{len(ours)} rows came of {ROWS}")
    sample = ours.sample(COMPARED, random_state=4)
    others = theirs.reindex(sample.index)
    nulls = sample.isna() & others.isna()
    return {
        "compared": COMPARED * FEATURES,
        "null_in_both": int(nulls.sum().sum()),
        "different": int((~((sample == others) | nulls)).sum().sum()),
        "rows_that_feast_drops": ROWS - len(theirs),
    }


def compare(tools, folder: pathlib.Path, rounds: int = 3) -> dict:
    """The best of some rounds of each."""
    folder.mkdir()
    view, rows = tables(folder)
    names = [f"f{n}" for n in range(FEATURES)]
    projects.tastemaker_project(folder / "tastemaker", view, FEATURES)
    projects.feast_project(folder / "feast", view, FEATURES, f"  type: sqlite\n  path: {folder}/online.db\n")
    ours, theirs = folder / "ours.parquet", folder / "theirs.parquet"
    command = [tools.release / "tastemaker", "features", "historical", "--entities", rows, "--out", ours]
    references = ",".join(f"{projects.VIEW}:{name}" for name in names)
    mine = min(timed([*command, "--features", references], folder / "tastemaker")[:2] for _ in range(rounds))
    feast = [sys.executable, "-c", FEAST, folder / "feast", rows, theirs, references]
    measured = []
    for _ in range(rounds):
        _, memory, printed = timed(feast, folder / "feast")
        # Without the start of Python and the imports.
        measured.append((json.loads(printed.splitlines()[-1])["seconds"], memory))
    compared = differing(theirs, ours)
    if compared["different"]:
        raise SystemExit(f"values differ: {compared}")
    peer = min(measured)
    return {
        "rows": ROWS, "features": FEATURES, "table_rows": USERS * VERSIONS, "rounds": rounds,
        "feast": {"seconds": peer[0], "peak_mib": peer[1]}, "tastemaker": {"seconds": mine[0], "peak_mib": mine[1]},
    } | compared
