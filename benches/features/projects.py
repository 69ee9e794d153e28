"""The same data as a project of Tastemaker and of Feast, and their servers."""

import contextlib
import os
import pathlib
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator

VIEW = "bench"
FEAST = pathlib.Path(sys.executable).with_name("feast")
ENVIRONMENT = {**os.environ, "FEAST_USAGE": "False"}


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@contextlib.contextmanager
def running(command: list, folder: pathlib.Path) -> Iterator[None]:
    """A server that is stopped at the end."""
    with (folder / "server.log").open("w") as log:
        server = subprocess.Popen(command, cwd=folder, env=ENVIRONMENT, stdout=log, stderr=log)
    try:
        yield
    finally:
        server.terminate()
        server.wait()


def wait_for(folder: pathlib.Path, port: int, path: str, seconds: float = 90) -> None:
    end = time.time() + seconds
    while time.time() < end:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=1) as answer:
                if answer.status == 200:
                    return
        except OSError:
            time.sleep(0.2)
    raise SystemExit(f"nothing answers at port {port}; see {folder / 'server.log'}")


def feast_project(folder: pathlib.Path, data: pathlib.Path, features: int, store: str) -> None:
    """`store` is the online store's part of the settings."""
    names = ", ".join(f'Field(name="f{n}", dtype=Float64)' for n in range(features))
    folder.mkdir()
    (folder / "feature_store.yaml").write_text(
        f"project: bench\nregistry: {folder}/registry.db\nprovider: local\nentity_key_serialization_version: 3\n"
        f"offline_store:\n  type: file\nonline_store:\n{store}"
    )
    (folder / "definitions.py").write_text(
        "from datetime import timedelta\nfrom feast import Entity, FeatureView, Field, FileSource, ValueType\n"
        "from feast.types import Float64\n"
        'user = Entity(name="user", join_keys=["user_id"], value_type=ValueType.STRING)\n'
        f'source = FileSource(path="{data}", timestamp_field="event_timestamp")\n'
        f'view = FeatureView(name="{VIEW}", entities=[user], ttl=timedelta(days=30), schema=[{names}], source=source)\n'
    )
    feast(folder, "apply")


def feast(folder: pathlib.Path, *arguments: str) -> None:
    subprocess.run([FEAST, *arguments], cwd=folder, check=True, env=ENVIRONMENT, stdout=subprocess.DEVNULL)


def tastemaker_project(folder: pathlib.Path, data: pathlib.Path, features: int) -> None:
    names = ", ".join(f'f{n} = "number"' for n in range(features))
    folder.mkdir()
    (folder / "tastemaker.toml").write_text(
        f'[[feature_views]]\nname = "{VIEW}"\nentity = "user"\npath = "{data}"\nttl = "30d"\nfeatures = {{ {names} }}\n'
    )


@contextlib.contextmanager
def redis(server: pathlib.Path, folder: pathlib.Path) -> Iterator[int]:
    """A Redis server of Feast's own; gives its port."""
    port = free_port()
    command = [server, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    folder.mkdir()
    with running(command, folder):
        end = time.time() + 30
        while time.time() < end:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                time.sleep(0.1)
        yield port


@contextlib.contextmanager
def feast_server(folder: pathlib.Path, workers: int) -> Iterator[int]:
    """Feast's Python server as it is by default, but that its workers are not restarted after a thousand requests."""
    port = free_port()
    command = [FEAST, "serve", "--host", "127.0.0.1", "--port", str(port), "--no-access-log", "--workers", str(workers)]
    with running([*command, "--max-requests", "0", "--max-requests-jitter", "0"], folder):
        wait_for(folder, port, "/health")
        yield port


@contextlib.contextmanager
def tastemaker_server(folder: pathlib.Path, release: pathlib.Path) -> Iterator[int]:
    port = free_port()
    with running([release / "tastemaker", "serve", "--listen", f"127.0.0.1:{port}"], folder):
        wait_for(folder, port, "/health/ready")
        yield port
