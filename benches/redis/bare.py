"""What Redis alone takes for a recommendation: one pipelined read of a user, and one FT.SEARCH with filters for 500 items.

Open loop: requests are due at a fixed rate, and latency counts from the moment a request was due. The project has to be published
to the Redis (`tastemaker serve` or `tastemaker publish` with `storage.online`); it is the one that `cargo xtask bench serving` makes.

    python benches/redis/bare.py --url redis://127.0.0.1:6379 --rate 200 --seconds 30
"""

import argparse
import json
import statistics
import threading
import time

import redis

FILTERS = ["@available:{1}", "@available:{1} @category:{c%d}", "@available:{1} @price:[-inf (50]"]


def worker(url, prefix, users, k, due, taken, errors):
    client = redis.Redis.from_url(url)
    while True:
        with due["lock"]:
            number = due["next"]
            due["next"] += 1
        at = due["start"] + number / due["rate"]
        if at >= due["end"]:
            return
        time.sleep(max(0.0, at - time.perf_counter()))
        user = (number * 0x9E3779B97F4A7C15 & (2**64 - 1)) % users
        kind = number % 4
        filter_by = FILTERS[1] % (number // 4 % 50) if kind == 0 else FILTERS[2] if kind == 1 else FILTERS[0]
        try:
            pipeline = client.pipeline(transaction=False)
            pipeline.hmget(f"{prefix}user:u{user}", ["embedding", ":state"])
            pipeline.hget(f"{prefix}meta", "definitions")
            vector = pipeline.execute()[0][0]
            # The module's own choice of policy takes several times as long where few pass.
            policy = " HYBRID_POLICY ADHOC_BF" if kind == 0 else ""
            query = f"({filter_by})=>[KNN {k} @embedding $vec{policy} AS score]"
            # Raw: making a document of each row would take longer than the search.
            client.execute_command(
                "FT.SEARCH", f"{prefix}idx:items", query, "PARAMS", 2, "vec", vector,
                "SORTBY", "score", "LIMIT", 0, k, "RETURN", 1, ":row", "DIALECT", 2,
            )
        except redis.RedisError as error:
            errors.append(str(error))
        taken.append((time.perf_counter() - at) * 1_000)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", default="redis://127.0.0.1:6379")
    parser.add_argument("--prefix", default="")
    parser.add_argument("--users", type=int, default=100_000)
    parser.add_argument("-k", type=int, default=500)
    parser.add_argument("--rate", type=float, default=200.0)
    parser.add_argument("--seconds", type=float, default=30.0)
    args = parser.parse_args()
    start = time.perf_counter() + 0.5
    due = {"lock": threading.Lock(), "next": 0, "rate": args.rate, "start": start, "end": start + args.seconds}
    taken, errors = [], []
    threads = [
        threading.Thread(target=worker, args=(args.url, args.prefix, args.users, args.k, due, taken, errors))
        for _ in range(16)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    cuts = statistics.quantiles(taken, n=1000)
    print(json.dumps({"samples": len(taken), "errors": len(errors), "p50_ms": cuts[499], "p90_ms": cuts[899], "p99_ms": cuts[989]}))


if __name__ == "__main__":
    main()
