"""The client."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Any

from ._features import FeatureStore
from ._transport import Transport


class Client:
    """Talks to one server. Keeps up to `connections` connections, and may be shared by threads.

    `timeout` is in seconds, for one try of one request. Refusals are a `Problem`, and a server that cannot be reached is
    `ConnectionFailed`.
    """

    def __init__(
        self, url: str, api_key: str | None = None, *, timeout: float = 10.0, connections: int = 16
    ) -> None:
        self._transport = Transport(url, api_key, timeout, connections)
        self.feature_store = FeatureStore(self._transport)

    def events(self, events: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
        """Records events (`type`, `user_id`, `item_id`; `timestamp`, `value` and more if there are), and says what became
        of each. One without an `event_id` gets one here, so that none is recorded twice.
        """
        named = [{"event_id": str(uuid.uuid4()), **event} for event in events]
        return self._transport.post("/v1/events", {"events": named})

    def recommend(self, user_id: str, *, limit: int | None = None, **options: Any) -> dict[str, Any]:
        """The best items for a user, with the `request_id` to send with the events that follow. `options` are the other
        fields of `POST /v1/recommendations`: `filter`, `params`, `exclude`, `include_seen`, `candidates`, `explain`.
        """
        body = {"user_id": user_id, **options}
        if limit is not None:
            body["limit"] = limit
        return self._transport.post("/v1/recommendations", body)

    def close(self) -> None:
        """Closes the connections."""
        self._transport.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
