"""Compares retrieval with hnswlib and usearch on the same vectors, and measures it under filters.

    python benches/retrieval/bench.py                   # a million vectors, about an hour on two cores
    python benches/retrieval/bench.py --items 50000     # a quick look

Needs numpy, hnswlib and usearch. Writes benches/results/retrieval.json and prints it as tables. `--skip-peers` leaves the other libraries out,
keeping their earlier figures.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
RESULTS = ROOT / "benches" / "results" / "retrieval.json"
PEERS = [
    ["hnswlib", "ip"], ["hnswlib", "augmented"],
    ["usearch", "ip", "f32"], ["usearch", "ip", "f16"],
    ["usearch", "augmented", "f32"], ["usearch", "augmented", "f16"], ["usearch", "augmented", "i8"],
]


def run(command):
    print("+", " ".join(map(str, command)), file=sys.stderr)
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, cwd=ROOT).stdout)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--queries", type=int, default=1000)
    parser.add_argument("--dim", type=int, default=64)
    parser.add_argument("--recall", type=float, default=0.97)
    parser.add_argument("--directory", type=Path, help="keep vectors and indexes here, and reuse them")
    parser.add_argument("--example", type=Path, help="the built example, instead of building it")
    parser.add_argument("--skip-peers", action="store_true")
    args = parser.parse_args()

    example = args.example
    if example is None:
        subprocess.run(["cargo", "build", "--release", "-p", "tastemaker-store", "--example", "retrieval"], check=True, cwd=ROOT)
        target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
        example = target / "release" / "examples" / "retrieval"
    with tempfile.TemporaryDirectory() as temporary:
        directory = args.directory or Path(temporary)
        if not (directory / "query_tastes.u32").exists():
            run([example, "generate", directory, "--items", str(args.items), "--queries", str(args.queries), "--dim", str(args.dim)])
        ours = run([example, "build", directory])
        ours |= run([example, "speed", directory, "--recall", str(args.recall)])
        peers = earlier_peers(args.items) if args.skip_peers else [peer(directory, *settings, args=args) for settings in PEERS]
        # Once more, for the machine may have been busier at one time than at another.
        again = run([example, "speed", directory, "--recall", str(args.recall)])
        for search in ("top_10", "top_500"):
            ours[search] = max(ours[search], again[search], key=lambda timed: timed["queries_per_second"])
        filters = run([example, "filters", directory])
    results = {
        "machine": {"processor": processor(), "cores": os.cpu_count(), "system": platform.platform()},
        "data": {"items": args.items, "queries": args.queries, "dim": args.dim, "recall_target": args.recall},
        "tastemaker": ours, "peers": peers, "filters": filters,
    }
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    RESULTS.write_text(json.dumps(results, indent=1) + "\n")
    show(results)


def peer(directory, library, space, dtype="f32", *, args):
    command = [sys.executable, HERE / "peers.py", directory, "--package", library, "--space", space, "--dtype", dtype]
    return run([*command, "--recall", str(args.recall)])


def earlier_peers(items):
    earlier = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    return earlier["peers"] if earlier.get("data", {}).get("items") == items else []


def processor():
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor()


def show(results):
    ours = results["tastemaker"]
    memory = ours["memory_bytes"]["anonymous"]
    print("\n| library | ef | recall@10 | queries/s, one thread | of processor time | build s | memory MB |")
    print("| --- | --: | --: | --: | --: | --: | --: |")
    first = {
        "library": "**tastemaker**", "recall_at_10": ours["recall_at_10"], **ours["top_10"],
        "build_seconds": ours["build_seconds"], "memory_bytes": memory,
    }
    for row in [first, *sorted(results["peers"], key=lambda row: -row["queries_per_second"])]:
        print(
            f"| {row['library']} | {row['ef']} | {row['recall_at_10']:.4f} | {row['queries_per_second']:,.0f} "
            f"| {row['queries_per_processor_second']:,.0f} | {row['build_seconds']:.0f} | {row['memory_bytes'] / 1e6:,.0f} |"
        )
    print(f"\nOur file is {ours['file_bytes'] / 1e6:,.0f} MB, loaded in {ours['load_seconds']:.2f} s; its exact vectors stay in the file.")
    wide = ours["top_500"]
    print(f"500 of 500 candidates: p50 {wide['p50_ms']:.2f} ms, p99 {wide['p99_ms']:.2f} ms.\n")
    print("| passing | filter | k | recall@10 | p50 ms | p99 ms | plans |")
    print("| --: | --- | --: | --: | --: | --: | --- |")
    for row in results["filters"]:
        plans = ", ".join(f"{name} {count}" for name, count in row["plans"].items())
        print(
            f"| {row['passing'] * 100:g} % | {row['filter']} | {row['k']} | {row['recall_at_10']:.4f} "
            f"| {row['p50_ms']:.3f} | {row['p99_ms']:.3f} | {plans} |"
        )


if __name__ == "__main__":
    main()
