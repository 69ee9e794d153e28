"""Online feature reads: Tastemaker beside Feast's Python server, the same requests from the same load generator.

    cargo xtask bench features                      # the whole grid, 10,000 samples a cell: hours, most of them Feast's
    cargo xtask bench features -- --samples 1000

Both serve one batch view of 250 numbers for 1,000 users: Feast from its SQLite store after `feast materialize`, Tastemaker from
its log after `tastemaker features materialize`. Each cell of the grid (rows × features a request) is an open loop at a fixed rate, latency counting
from the moment a request was due; a rate that Feast cannot hold is halved until it can, and Tastemaker gets the same. Then the highest rate of each
for the smallest cell is searched. Writes benches/results/features.json and prints a table.
"""

import argparse
import json
import os
import pathlib
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
USERS, FEATURES = 1_000, 250
ROWS, WIDTHS = [1, 10, 100, 500], [50, 250]
VIEW = "bench"


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def wait_for(port: int, path: str, seconds: float = 90) -> None:
    end = time.time() + seconds
    while time.time() < end:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=1) as answer:
                if answer.status == 200:
                    return
        except OSError:
            time.sleep(0.2)
    raise SystemExit(f"nothing answers at port {port}")


def table(path: pathlib.Path) -> None:
    import numpy
    import pandas

    random = numpy.random.default_rng(1)
    columns = {"user_id": [f"u{n}" for n in range(USERS)]}
    columns["event_timestamp"] = pandas.Timestamp.now(tz="UTC").floor("s") - pandas.Timedelta("1h")
    columns |= {f"f{n}": random.standard_normal(USERS) for n in range(FEATURES)}
    pandas.DataFrame(columns).to_parquet(path)


def start_feast(folder: pathlib.Path, data: pathlib.Path) -> tuple[subprocess.Popen, int]:
    names = ", ".join(f'Field(name="f{n}", dtype=Float64)' for n in range(FEATURES))
    (folder / "feature_store.yaml").write_text(
        f"project: bench\nregistry: {folder}/registry.db\nprovider: local\nentity_key_serialization_version: 3\n"
        f"online_store:\n  type: sqlite\n  path: {folder}/online.db\n"
    )
    (folder / "definitions.py").write_text(
        "from datetime import timedelta\nfrom feast import Entity, FeatureView, Field, FileSource, ValueType\n"
        "from feast.types import Float64\n"
        'user = Entity(name="user", join_keys=["user_id"], value_type=ValueType.STRING)\n'
        f'source = FileSource(path="{data}", timestamp_field="event_timestamp")\n'
        f'view = FeatureView(name="{VIEW}", entities=[user], ttl=timedelta(days=30), schema=[{names}], source=source)\n'
    )
    feast = pathlib.Path(sys.executable).with_name("feast")
    environment = {**os.environ, "FEAST_USAGE": "False"}
    run = lambda *arguments: subprocess.run([feast, *arguments], cwd=folder, check=True, env=environment, stdout=subprocess.DEVNULL)
    run("apply")
    run("materialize-incremental", time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime()))
    port = free_port()
    server = subprocess.Popen(
        [feast, "serve", "--host", "127.0.0.1", "--port", str(port), "--no-access-log"],
        cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )
    wait_for(port, "/health")
    return server, port


def start_tastemaker(folder: pathlib.Path, data: pathlib.Path, release: pathlib.Path) -> tuple[subprocess.Popen, int]:
    features = ", ".join(f'f{n} = "number"' for n in range(FEATURES))
    (folder / "tastemaker.toml").write_text(
        f'[[feature_views]]\nname = "{VIEW}"\nentity = "user"\npath = "{data}"\nttl = "30d"\nfeatures = {{ {features} }}\n'
    )
    binary = release / "tastemaker"
    subprocess.run([binary, "features", "materialize"], cwd=folder, check=True, stdout=subprocess.DEVNULL)
    port = free_port()
    server = subprocess.Popen(
        [binary, "serve", "--listen", f"127.0.0.1:{port}"], cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    wait_for(port, "/health/ready")
    return server, port


def bodies(path: pathlib.Path, rows: int, width: int) -> None:
    with path.open("w") as lines:
        for request in range(200):
            users = [f"u{(request * 7919 + n * 31) % USERS}" for n in range(rows)]
            names = [f"{VIEW}:f{n}" for n in range(width)]
            lines.write(json.dumps({"entities": {"user_id": users}, "features": names}) + "\n")


def load(release: pathlib.Path, port: int, path: pathlib.Path, rate: float, samples: int) -> dict:
    command = [
        release / "tastemaker-benches", "requests", "--address", f"127.0.0.1:{port}", "--path", "/get-online-features",
        "--bodies", path, "--rate", str(rate), "--samples", str(samples),
    ]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout)[0]


def holds(outcome: dict) -> bool:
    whole = set(outcome["statuses"]) == {"200"}
    return whole and outcome["p99_ms"] < 1_000


def highest(release: pathlib.Path, port: int, path: pathlib.Path, rate: float) -> float:
    best = 0.0
    while True:
        outcome = load(release, port, path, rate, max(200, int(rate * 5)))
        if not holds(outcome) or outcome["p99_ms"] > 100:
            return best
        best, rate = rate, rate * 1.5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--release", type=pathlib.Path, required=True, help="the folder of the release binaries")
    parser.add_argument("--samples", type=int, default=10_000)
    parser.add_argument("--rate", type=float, default=50.0, help="requests a second to begin with")
    arguments = parser.parse_args()
    release = arguments.release.resolve()
    results = {"samples": arguments.samples, "users": USERS, "cells": [], "highest": {}}
    servers = []
    try:
        with tempfile.TemporaryDirectory() as temporary:
            folder = pathlib.Path(temporary)
            data = folder / "features.parquet"
            table(data)
            (folder / "feast").mkdir()
            (folder / "tastemaker").mkdir()
            feast, feast_port = start_feast(folder / "feast", data)
            servers.append(feast)
            ours, our_port = start_tastemaker(folder / "tastemaker", data, release)
            servers.append(ours)
            print("| rows × features | requests/s | Feast p50 / p99 ms | Tastemaker p50 / p99 ms | p99 ratio |\n| --- | --: | --: | --: | --: |")
            for width in WIDTHS:
                for rows in ROWS:
                    path = folder / "bodies.jsonl"
                    bodies(path, rows, width)
                    rate = arguments.rate
                    while not holds(load(release, feast_port, path, rate, max(20, int(rate * 4)))):
                        rate /= 2
                    theirs = load(release, feast_port, path, rate, arguments.samples)
                    mine = load(release, our_port, path, rate, arguments.samples)
                    results["cells"].append({"rows": rows, "features": width, "rate": rate, "feast": theirs, "tastemaker": mine})
                    print(
                        f"| {rows} × {width} | {rate:g} | {theirs['p50_ms']:.1f} / {theirs['p99_ms']:.1f} "
                        f"| {mine['p50_ms']:.2f} / {mine['p99_ms']:.2f} | 1/{theirs['p99_ms'] / mine['p99_ms']:.0f} |",
                        flush=True,
                    )
            bodies(path, 1, 50)
            for name, port, rate in [("feast", feast_port, 20.0), ("tastemaker", our_port, 2_000.0)]:
                results["highest"][name] = highest(release, port, path, rate)
            print(f"highest rate of 1 × 50 with p99 under 100 ms: {results['highest']}")
    finally:
        for server in servers:
            server.terminate()
            server.wait()
    out = ROOT / "benches" / "results" / "features.json"
    out.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
