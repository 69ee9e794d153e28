"""Time to reach, on Gowalla, the recall@20 that `implicit` reaches: its ALS beside ours, interleaved.

    TASTEMAKER_DATA=… python benches/models/implicit_peer.py            # needs: pip install implicit numpy scipy

Per rank and repetition it runs implicit at its best settings, then ours, each in its own process on two threads, and
times fitting alone. Implicit's time is that of its iterations up to the one where it first reaches its best recall@20
(evaluated outside the clock); ours is the time of the first iteration whose recall@20 is at least that. Both sides
are evaluated on every test user by the LightGCN protocol. Prints a line per run and the ratio of the medians.
"""

import argparse
import gzip
import json
import os
import pathlib
import statistics
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
# rank: implicit's best settings, and ours
SETTINGS = {
    64: ({"alpha": 40.0, "regularization": 30.0, "iterations": 12}, ["iterations=3", "alpha=0.01", "lambda=0.003", "nu=1"]),
    256: ({"alpha": 30.0, "regularization": 10.0, "iterations": 12}, ["iterations=4", "alpha=0.02", "lambda=0.003", "nu=1"]),
}


def read(path: pathlib.Path) -> dict[int, list[int]]:
    with gzip.open(path, "rt") as lines:
        rows = ([int(token) for token in line.split()] for line in lines)
        return {row[0]: row[1:] for row in rows if row}


def recall_at_20(users, items, train, test, numpy) -> float:
    total, tested = 0.0, [user for user, relevant in test.items() if relevant]
    for start in range(0, len(tested), 512):
        block = tested[start : start + 512]
        scores = users[block] @ items.T
        for row, user in enumerate(block):
            scores[row, train[user]] = -numpy.inf
        top = numpy.argpartition(scores, -20, axis=1)[:, -20:]
        total += sum(len(set(top[row]) & set(test[user])) / len(test[user]) for row, user in enumerate(block))
    return total / len(tested)


def implicit_worker(rank: int, threads: int, evaluate: bool) -> None:
    """Prints one JSON line per iteration; runs in its own process, with single-threaded BLAS."""
    import numpy
    import scipy.sparse
    from implicit.cpu.als import AlternatingLeastSquares

    folder = pathlib.Path(os.environ["TASTEMAKER_DATA"]) / "gowalla"
    train, test = read(folder / "train.txt.gz"), read(folder / "test.txt.gz")
    indices = numpy.array([item for user in range(len(train)) for item in train[user]], dtype=numpy.int32)
    offsets = numpy.cumsum([0] + [len(train[user]) for user in range(len(train))])
    n_items = 1 + max(max(map(max, (r for r in part.values() if r))) for part in (train, test))
    matrix = scipy.sparse.csr_matrix((numpy.ones(len(indices), numpy.float32), indices, offsets), (len(train), n_items))
    settings = SETTINGS[rank][0]
    model = AlternatingLeastSquares(
        factors=rank, num_threads=threads, random_state=1, calculate_training_loss=False, **settings
    )
    spent = 0.0

    def after(iteration: int, elapsed: float, _loss: object) -> None:
        nonlocal spent
        spent += elapsed  # implicit's own clock: its two half-iterations and nothing else
        line = {"iteration": iteration + 1, "seconds": spent}
        if evaluate:
            line["recall"] = recall_at_20(model.user_factors, model.item_factors, train, test, numpy)
        print(json.dumps(line), flush=True)

    model.fit(matrix, show_progress=False, callback=after)


def lines_of(command: list[str], env: dict | None = None) -> list[dict]:
    done = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True, env={**os.environ, **(env or {})})
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ranks", type=int, nargs="+", default=[64, 256], choices=SETTINGS)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--worker", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--evaluate", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        implicit_worker(arguments.worker, arguments.threads, arguments.evaluate)
        return

    build = ["cargo", "build", "--release", "-p", "tastemaker-models", "--example", "gowalla", "--message-format=json"]
    artifacts = lines_of(build)
    binary = next(a["executable"] for a in artifacts if a.get("executable") and a["target"]["name"] == "gowalla")
    single = {"OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OMP_NUM_THREADS": str(arguments.threads)}
    for rank in arguments.ranks:
        worker = [sys.executable, __file__, "--worker", str(rank), "--threads", str(arguments.threads)]
        reached = lines_of([*worker, "--evaluate"], single)
        best = max(reached, key=lambda line: line["recall"])
        target = best["recall"]
        print(f"rank {rank}: implicit reaches recall@20 {target:.4f} at iteration {best['iteration']}", flush=True)
        theirs, ours = [], []
        for _ in range(arguments.repeats):
            theirs.append(lines_of(worker, single)[best["iteration"] - 1]["seconds"])
            command = [binary, "model=als", f"rank={rank}", f"threads={arguments.threads}", "evaluate=every", "json=true"]
            iterations = lines_of([*command, *SETTINGS[rank][1]])
            first = next(line for line in iterations if line["recall"] >= target)
            ours.append(first["seconds"])
            print(
                f"  implicit {theirs[-1]:.2f} s · tastemaker {ours[-1]:.2f} s "
                f"(recall@20 {first['recall']:.4f} at iteration {first['iteration']})",
                flush=True,
            )
        ratio = statistics.median(ours) / statistics.median(theirs)
        print(f"rank {rank}: {statistics.median(ours):.2f} s of {statistics.median(theirs):.2f} s = {ratio:.2f}")


if __name__ == "__main__":
    main()
