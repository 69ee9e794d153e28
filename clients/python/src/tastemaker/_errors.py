"""What can go wrong, by who must act."""

from __future__ import annotations

from typing import Any


class TastemakerError(Exception):
    """Anything that this client raises."""


class ConnectionFailed(TastemakerError):
    """The server could not be reached, or did not answer in time."""


class Problem(TastemakerError):
    """The server refused a request. `errors` has an entry with `field` and `message` for each wrong field."""

    def __init__(self, status: int, body: dict[str, Any]) -> None:
        self.status = status
        self.type: str = body.get("type", "about:blank")
        self.title: str = body.get("title", "")
        self.detail: str = body.get("detail", "")
        self.errors: list[dict[str, str]] = body.get("errors", [])
        self.request_id: str | None = body.get("request_id")
        super().__init__(f"{status} {self.title}: {self.detail}")


class InvalidRequest(Problem):
    """The request is not one that the server takes (400, 413, 415)."""


class NotAllowed(Problem):
    """The API key is missing, unknown, or lacks the scope (401, 403)."""


class NotFound(Problem):
    """There is no such thing (404)."""


class RecordsRefused(Problem):
    """Records were refused, and none was written (422)."""


class Unavailable(Problem):
    """The server cannot do it now; try again later (503, 504, 507)."""


_BY_STATUS: dict[int, type[Problem]] = {
    400: InvalidRequest,
    401: NotAllowed,
    403: NotAllowed,
    404: NotFound,
    413: InvalidRequest,
    415: InvalidRequest,
    422: RecordsRefused,
    503: Unavailable,
    504: Unavailable,
    507: Unavailable,
}


def problem(status: int, body: dict[str, Any]) -> Problem:
    """The error of an answer."""
    return _BY_STATUS.get(status, Problem)(status, body)
