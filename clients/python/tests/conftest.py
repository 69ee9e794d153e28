"""A real server for the tests: the binary that `TASTEMAKER_BINARY` names, on a free port, with a project of its own."""

from __future__ import annotations

import os
import pathlib
import socket
import subprocess
import time
from dataclasses import dataclass

import pytest
import urllib3

import tastemaker

PROJECT = """
[items.attributes]
price = "number"

[users.attributes]
country = "tag"

[events]
click = { positive = true }
purchase = { positive = true, weight = 5.0 }

[embeddings]
rank = 8
iterations = 3

[recommend]
fresh_window = "3650d"
popular_window = "3650d"

[recommend.context]
device = "tag"

[[features]]
entity = "user"
name = "recent_click_count"
aggregate = "count"
events = ["click"]
window = "30m"

[[features]]
entity = "user"
name = "session_duration"
aggregate = "session_duration"
gap = "30m"

[[features]]
entity = "user"
name = "session_items"
aggregate = "session_items"
gap = "30m"

[[features]]
entity = "user"
name = "spent_on"
aggregate = "sum"
events = ["purchase"]
group_by = "item_id"

[[features]]
entity = "pair"
name = "clicks"
aggregate = "count"
events = ["click"]

[[features]]
entity = "pair"
name = "cheap_on_phone"
expression = "item.price < 10 AND context.device = 'phone'"

[[feature_views]]
name = "worth"
entity = "user"
ttl = "7d"
features = { lifetime_value = "number", segment = "text", vip = "bool", since = "time", labels = "texts", taste = "vector" }

[feature_services]
ranking = ["user:recent_click_count", "worth:lifetime_value"]
"""


@dataclass
class Server:
    """A running server."""

    url: str
    folder: pathlib.Path
    binary: str

    def run(self, *arguments: str) -> None:
        """Runs the binary on the server's project, beside it."""
        config = ["--config", str(self.folder / "tastemaker.toml")]
        subprocess.run([self.binary, *arguments, *config], check=True, capture_output=True)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    binary = os.environ.get("TASTEMAKER_BINARY")
    if not binary:
        pytest.fail("set TASTEMAKER_BINARY to the built server, or run `cargo xtask test`")
    folder = tmp_path_factory.mktemp("project")
    (folder / "tastemaker.toml").write_text(PROJECT)
    address = f"127.0.0.1:{free_port()}"
    command = [binary, "serve", "--listen", address, "--config", str(folder / "tastemaker.toml")]
    with open(folder / "server.log", "wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            wait_for(f"http://{address}/health/ready", process, folder / "server.log")
            yield Server(f"http://{address}", folder, binary)
        finally:
            process.terminate()


def wait_for(url: str, process: subprocess.Popen, log: pathlib.Path) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if urllib3.request("GET", url, retries=False).status == 200:
                return
        except urllib3.exceptions.HTTPError:
            pass
        time.sleep(0.02)
    pytest.fail(f"the server does not answer:\n{log.read_text()}")


@pytest.fixture(scope="session")
def client(server):
    with tastemaker.Client(server.url) as client:
        client.events(
            [
                {"type": "click", "user_id": f"u{user}", "item_id": f"i{(user % 2) + 2 * (user * step % 10)}"}
                for user in range(30)
                for step in range(1, 6)
            ]
        )
        yield client
