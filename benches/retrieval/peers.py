"""Measures hnswlib and usearch on the vectors of one directory (see bench.py); prints JSON.

Each library is given its best chance: it indexes both the vectors as they are, by inner product, and with the added component that makes inner
products into distances (Bachrach et al. 2014), and usearch stores 32, 16 or 8 bits. `ef` is tuned so that recall@10 just passes the target. One thread
searches, in one call for all queries.
"""

import argparse
import json
import os
import time
from pathlib import Path

import hnswlib
import numpy as np
from usearch.index import Index


def read(directory):
    dim = int((directory / "dim").read_text())
    items = np.fromfile(directory / "items.f32", dtype=np.float32).reshape(-1, dim)
    queries = np.fromfile(directory / "queries.f32", dtype=np.float32).reshape(-1, dim)
    truth = np.fromfile(directory / "truth.u32", dtype=np.uint32).reshape(-1, 10)
    return items, queries, truth


def augmented(items, queries):
    squares = (items.astype(np.float64) ** 2).sum(axis=1)
    heights = np.sqrt(squares.max() - squares).astype(np.float32)
    return np.hstack([items, heights[:, None]]), np.hstack([queries, np.zeros((len(queries), 1), dtype=np.float32)])


def resident():
    fields = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(fields["RssAnon"].split()[0]) * 1024


class Hnswlib:
    def __init__(self, space, items, neighbours, ef_construction):
        self.index = hnswlib.Index(space=space, dim=items.shape[1])
        self.index.init_index(max_elements=len(items), M=neighbours, ef_construction=ef_construction)
        self.index.set_num_threads(os.cpu_count())
        self.index.add_items(items)

    def search(self, queries, k, ef):
        self.index.set_ef(ef)
        return self.index.knn_query(queries, k=k, num_threads=1)[0]


class Usearch:
    def __init__(self, space, items, neighbours, ef_construction, dtype):
        metric = {"ip": "ip", "l2": "l2sq", "cosine": "cos"}[space]
        self.index = Index(ndim=items.shape[1], metric=metric, dtype=dtype, connectivity=neighbours, expansion_add=ef_construction)
        self.index.add(np.arange(len(items)), items, threads=os.cpu_count())

    def search(self, queries, k, ef):
        self.index.expansion_search = ef
        return self.index.search(queries, k, threads=1).keys


def measure(name, make, queries, truth, target):
    before, start = resident(), time.perf_counter()
    index = make()
    build, memory = time.perf_counter() - start, resident() - before

    def recall(ef):
        found = index.search(queries, 10, ef)
        return np.mean([len(set(map(int, row)) & set(map(int, true))) / 10 for row, true in zip(found, truth)])

    low, high = 9, 20
    while recall(high) < target and high < 5000:
        low, high = high, high * 2
    reached = recall(high)
    while reached >= target and high - low > 1:
        middle = (low + high) // 2
        if recall(middle) >= target:
            high = middle
        else:
            low = middle
    seconds = {"wall": [], "processor": []}
    for _ in range(3):
        wall, processor = time.perf_counter(), time.process_time()
        index.search(queries, 10, high)
        seconds["wall"].append(time.perf_counter() - wall)
        seconds["processor"].append(time.process_time() - processor)
    return {
        "library": name, "ef": high, "recall_at_10": float(recall(high)), "build_seconds": build, "memory_bytes": memory,
        "queries_per_second": len(queries) / min(seconds["wall"]),
        "queries_per_processor_second": len(queries) / min(seconds["processor"]),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--package", choices=["hnswlib", "usearch"], required=True)
    parser.add_argument("--space", choices=["ip", "augmented"], required=True)
    parser.add_argument("--dtype", choices=["f32", "f16", "i8"], default="f32", help="of usearch")
    parser.add_argument("--neighbours", type=int, default=16)
    parser.add_argument("--ef-construction", type=int, default=128)
    parser.add_argument("--recall", type=float, default=0.97)
    args = parser.parse_args()
    items, queries, truth = read(args.directory)
    if args.space == "augmented":
        items, queries = augmented(items, queries)
    if args.package == "hnswlib":
        space = "ip" if args.space == "ip" else "l2"
        make = lambda: Hnswlib(space, items, args.neighbours, args.ef_construction)
    else:
        # All augmented vectors have one length: their cosine orders as their distance does, and is what small integers can hold.
        space = "ip" if args.space == "ip" else "cosine"
        make = lambda: Usearch(space, items, args.neighbours, args.ef_construction, args.dtype)
    name = f"{args.package} {args.space}" + (f" {args.dtype}" if args.package == "usearch" else "")
    print(json.dumps(measure(name, make, queries, truth, args.recall)))


main()
