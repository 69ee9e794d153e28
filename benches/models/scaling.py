"""Time and memory of ALS from 1 to 100 million synthetic interactions, as a table and a plot.

    python benches/models/scaling.py            # writes benches/results/als_scaling.{csv,png}

Runs `cargo run --release --example synthetic` once per size (rank 64, one iteration, all cores), each in its own
process so that its peak memory is its own. Needs matplotlib for the plot; 100 million want about 5 GB of memory.
"""

import argparse
import csv
import pathlib
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]
RESULTS = ROOT / "benches" / "results"
FIELDS = [
    "interactions", "users", "items", "rank", "build_s", "iteration_s", "item_half_s", "user_half_s", "data_mb", "peak_mb",
]


def measure(size: int, rank: int) -> dict:
    command = [
        "cargo", "run", "--quiet", "--release", "-p", "tastemaker-models", "--example", "synthetic", "--",
        f"interactions={size}", f"rank={rank}",
    ]
    line = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip()
    print(line, flush=True)
    return dict(zip(FIELDS, line.split(","), strict=True))


def plot(rows: list[dict], path: pathlib.Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    millions = [float(row["interactions"]) / 1e6 for row in rows]
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4))
    for field, label in [("iteration_s", "one iteration"), ("build_s", "generate and build")]:
        left.loglog(millions, [float(row[field]) for row in rows], "o-", label=label)
    left.set(title=f"ALS, rank {rows[0]['rank']}: time", xlabel="million interactions", ylabel="seconds")
    for field, label in [("peak_mb", "peak"), ("data_mb", "interactions alone")]:
        right.loglog(millions, [float(row[field]) / 1000 for row in rows], "o-", label=label)
    right.set(title="memory", xlabel="million interactions", ylabel="GB")
    for axes in (left, right):
        axes.grid(True, which="both", alpha=0.3)
        axes.legend()
    figure.tight_layout()
    figure.savefig(path, dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=float, nargs="+", default=[1e6, 3e6, 1e7, 3e7, 1e8])
    parser.add_argument("--rank", type=int, default=64)
    parser.add_argument("--plot-only", action="store_true", help="redraw the plot from the table")
    arguments = parser.parse_args()
    RESULTS.mkdir(exist_ok=True)
    table = RESULTS / "als_scaling.csv"
    if not arguments.plot_only:
        rows = [measure(int(size), arguments.rank) for size in arguments.sizes]
        with table.open("w", newline="") as file:
            writer = csv.DictWriter(file, FIELDS, lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
    with table.open() as file:
        plot(list(csv.DictReader(file)), RESULTS / "als_scaling.png")


if __name__ == "__main__":
    main()
