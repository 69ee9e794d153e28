"""The feature store: present values of features, and rows that were computed elsewhere."""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy

from ._transport import Transport


class Features(Mapping[str, Any]):
    """Values of features by name, as they were asked for.

    Of one entity (`entity_id`, `item_id`) each is one value; of several it is a list with one for each. A vector is a numpy
    array of float32, a time a `datetime`, and where there is no value it is None, or the feature's default. `statuses` and
    `event_timestamps` have the same keys and the same shape.
    """

    def __init__(self, answer: dict[str, Any], single: bool) -> None:
        self._values: dict[str, Any] = {}
        self.statuses: dict[str, Any] = {}
        self.event_timestamps: dict[str, Any] = {}
        self.rows: int = answer["rows"]
        for feature in answer["features"]:
            name, read = feature["name"], _READERS.get(feature["type"], lambda value: value)
            values = [None if value is None else read(value) for value in feature["values"]]
            times = [None if time is None else _time(time) for time in feature["event_timestamps"]]
            self._values[name] = values[0] if single else values
            self.statuses[name] = feature["statuses"][0] if single else feature["statuses"]
            self.event_timestamps[name] = times[0] if single else times

    def __getitem__(self, name: str) -> Any:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"Features({self._values!r})"


def _time(text: str) -> datetime.datetime:
    return datetime.datetime.fromisoformat(text)


_READERS = {"vector": lambda value: numpy.asarray(value, dtype=numpy.float32), "time": _time}


class FeatureStore:
    """Made by a `Client`."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def get_online_features(
        self,
        entity_id: str | None = None,
        feature_names: Sequence[str] | None = None,
        *,
        entity_ids: Sequence[str] | None = None,
        item_id: str | None = None,
        item_ids: Sequence[str] | None = None,
        feature_service: str | None = None,
        context: Mapping[str, Any] | None = None,
    ) -> Features:
        """Reads the present values of `feature_names`, or of the features of `feature_service`.

        `entity_id` is a user and `entity_ids` are users; `item_id` and `item_ids` are items. Users and items together are
        pairs: as many of both, or one of either with many of the other. `context` has the request's parameters.

        Raises `InvalidRequest` if a name is unknown, or if a feature is of an entity whose id is not given.
        """
        users, items = _ids("entity", entity_id, entity_ids), _ids("item", item_id, item_ids)
        body: dict[str, Any] = {"entities": {}}
        for entity, ids in (("user", users), ("item", items)):
            if ids is not None:
                body["entities"][entity] = ids
        if feature_names is not None:
            body["features"] = list(feature_names)
        if feature_service is not None:
            body["feature_service"] = feature_service
        if context:
            body["context"] = dict(context)
        single = entity_ids is None and item_ids is None
        return Features(self._transport.post("/v1/features/online", body), single)

    def list(self) -> dict[str, Any]:
        """Every feature (`features`) and every list of features (`feature_services`) that the project declares."""
        return self._transport.get("/v1/features")

    def push(self, view: str, rows: Sequence[Mapping[str, Any]] | Mapping[str, Sequence[Any]]) -> int:
        """Writes rows of a feature view, given as rows or as columns; says how many.

        Each has `user_id`, `item_id` or both, and values of the view's features; `event_timestamp` says since when they
        hold, the present if it is left out of all. All rows are written, or `RecordsRefused` names what is wrong.
        """
        if isinstance(rows, Mapping):
            columns = {name: list(values) for name, values in rows.items()}
        else:
            names = list(dict.fromkeys(name for row in rows for name in row))
            columns = {name: [row.get(name) for row in rows] for name in names}
        return self._transport.post("/push", {"push_source_name": view, "df": columns})


def _ids(what: str, one: str | None, many: Sequence[str] | None) -> list[str] | None:
    if one is not None and many is not None:
        raise TypeError(f"give {what}_id or {what}_ids, not both")
    if isinstance(many, str):
        raise TypeError(f"{what}_ids is a list of ids; for one, give {what}_id")
    ids = [one] if one is not None else many
    return None if ids is None else [str(id) for id in ids]
