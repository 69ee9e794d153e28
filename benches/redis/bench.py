"""Serving from Redis, measured from outside on a Redis of its own: publishing, memory, latency, publishing beside searches, and faults
under load.

    cargo xtask bench redis

Everything is on one machine: the server, Redis, and the load, which is open loop, so that latency counts from the moment a request
was due. Ratios are of things measured in the same run.
"""

import argparse
import http.client
import json
import os
import pathlib
import shutil
import signal
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time

import redis

HERE = pathlib.Path(__file__).parent
FEATURES = """
[[features]]
entity = "user"
name = "clicks"
aggregate = "count"
events = ["click"]
"""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Redis:
    """A real server with its search module."""

    def __init__(self, args, folder, *more):
        self.command = [
            args.redis_server, "--port", str(free_port()), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no",
            "--loadmodule", args.module, *args.module_arguments, "--dir", str(folder), "--loglevel", "warning", *more,
        ]
        self.port = int(self.command[2])
        self.url = f"redis://127.0.0.1:{self.port}"
        self.start()

    def start(self):
        self.process = subprocess.Popen(self.command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.client = redis.Redis(port=self.port)
        until(lambda: answers(self.client), 30, "Redis")

    def stop(self):
        self.process.kill()
        self.process.wait()


def answers(client):
    try:
        return client.ping()
    except redis.RedisError:
        return False


def until(holds, seconds, what):
    end = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > end:
            sys.exit(f"{what}: not within {seconds} s")
        time.sleep(0.01)


class Tastemaker:
    """The server with the log."""

    def __init__(self, args, project, url):
        self.address = f"127.0.0.1:{free_port()}"
        environment = {**os.environ, "TASTEMAKER_STORAGE__ONLINE": url}
        command = [args.release / "tastemaker", "serve", "--listen", self.address, "--set", "logging.level=warn"]
        log = open(project / "server.log", "a")
        self.process = subprocess.Popen(command, cwd=project, env=environment, stdout=log, stderr=log)
        until(self.whole, 600, "a whole Redis")

    def get(self, path):
        connection = http.client.HTTPConnection(self.address, timeout=10)
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.read().decode()

    def online(self):
        try:
            return json.loads(self.get("/health/ready")).get("online") or {}
        except (OSError, ValueError):
            return {}

    def whole(self):
        online = self.online()
        return bool(online.get("whole")) and online.get("generation") and online.get("pending") == 0 and online.get("breaker") == "closed"

    def degraded(self):
        """What ten answers in a row lack."""
        connection = http.client.HTTPConnection(self.address, timeout=10)
        lacks = []
        for number in range(10):
            connection.request("POST", "/v1/recommendations", json.dumps({"user_id": f"u{number}"}), {"content-type": "application/json"})
            lacks += json.loads(connection.getresponse().read())["degraded"]
        return lacks

    def degraded_answers(self):
        """Since it started, for want of Redis."""
        lines = [line for line in self.get("/metrics").splitlines() if line.startswith("tastemaker_degraded_answers_total") and "redis:" in line]
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines)

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)


def tastemaker(args, project, *words, url=None):
    environment = {**os.environ, **({"TASTEMAKER_STORAGE__ONLINE": url} if url else {})}
    begin = time.perf_counter()
    subprocess.run([args.release / "tastemaker", *words], cwd=project, env=environment, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - begin


def shop(args):
    """The synthetic project of the other benchmarks, with a feature to count events by."""
    made = args.scratch / f"shop-{args.items}-{args.users}-40-64"
    if not (made / "prepared").exists():
        size = ["--items", str(args.items), "--users", str(args.users)]
        command = [args.release / "tastemaker-benches", "serving", "--binary", args.release / "tastemaker", "--scratch", args.scratch]
        subprocess.run([*command, "--out", args.scratch / "prepare.json", *size, "--rates", "10", "--seconds", "1", "--no-search"], check=True)
    copy = pathlib.Path(tempfile.mkdtemp(prefix="redis-", dir=args.scratch))
    shutil.copytree(made, copy / "shop")
    project = copy / "shop"
    with open(project / "tastemaker.toml", "a") as file:
        file.write(FEATURES)
    return project


def bodies(args, project):
    """Requests as `tastemaker-benches serving` sends them: half with a filter of their own."""
    path = project / "bodies.jsonl"
    with open(path, "w") as file:
        for number in range(20_000):
            user = (number * 0x9E3779B97F4A7C15 & (2**64 - 1)) % args.users
            body = {"user_id": f"u{user}", "limit": 20}
            if number % 4 == 0:
                body["filter"] = f"category = 'c{number // 4 % 50}'"
            elif number % 4 == 1:
                body["filter"] = "price < 50"
            file.write(json.dumps(body) + "\n")
    return path


def load(args, server, path, seconds):
    command = [args.release / "tastemaker-benches", "requests", "--address", server.address, "--path", "/v1/recommendations"]
    command += ["--bodies", path, "--rate", str(args.rate), "--samples", str(int(args.rate * seconds)), "--connections", "64"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def outcome(process):
    out, _ = process.communicate()
    return json.loads(out.strip().splitlines()[-1])[0]


def publishing(args, project, server):
    """`tastemaker publish` into an empty Redis against a loader by hand into the same index, and users against redis-benchmark."""
    client = server.client
    writing = threading.Thread(target=rate_of_writes, args=(server, args.users + args.items, rate := []))
    writing.start()
    seconds = tastemaker(args, project, "publish", url=server.url)
    writing.join()
    info = client.execute_command("FT.INFO", "idx:items")
    fields = {key: value for key, value in zip(info[::2], info[1::2])}
    rows = {key: client.hgetall(key) for key in client.scan_iter("item:*", count=10_000)}
    users = {key: client.hgetall(key) for key in client.scan_iter("user:*", count=10_000)}
    create = index_command(fields)
    client.flushall()
    begin = time.perf_counter()
    client.execute_command(*create)
    write(client, rows)
    while float(dict(zip(*[iter(client.execute_command("FT.INFO", "by_hand"))] * 2))[b"percent_indexed"]) < 1:
        time.sleep(0.01)
    items_by_hand = time.perf_counter() - begin
    begin = time.perf_counter()
    write(client, users)
    users_by_hand = time.perf_counter() - begin
    client.flushall()
    size = sum(len(name) + len(value) for user in users.values() for name, value in user.items()) // max(1, len(users))
    bench, raw = shutil.which("redis-benchmark"), None
    if bench:
        command = [bench, "-p", str(server.port), "-n", str(args.users), "-r", str(args.users), "-P", "512", "-c", "2", "--csv"]
        out = subprocess.run([*command, "HSET", "raw:__rand_int__", "a", "x" * size], capture_output=True, text=True, check=True).stdout
        raw = float(out.strip().splitlines()[-1].split(",")[1].strip('"'))
        client.flushall()
    return {
        "publish_s": seconds,
        "items_by_hand_s": items_by_hand,
        "users_by_hand_s": users_by_hand,
        "by_hand_s": items_by_hand + users_by_hand,
        "users_and_items_written_per_s": rate[0],
        "redis_benchmark_hsets_per_s": raw,
        "bytes_of_a_users_values": size,
    }


def rate_of_writes(server, hashes, rate):
    """Hashes of users and items a second, from the first one to the last."""
    client, begin = redis.Redis(port=server.port), None
    while (written := client.dbsize()) < hashes:
        begin = begin or (time.perf_counter() if written else None)
        time.sleep(0.005)
    rate.append(hashes / (time.perf_counter() - begin))


def write(client, rows):
    pipeline = client.pipeline(transaction=False)
    for number, (key, row) in enumerate(rows.items(), 1):
        pipeline.hset(key, mapping=row)
        if number % 512 == 0:
            pipeline.execute()
    pipeline.execute()


def index_command(info):
    """The same index under another name, read off the one that is there."""
    prefixes = dict(zip(*[iter(info[b"index_definition"])] * 2))[b"prefixes"]
    command = ["FT.CREATE", "by_hand", "ON", "HASH", "PREFIX", 1, prefixes[0], "SCHEMA"]
    for attribute in info[b"attributes"]:
        pairs = {}
        words = list(attribute)
        for place, word in enumerate(words[:-1]):
            pairs.setdefault(word, words[place + 1])
        name, alias, kind = pairs[b"identifier"], pairs[b"attribute"], pairs[b"type"]
        command += [name, "AS", alias, kind]
        if kind == b"VECTOR":
            arguments = ["TYPE", pairs[b"data_type"], "DIM", pairs[b"dim"], "DISTANCE_METRIC", pairs[b"distance_metric"]]
            if pairs[b"algorithm"] == b"HNSW":
                arguments += ["M", pairs[b"M"], "EF_CONSTRUCTION", pairs[b"ef_construction"], "EF_RUNTIME", 400]
            command += [pairs[b"algorithm"], len(arguments), *arguments]
        elif kind == b"TAG":
            command += ["SEPARATOR", pairs[b"SEPARATOR"], "CASESENSITIVE", "INDEXMISSING"]
    return command


def memory(client):
    """Bytes a user and an item, and those of a user's features as Feast lays them out: a field of four bytes for each, a protobuf for its
    value, and one timestamp."""
    def mean(pattern):
        keys = [key for _, key in zip(range(1_000), client.scan_iter(pattern, count=1_000))]
        return statistics.mean(client.memory_usage(key, samples=0) for key in keys)

    vector = next(value for value in (client.hget(f"user:u{n}", "embedding") for n in range(100)) if value)
    floats = b"\x0a" + varint(len(vector)) + vector
    feast = {
        struct.pack("<I", 0x12345678): b"\x92\x01" + varint(len(floats)) + floats,
        struct.pack("<I", 0x23456789): b"\x29" + struct.pack("<d", 12.0),
        b"_ts:user_features": b"\x08" + varint(1_780_000_000),
    }
    for number in range(100):
        client.hset(b"\x02\x00\x00\x00\x07\x00\x00\x00user_id\x02\x00\x00\x00\x06\x00\x00\x00u%05dbench" % number, mapping=feast)
    ours = {"user": mean("user:*"), "item": mean("item:*")}
    as_feast = mean(b"\x02*")
    bare = {name: value for name, value in client.hgetall("user:u1").items() if not name.startswith(b":")}
    client.hset("bare:u1", mapping=bare)
    ours["user_without_state"] = client.memory_usage("bare:u1", samples=0)
    for key in client.scan_iter(b"\x02*"):
        client.delete(key)
    client.delete("bare:u1")
    return {**ours, "user_as_feast": as_feast}


def varint(number):
    out = b""
    while number > 127:
        out += bytes([number & 127 | 128])
        number >>= 7
    return out + bytes([number])


class Clicks:
    """Posts clicks one by one, and remembers those that were acknowledged."""

    def __init__(self, server, label):
        self.server, self.label, self.acknowledged, self.failed, self.over = server, label, [], 0, False
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        connection = http.client.HTTPConnection(self.server.address, timeout=10)
        number = 0
        while not self.over:
            event = f"{self.label}-{number}"
            body = {"events": [{"event_id": event, "type": "click", "user_id": f"clicker-{self.label}", "item_id": f"i{number % 1000}", "timestamp": time.time()}]}
            try:
                connection.request("POST", "/v1/events", json.dumps(body), {"content-type": "application/json"})
                answer = connection.getresponse()
                answer.read()
                self.acknowledged += [event] if answer.status == 200 else []
                self.failed += answer.status != 200
            except OSError:
                self.failed += 1
                connection = http.client.HTTPConnection(self.server.address, timeout=10)
            number += 1
            time.sleep(0.02)

    def end(self):
        self.over = True
        self.thread.join()
        return len(self.acknowledged)


class Delayed:
    """A way to Redis that takes a while."""

    def __init__(self, port):
        self.port, self.delay = port, 0.0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"redis://127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            near, _ = self.listener.accept()
            far = socket.create_connection(("127.0.0.1", self.port))
            for one, other in [(near, far), (far, near)]:
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                threading.Thread(target=self.pass_on, args=(one, other), daemon=True).start()

    def pass_on(self, one, other):
        try:
            while data := one.recv(1 << 18):
                if self.delay:
                    time.sleep(self.delay)
                other.sendall(data)
        except OSError:
            pass
        for end in (one, other):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass


def storm(redis_server, over):
    """Two thousand connections that do nothing but connect, ping and go."""
    def run():
        while not over.is_set():
            held = []
            for _ in range(200):
                try:
                    held.append(socket.create_connection(("127.0.0.1", redis_server.port), timeout=1))
                    held[-1].sendall(b"PING\r\n")
                except OSError:
                    pass
            for one in held:
                one.close()
    threads = [threading.Thread(target=run, daemon=True) for _ in range(10)]
    for thread in threads:
        thread.start()


def faults(args, project, path):
    figures = []
    for name in ["killed", "frozen", "slow", "full", "read_only", "connection_storm"]:
        with tempfile.TemporaryDirectory() as folder:
            redis_server = Redis(args, folder)
            way = Delayed(redis_server.port) if name == "slow" else None
            server = Tastemaker(args, project, way.url if way else redis_server.url)
            clicks = Clicks(server, f"{name}-{time.time_ns()}")
            running = load(args, server, path, 20)
            time.sleep(7)
            over = threading.Event()
            begin = time.monotonic()
            inject(name, redis_server, way, over)
            opened, seen = None, 0
            while time.monotonic() - begin < 6:
                if opened is None and server.online().get("breaker") not in ("closed", None):
                    opened = time.monotonic() - begin
                time.sleep(0.02)
            mend(name, redis_server, way, over)
            mended = time.monotonic()
            # Where the machine is too slow for the rate, some answers are not searched for in Redis, fault or none.
            lacks = lambda: [lack for lack in server.degraded() if lack != "redis:busy"]
            until(lambda: not lacks(), 60, f"answers that lack nothing after {name}")
            whole = time.monotonic() - mended
            result = outcome(running)
            acknowledged = clicks.end()
            until(server.whole, 60, "all written")
            user = f"user:clicker-{clicks.label}"
            until(lambda: redis_server.client.hget(user, "clicks") is not None, 10, "the clicks")
            counted = int(float(redis_server.client.hget(user, "clicks")))
            degraded = server.degraded_answers()
            server.stop()
            redis_server.stop()
            figures.append({
                "fault": name, "statuses": result["statuses"], "p50_ms": result["p50_ms"], "p99_ms": result["p99_ms"], "max_ms": result["max_ms"],
                "breaker_open_after_s": opened, "whole_after_s": whole, "degraded": degraded,
                "clicks_acknowledged": acknowledged, "clicks_refused": clicks.failed, "clicks_counted": counted,
            })
            print(json.dumps(figures[-1]), flush=True)
    return figures


def republishing(args, project, server, path):
    """Recommendations while a second generation is loaded beside the first, half a minute at a time."""
    tastemaker(args, project, "train", "--no-holdout")
    tastemaker(args, project, "models", "rollback")
    ours = Tastemaker(args, project, server.url)
    before = outcome(load(args, ours, path, 30))
    serving = lambda: server.client.hget("meta", "generation")
    first, degraded, begin, beside = serving(), ours.degraded_answers(), time.perf_counter(), []
    tastemaker(args, project, "models", "promote", "2")
    while serving() == first:
        beside.append(outcome(load(args, ours, path, 30)))
        print(json.dumps(beside[-1]), flush=True)
    seconds = time.perf_counter() - begin
    share = (ours.degraded_answers() - degraded) / sum(sum(part["statuses"].values()) for part in beside)
    ours.stop()
    return {"before": before, "beside": beside, "at_most_s": seconds, "degraded_share": share}


def inject(name, redis_server, way, over):
    if name == "killed":
        redis_server.process.kill()
        redis_server.process.wait()
    elif name == "frozen":
        redis_server.process.send_signal(signal.SIGSTOP)
    elif name == "slow":
        way.delay = 0.2
    elif name == "full":
        redis_server.client.config_set("maxmemory", "1mb")
    elif name == "read_only":
        redis_server.client.replicaof("127.0.0.1", free_port())
    else:
        storm(redis_server, over)


def mend(name, redis_server, way, over):
    over.set()
    if name == "killed":
        redis_server.start()
    elif name == "frozen":
        redis_server.process.send_signal(signal.SIGCONT)
    elif name == "slow":
        way.delay = 0.0
    elif name == "full":
        redis_server.client.config_set("maxmemory", "0")
    elif name == "read_only":
        redis_server.client.replicaof("NO", "ONE")


def bare(args, server):
    command = [sys.executable, HERE / "bare.py", "--url", server.url, "--users", str(args.users), "--rate", str(args.rate), "--seconds", str(args.seconds)]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip().splitlines()[-1])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--release", type=pathlib.Path, required=True, help="the folder of the binaries")
    parser.add_argument("--redis-server", required=True)
    parser.add_argument("--module", required=True)
    parser.add_argument("--module-arguments", nargs="*", default=[], help="such as PARTIAL_INDEXED_DOCS 1")
    parser.add_argument("--scratch", type=pathlib.Path, required=True)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--users", type=int, default=20_000)
    parser.add_argument("--rate", type=float, default=200.0)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--only", default="publish,latency,republish,faults")
    args = parser.parse_args()
    project = shop(args)
    path = bodies(args, project)
    figures = {"items": args.items, "users": args.users, "rate": args.rate}
    wanted = args.only.split(",")
    with tempfile.TemporaryDirectory() as folder:
        server = Redis(args, folder)
        if "publish" in wanted:
            figures["publish"] = publishing(args, project, server)
            print(json.dumps(figures["publish"]), flush=True)
        if "latency" in wanted:
            ours = Tastemaker(args, project, server.url)
            figures["memory"] = memory(server.client)
            print(json.dumps(figures["memory"]), flush=True)
            first = bare(args, server)
            whole = outcome(load(args, ours, path, args.seconds))
            second = bare(args, server)
            ratio = whole["p99_ms"] / statistics.mean([first["p99_ms"], second["p99_ms"]])
            figures["latency"] = {"bare": [first, second], "whole": whole, "p99_ratio": ratio}
            print(json.dumps(figures["latency"]), flush=True)
            ours.stop()
        server.stop()
    if "republish" in wanted:
        with tempfile.TemporaryDirectory() as folder:
            server = Redis(args, folder)
            figures["republish"] = republishing(args, project, server, path)
            server.stop()
    if "faults" in wanted:
        figures["faults"] = faults(args, project, path)
    shutil.rmtree(project.parent)
    args.out.write_text(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
