"""Features beside Feast: the same data, the same requests from the same load generator.

    cargo xtask bench features                        # everything, 10,000 samples a cell: hours, most of them Feast's
    cargo xtask bench features -- --seconds 60        # at most a minute a cell; the figures say how many samples that made
    cargo xtask bench features -- --only online --peers tastemaker

*Online:* both serve one batch view of 250 numbers for 1,000 users: Feast's Python server from its SQLite store and from a Redis server,
Tastemaker from its log. Each cell of the grid (rows × features a request) is an open loop at a fixed rate; latency counts from the moment
a request was due. A peer that cannot hold the rate gets half of what it can do one request after the other, halved until it holds it. *Highest:* the highest rate
of 1 × 50 with a p99 under 100 ms, Feast with one worker (its default) and with one for each core. *Historical:* a million rows of users
and times × 10 features from one Parquet table: Feast's default offline store, and `tastemaker features historical`. Answers are compared
for equality first. Adds to benches/results/features.json what it has measured.
"""

import argparse
import json
import os
import pathlib
import tempfile

import historical
import online

RESULTS = pathlib.Path(__file__).resolve().parents[1] / "results" / "features.json"
PARTS = ["online", "highest", "historical"]


class Results:
    """The results file; a figure that is measured again replaces the old one, and each is kept at once."""

    def __init__(self) -> None:
        self.all = json.loads(RESULTS.read_text()) if RESULTS.is_file() else {}

    def note(self, part: str, keys: list[str], figures: dict) -> None:
        key = lambda figures: [figures[name] for name in keys]
        others = [other for other in self.all.get(part, []) if key(other) != key(figures)]
        self.all[part] = sorted([*others, figures], key=key)
        RESULTS.write_text(json.dumps(self.all, indent=1) + "\n")
        print(part, {name: round(value, 3) if isinstance(value, float) else value for name, value in figures.items()}, flush=True)


def print_grid(cells: list[dict]) -> None:
    by_place = {(cell["features"], cell["rows"], cell["peer"]): cell for cell in cells}
    print("| rows × features | " + " | ".join(f"{peer}: p50 / p99 ms" for peer in online.PEERS) + " | p99 of the faster Feast / ours |")
    print("| --- |" + " --: |" * (len(online.PEERS) + 1))
    for rows, width in online.CELLS:
        found = [by_place.get((width, rows, peer)) for peer in online.PEERS]
        if None in found:
            continue
        show = lambda cell: f"{cell['p50_ms']:.2f} / {cell['p99_ms']:.2f} ({cell['samples']:,} at {cell['rate']:.3g}/s)"
        ratio = min(cell["p99_ms"] for cell in found[:-1]) / found[-1]["p99_ms"]
        print(f"| {rows} × {width} | " + " | ".join(map(show, found)) + f" | {ratio:.0f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--release", type=pathlib.Path, required=True, help="the folder of the release binaries")
    parser.add_argument("--redis", type=pathlib.Path, required=True, help="redis-server, for Feast")
    parser.add_argument("--rate", type=float, default=100.0, help="requests a second of a cell")
    parser.add_argument("--samples", type=int, default=10_000, help="answers of a cell")
    parser.add_argument("--seconds", type=float, default=86_400.0, help="about the most a cell may take")
    parser.add_argument("--only", choices=PARTS, nargs="+", default=PARTS)
    cell = lambda text: tuple(map(int, text.split("x")))
    parser.add_argument("--cells", type=cell, nargs="+", default=online.CELLS, help="some cells of the grid, such as 1x50")
    parser.add_argument("--peers", choices=online.PEERS, nargs="+", default=online.PEERS)
    tools = parser.parse_args()
    tools.release = tools.release.resolve()
    results = Results()
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary)
        data = folder / "features.parquet"
        online.table(data)
        if "historical" in tools.only:
            results.note("historical", ["rows", "features"], historical.compare(tools, folder / "historical"))
        if "highest" in tools.only:
            for peer in tools.peers:
                for workers in [1] if peer == "tastemaker" else [1, os.cpu_count()]:
                    results.note("highest", ["peer", "workers"], online.highest(tools, data, folder, peer, workers))
        if "online" in tools.only:
            online.grid(tools, data, folder, tools.peers, lambda cell: results.note("online", ["peer", "features", "rows"], cell))
            print_grid(results.all["online"])


if __name__ == "__main__":
    main()
