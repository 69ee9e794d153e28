"""Feast's own SDK against a real server, with nothing of ours between them."""

import datetime
import pathlib
from datetime import timedelta, timezone

import pytest

feast = pytest.importorskip("feast", reason="Feast's SDK is not installed; `cargo xtask test` installs it")

import pandas  # noqa: E402
from feast import Entity, FeatureService, FeatureStore, FeatureView, Field, FileSource, PushSource, ValueType  # noqa: E402
from feast.protos.feast.serving.ServingService_pb2 import FieldStatus  # noqa: E402
from feast.types import Array, Bool, Float32, Float64, Int64, String, UnixTimestamp  # noqa: E402

FEATURES = ["user:recent_click_count", "user:session_items", "worth:lifetime_value", "worth:segment"]


@pytest.fixture(scope="module")
def store(server, client, tmp_path_factory):
    """A Feast project whose online store is our server."""
    folder: pathlib.Path = tmp_path_factory.mktemp("feast")
    (folder / "feature_store.yaml").write_text(
        f"project: shop\nregistry: {folder}/registry.db\nprovider: local\nentity_key_serialization_version: 3\n"
        f"offline_store: {{type: file}}\nonline_store: {{type: remote, path: {server.url}}}\n"
    )
    user = Entity(name="user", join_keys=["user_id"], value_type=ValueType.STRING)
    table = FileSource(name="table", path=str(folder / "worth.parquet"), timestamp_field="event_timestamp")
    columns = {
        "lifetime_value": Float64,
        "segment": String,
        "vip": Bool,
        "since": UnixTimestamp,
        "labels": Array(String),
        "taste": Array(Float32),
    }
    schema = [Field(name=name, dtype=dtype) for name, dtype in columns.items()]
    key = Field(name="user_id", dtype=String)
    worth = FeatureView(
        name="worth",
        entities=[user],
        ttl=timedelta(days=7),
        schema=[key, *schema],
        source=PushSource(name="worth", batch_source=table),
    )
    streaming = [Field(name="recent_click_count", dtype=Int64), Field(name="session_items", dtype=Array(String))]
    of_user = FeatureView(name="user", entities=[user], schema=[key, *streaming], source=table)
    ranking = FeatureService(name="ranking", features=[of_user[["recent_click_count"]], worth[["lifetime_value"]]])
    store = FeatureStore(repo_path=str(folder))
    pandas.DataFrame(
        {
            "user_id": ["x"],
            "lifetime_value": [1.0],
            "segment": ["x"],
            "vip": [True],
            "since": [now()],
            "labels": [["x"]],
            "taste": [[1.0]],
            "recent_click_count": [1],
            "session_items": [["x"]],
            "event_timestamp": [now()],
        }
    ).to_parquet(folder / "worth.parquet")
    store.apply([user, table, worth, of_user, ranking])
    for item, ago in (("tea", 2), ("pot", 1)):
        client.events([{"type": "click", "user_id": "fay", "item_id": item, "timestamp": now() - timedelta(minutes=ago)}])
    return store


def now() -> datetime.datetime:
    return datetime.datetime.now(timezone.utc)


def pushed(user: str, value: float, **more) -> pandas.DataFrame:
    row = {
        "user_id": user,
        "lifetime_value": value,
        "segment": "gold",
        "vip": True,
        "since": pandas.Timestamp("2026-01-02T03:04:05Z"),
        "labels": ["a", "b"],
        "taste": [0.5, -1.0],
        "event_timestamp": now(),
        **more,
    }
    return pandas.DataFrame([row])


def test_streaming_and_batch_features_in_one_read(store):
    store.push("worth", pushed("fay", 12.5))
    rows = [{"user_id": "fay"}, {"user_id": "stranger"}]
    response = store.get_online_features(features=FEATURES, entity_rows=rows)
    answer = response.to_dict()
    assert answer["user_id"] == ["fay", "stranger"]
    assert answer["recent_click_count"] == [2, None]
    assert answer["session_items"] == [["pot", "tea"], None]
    assert answer["lifetime_value"] == [12.5, None] and answer["segment"] == ["gold", None]
    names = list(response.proto.metadata.feature_names.val)
    assert response.proto.results[names.index("lifetime_value")].statuses[1] == FieldStatus.NOT_FOUND


def test_every_type_goes_there_and_back(store):
    store.push("worth", pushed("gil", 0.1))
    features = [f"worth:{name}" for name in ("lifetime_value", "vip", "since", "labels", "taste")]
    answer = store.get_online_features(features=features, entity_rows=[{"user_id": "gil"}]).to_dict()
    assert answer["lifetime_value"] == [0.1] and answer["vip"] == [True]
    assert answer["labels"] == [["a", "b"]] and answer["taste"] == [[0.5, -1.0]]
    assert answer["since"] == ["2026-01-02T03:04:05Z"]


def test_full_feature_names_and_a_feature_service(store):
    store.push("worth", pushed("hal", 3.0))
    rows = [{"user_id": "hal"}]
    full = store.get_online_features(features=FEATURES[2:], entity_rows=rows, full_feature_names=True).to_dict()
    assert set(full) == {"user_id", "worth__lifetime_value", "worth__segment"}
    service = store.get_online_features(features=store.get_feature_service("ranking"), entity_rows=rows).to_dict()
    assert service["lifetime_value"] == [3.0] and service["recent_click_count"] == [None]


def test_the_newest_row_counts_and_the_ttl_holds(store):
    read = lambda user: store.get_online_features(  # noqa: E731
        features=["worth:lifetime_value"], entity_rows=[{"user_id": user}]
    )
    store.write_to_online_store("worth", pushed("ida", 2.0))
    store.write_to_online_store("worth", pushed("ida", 1.0, event_timestamp=now() - timedelta(days=1)))
    assert read("ida").to_dict()["lifetime_value"] == [2.0]
    store.write_to_online_store("worth", pushed("jan", 1.0, event_timestamp=now() - timedelta(days=8)))
    expired = read("jan")
    assert expired.to_dict()["lifetime_value"] == [None]
    assert expired.proto.results[1].statuses[0] == FieldStatus.OUTSIDE_MAX_AGE


def test_values_of_nothing_are_readable(store, client):
    hour = timedelta(hours=1)
    client.events([{"type": "click", "user_id": "lea", "item_id": "tea", "timestamp": now() - hour}])
    answer = store.get_online_features(features=FEATURES[:2], entity_rows=[{"user_id": "lea"}]).to_dict()
    assert answer["recent_click_count"] == [0]
    assert answer["session_items"] == [None], "no session is under way, and Feast's client cannot read an empty list"


def test_a_wrong_name_is_refused_with_our_words(store):
    with pytest.raises(RuntimeError, match="did you mean"):
        store.get_online_features(features=["worth:lifetime_valu"], entity_rows=[{"user_id": "fay"}])
