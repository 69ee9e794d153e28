"""JSON over HTTP, with connections that are kept and shared by threads."""

from __future__ import annotations

import datetime
import json
from typing import Any

import numpy
import urllib3

from ._errors import ConnectionFailed, problem

# Every request may be repeated: reads change nothing, events carry ids, and pushing a row again gives the same row. So one
# that fails with its connection is sent once more.
_RETRIES = urllib3.Retry(total=1, redirect=0, status=0, allowed_methods=None)


class Transport:
    """Sends JSON to one server and reads what it answers."""

    def __init__(self, url: str, api_key: str | None, timeout: float, connections: int) -> None:
        headers = {"accept": "application/json"}
        if api_key is not None:
            headers["authorization"] = f"Bearer {api_key}"
        self._url = url.rstrip("/")
        self._headers = headers
        self._pool = urllib3.PoolManager(
            maxsize=connections, block=True, retries=_RETRIES, timeout=urllib3.Timeout(total=timeout)
        )

    def get(self, path: str) -> Any:
        return self._send("GET", path, None)

    def post(self, path: str, body: dict[str, Any]) -> Any:
        encoded = json.dumps(body, default=_plain, allow_nan=False).encode()
        return self._send("POST", path, encoded)

    def close(self) -> None:
        self._pool.clear()

    def _send(self, method: str, path: str, body: bytes | None) -> Any:
        headers = self._headers if body is None else {**self._headers, "content-type": "application/json"}
        try:
            answer = self._pool.request(method, self._url + path, body=body, headers=headers)
        except urllib3.exceptions.HTTPError as error:
            raise ConnectionFailed(f"{method} {self._url}{path}: {error}") from error
        try:
            content = json.loads(answer.data) if answer.data else {}
        except ValueError:
            content = {"detail": answer.data[:200].decode(errors="replace")}
        if answer.status >= 400:
            raise problem(answer.status, content if isinstance(content, dict) else {})
        return content


def _plain(value: Any) -> Any:
    """What JSON has no word for: arrays and numbers of numpy, and times. A time without a zone is UTC."""
    if isinstance(value, numpy.ndarray):
        return value.tolist()
    if isinstance(value, numpy.generic):
        return value.item()
    if isinstance(value, (datetime.datetime, datetime.date)):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} cannot be sent as JSON: {value!r}")
