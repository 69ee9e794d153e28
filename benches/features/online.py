"""Online reads: a grid of rows × features a request at fixed rates, and the highest rate of the smallest."""

import contextlib
import http.client
import json
import pathlib
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator

import projects

USERS, FEATURES = 1_000, 250
CELLS = [(rows, width) for width in (50, 250) for rows in (1, 10, 100, 500)]
PEERS = ["feast-sqlite", "feast-redis", "tastemaker"]
# However long they take. A p99 of so few is the worst of them.
FEWEST = 30
# p99 above which a rate is not held, in milliseconds.
HELD_MS = 100


def table(path: pathlib.Path) -> None:
    import numpy
    import pandas

    random = numpy.random.default_rng(1)
    columns = {"user_id": [f"u{n}" for n in range(USERS)]}
    columns["event_timestamp"] = pandas.Timestamp.now(tz="UTC").floor("s") - pandas.Timedelta("1h")
    columns |= {f"f{n}": random.standard_normal(USERS) for n in range(FEATURES)}
    pandas.DataFrame(columns).to_parquet(path)


def bodies(path: pathlib.Path, rows: int, width: int) -> None:
    with path.open("w") as lines:
        for request in range(200):
            users = [f"u{(request * 7919 + n * 31) % USERS}" for n in range(rows)]
            names = [f"{projects.VIEW}:f{n}" for n in range(width)]
            lines.write(json.dumps({"entities": {"user_id": users}, "features": names}) + "\n")


@contextlib.contextmanager
def server(peer: str, folder: pathlib.Path, data: pathlib.Path, tools, workers: int = 1) -> Iterator[int]:
    """Materializes the table into a new store and serves it; gives the port."""
    folder.mkdir(parents=True)
    with contextlib.ExitStack() as stack:
        if peer == "tastemaker":
            projects.tastemaker_project(folder / "project", data, FEATURES)
            materialize = [tools.release / "tastemaker", "features", "materialize"]
            subprocess.run(materialize, cwd=folder / "project", check=True, stdout=subprocess.DEVNULL)
            yield stack.enter_context(projects.tastemaker_server(folder / "project", tools.release))
            return
        store = f"  type: sqlite\n  path: {folder}/online.db\n"
        if peer == "feast-redis":
            port = stack.enter_context(projects.redis(tools.redis, folder / "redis"))
            store = f'  type: redis\n  connection_string: "127.0.0.1:{port}"\n'
        projects.feast_project(folder / "project", data, FEATURES, store)
        projects.feast(folder / "project", "materialize-incremental", time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime()))
        yield stack.enter_context(projects.feast_server(folder / "project", workers))


def one_after_the_other(port: int, path: pathlib.Path, requests: int = 15) -> tuple[float, bytes]:
    """Seconds of a request when there is no other, and the last answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=300)
    seconds, answer = [], b""
    for body in path.read_text().splitlines()[:requests]:
        begin = time.perf_counter()
        connection.request("POST", "/get-online-features", body, {"content-type": "application/json"})
        response = connection.getresponse()
        answer = response.read()
        seconds.append(time.perf_counter() - begin)
        if response.status != 200:
            raise SystemExit(f"{response.status}: {answer[:500]!r}")
    connection.close()
    return statistics.median(seconds), answer


def load(tools, port: int, path: pathlib.Path, rate: float, samples: int, connections: int = 16) -> dict:
    # Servers close connections that are idle for long.
    connections = max(2, min(connections, int(rate * 10)))
    command = [
        tools.release / "tastemaker-benches", "requests", "--address", f"127.0.0.1:{port}", "--path", "/get-online-features",
        "--bodies", path, "--rate", str(rate), "--samples", str(samples), "--connections", str(connections),
    ]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout)[0]


def figures(outcome: dict) -> dict:
    if set(outcome["statuses"]) != {"200"}:
        raise SystemExit(f"not every answer was a 200: {outcome['statuses']}")
    names = ["p50_ms", "p90_ms", "p99_ms", "p999_ms", "max_ms"]
    return {"samples": outcome["statuses"]["200"]} | {name: outcome[name] for name in names}


def checked(answer: bytes, rows: int, width: int) -> dict[str, list]:
    """The columns of an answer by name, which must be whole. Servers order them as they like."""
    answer = json.loads(answer)
    columns = dict(zip(answer["metadata"]["feature_names"], (column["values"] for column in answer["results"]), strict=True))
    if len(columns) != width + 1 or any(len(values) != rows or None in values for values in columns.values()):
        raise SystemExit(f"an answer has not {rows} × {width} values")
    return columns


def sustained(tools, port: int, path: pathlib.Path, rate: float, alone: float) -> float:
    """The rate, halved until a few seconds of it make no queue: a server may be slower when asked by many than by one."""
    for _ in range(4):
        outcome = load(tools, port, path, rate, max(20, int(rate * 8)))
        if outcome["p90_ms"] < 1e3 * (0.3 + 4 * alone):
            break
        rate /= 2
    return rate


def grid(tools, data: pathlib.Path, folder: pathlib.Path, peers: list[str], note: Callable[[dict], None]) -> None:
    """Measures each cell for each peer. A peer gets the fixed rate, or half of what it can do one after the other if that is less,
    or what of that it can sustain."""
    path = folder / "bodies.jsonl"
    expected = {}
    for peer in peers:
        with server(peer, folder / peer, data, tools) as port:
            for rows, width in tools.cells:
                bodies(path, rows, width)
                alone, answer = one_after_the_other(port, path)
                values = checked(answer, rows, width)
                if expected.setdefault((rows, width), values) != values:
                    raise SystemExit(f"{peer} answers {rows} × {width} with other values than {peers[0]}")
                rate = sustained(tools, port, path, min(tools.rate, 0.5 / alone), alone)
                samples = max(FEWEST, min(tools.samples, int(rate * tools.seconds)))
                cell = {"peer": peer, "rows": rows, "features": width, "alone_ms": alone * 1e3, "rate": rate}
                note(cell | figures(load(tools, port, path, rate, samples)))


def highest(tools, data: pathlib.Path, folder: pathlib.Path, peer: str, workers: int) -> dict:
    """The highest rate of 1 × 50 at which the p99 stays under the limit, to a twelfth."""
    path = folder / "bodies.jsonl"
    bodies(path, 1, 50)
    with server(peer, folder / f"highest-{peer}-{workers}", data, tools, workers) as port:

        def held(rate: float) -> dict | None:
            outcome = load(tools, port, path, rate, max(200, int(rate * 4)), 32)
            good = set(outcome["statuses"]) == {"200"} and outcome["p99_ms"] < HELD_MS
            return figures(outcome) if good else None

        one_after_the_other(port, path)
        low, best = 25.0, None
        while outcome := held(low * 2):
            low, best = low * 2, outcome
        for step in (2**0.5, 2**0.25, 2**0.125):
            if outcome := held(low * step):
                low, best = low * step, outcome
        return {"peer": peer, "workers": workers, "rate": low} | (best or {})
