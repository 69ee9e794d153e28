"""The client against a real server."""

import datetime
import threading
import time
from datetime import timedelta, timezone

import numpy
import pytest

import tastemaker


def now() -> datetime.datetime:
    return datetime.datetime.now(timezone.utc)


def click(user: str, item: str, ago: timedelta = timedelta()) -> dict:
    return {"type": "click", "user_id": user, "item_id": item, "timestamp": now() - ago}


def test_features_of_one_user(client):
    minute = timedelta(minutes=1)
    client.events([click("ann", "tea", 5 * minute), click("ann", "pot", 2 * minute)])
    names = ["user_embedding", "recent_click_count", "session_duration"]
    features = client.feature_store.get_online_features(entity_id="ann", feature_names=names)
    assert list(features) == names
    assert features["recent_click_count"] == 2
    assert features["session_duration"] == pytest.approx(180, abs=1)
    assert features.statuses["session_duration"] == "PRESENT"
    age = now() - features.event_timestamps["session_duration"]
    assert timedelta(minutes=2) <= age < timedelta(minutes=3)


def test_a_user_that_nobody_knows(client):
    features = client.feature_store.get_online_features("stranger", ["recent_click_count"])
    assert dict(features) == {"recent_click_count": None}
    assert features.statuses == {"recent_click_count": "NOT_FOUND"}
    assert features.event_timestamps == {"recent_click_count": None}


def test_many_users_and_pairs(client):
    client.events([click("eve", "tea"), click("eve", "tea"), click("bob", "tea")])
    features = client.feature_store.get_online_features(
        entity_ids=["eve", "stranger", "bob"], feature_names=["recent_click_count"]
    )
    assert features["recent_click_count"] == [2, None, 1]
    assert features.statuses["recent_click_count"] == ["PRESENT", "NOT_FOUND", "PRESENT"]
    pairs = client.feature_store.get_online_features(
        entity_id="eve",
        item_ids=["tea", "pot"],
        feature_names=["pair.clicks", "cheap_on_phone"],
        context={"device": "phone"},
    )
    assert pairs["pair.clicks"] == [2, None]
    assert pairs.rows == 2
    one = client.feature_store.get_online_features(entity_id="eve", item_id="tea", feature_names=["pair.clicks"])
    assert one["pair.clicks"] == 2


def test_embeddings_are_float32_arrays(server, client):
    read = client.feature_store.get_online_features
    server.run("train", "--no-holdout")
    deadline = time.monotonic() + 30
    while read("u1", ["user_embedding"])["user_embedding"] is None and time.monotonic() < deadline:
        time.sleep(0.05)
    vector = read("u1", ["user_embedding"])["user_embedding"]
    assert vector.dtype == numpy.float32 and vector.shape == (8,) and numpy.isfinite(vector).all()
    items = read(item_ids=["i0", "i1", "nothing"], feature_names=["item_embedding"])["item_embedding"]
    assert numpy.stack(items[:2]).shape == (2, 8) and items[2] is None
    assert client.recommend("u1", limit=3)["generation"] == 1


def test_pushed_rows_come_back_as_they_were(client):
    since = datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone.utc)
    taste = numpy.array([0.1, -2.5, 1e-8], dtype=numpy.float32)
    row = {
        "user_id": "kim",
        "lifetime_value": numpy.float64(0.1),
        "segment": "gold",
        "vip": True,
        "since": since,
        "labels": ["a", "b"],
        "taste": taste,
    }
    assert client.feature_store.push("worth", [row]) == 1
    features = client.feature_store.get_online_features("kim", [name for name in row if name != "user_id"])
    assert numpy.array_equal(features["taste"], taste)
    assert features["lifetime_value"] == 0.1 and features["since"] == since
    assert (features["segment"], features["vip"], features["labels"]) == ("gold", True, ["a", "b"])
    old = {"user_id": ["kim"], "lifetime_value": [3], "event_timestamp": [since]}
    assert client.feature_store.push("worth", old) == 1, "columns work, too"
    assert client.feature_store.get_online_features("kim", ["lifetime_value"])["lifetime_value"] == 0.1


def test_refusals_are_typed_and_say_what_to_do(server, client):
    with pytest.raises(tastemaker.InvalidRequest, match="did you mean 'recent_click_count'") as refused:
        client.feature_store.get_online_features("ann", ["recent_clik_count"])
    assert refused.value.status == 400 and refused.value.errors[0]["field"] == "features[0]"
    assert refused.value.request_id
    with pytest.raises(tastemaker.RecordsRefused) as refused:
        client.feature_store.push("worth", [{"user_id": "a", "vip": 1}, {"user_id": "", "vip": True}])
    assert [error["field"] for error in refused.value.errors] == ["df.vip[0]", "df.user_id[1]"]
    with pytest.raises(tastemaker.RecordsRefused, match="did you mean 'click'"):
        client.events([{"type": "clik", "user_id": "a", "item_id": "b"}])
    with pytest.raises(TypeError, match="not both"):
        client.feature_store.get_online_features("a", ["x"], entity_ids=["b"])
    with pytest.raises(TypeError, match="list of ids"):
        client.feature_store.get_online_features(entity_ids="ann", feature_names=["x"])
    with pytest.raises(ValueError):
        client.feature_store.push("worth", [{"user_id": "a", "lifetime_value": float("nan")}])


def test_a_server_that_is_not_there_is_told_soon():
    client = tastemaker.Client("http://127.0.0.1:9", timeout=1)
    with pytest.raises(tastemaker.ConnectionFailed):
        client.recommend("ann")


def test_the_list_of_features(client):
    listed = client.feature_store.list()
    sources = {feature["name"]: feature["source"] for feature in listed["features"]}
    assert sources["recent_click_count"] == "stream" and sources["lifetime_value"] == "batch"
    assert listed["feature_services"][0]["name"] == "ranking"


def test_threads_share_a_client(client):
    client.events([click("dan", "tea")])
    answers, errors = [], []

    def read():
        try:
            for _ in range(20):
                answers.append(client.feature_store.get_online_features("dan", ["session_items"])["session_items"])
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=read) for _ in range(8)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert errors == [] and answers == [["tea"]] * 160
