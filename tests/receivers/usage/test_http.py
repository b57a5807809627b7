"""
The usage API over HTTP, with a real kernel behind it.
"""

import gzip
import json
from collections.abc import Callable
from typing import Any

import pytest

from meterline.api import Format, Status

AT = "2026-11-22T18:00:00Z"
ONE = {"customerId": "acme", "dimensionId": "seats", "recordValue": "12.5", "timestamp": AT, "idempotencyKey": "k"}


def test_one(site: Any) -> None:
    """One object becomes one record, whose id is in the answer; the same again is a duplicate of that id."""
    answer = site.post(ONE)
    (record,) = site.intake.kernel.records()
    assert (answer.status, answer.headers["Content-Type"]) == (200, "application/json")
    assert answer.json() == {
        "results": [{"index": 0, "outcome": "recorded", "id": record.id}],
        "recorded": 1,
        "duplicate": 0,
        "no_usage": 0,
        "quarantined": 0,
    }
    assert (str(record.value), record.kind, record.timestamp) == ("12.5", "manual", 1_795_370_400 * 10**9)
    assert site.results(ONE) == [{"index": 0, "outcome": "duplicate", "id": record.id}]


def test_a_batch_with_everything(site: Any) -> None:
    """Good items are recorded, each bad one has its reason, and the results stand in the order of the request."""
    other = {**ONE, "idempotencyKey": "other"}
    items = [
        5,
        ONE,
        {**ONE, "recordValue": 13},
        {"x": 1},
        {**other, "recordValue": 0},
        {**ONE, "customerId": ""},
        other,
    ]
    results = site.results(items)
    assert [(each["index"], each["outcome"], each.get("reason")) for each in results] == [
        (0, "quarantined", "undecodable_item"),
        (1, "recorded", None),
        (2, "quarantined", "conflict"),
        (3, "quarantined", "undecodable_item"),
        (4, "no_usage", None),
        (5, "quarantined", "no_customer"),
        (6, "quarantined", "conflict"),
    ]
    assert results[2]["id"] == results[1]["id"]
    assert results[0]["message"].startswith("reading item: ")
    assert [body.fmt for body in site.intake.bodies] == [Format.USAGE, Format.REJECTS]
    assert len(site.intake.kernel.quarantine) == 5


@pytest.mark.parametrize("form", [list, lambda items: {"records": list(items)}], ids=["array", "records"])
def test_the_key_of_a_batch(site: Any, form: Callable[[Any], Any]) -> None:
    """A repeated batch with an Idempotency-Key counts once, in quotes or not; another key counts anew."""
    bare = {name: value for name, value in ONE.items() if name != "idempotencyKey"}
    for key, outcome in (("a", "recorded"), ('"a"', "duplicate"), ("b", "recorded")):
        results = site.results(form([bare, bare]), Idempotency_Key=key)
        assert [each["outcome"] for each in results] == [outcome] * 2
    assert len({record.id for record in site.intake.kernel.records()}) == 4


def test_the_key_of_one(site: Any) -> None:
    """The header is the key of a single object that has none; it is the same key as in the item."""
    bare = {name: value for name, value in ONE.items() if name != "idempotencyKey"}
    assert site.results(bare, Idempotency_Key="k")[0]["outcome"] == "recorded"
    assert site.results(ONE)[0]["outcome"] == "duplicate"


@pytest.mark.parametrize(
    "media_type", ["application/x-ndjson", "application/ndjson; charset=utf-8", "application/jsonl"]
)
def test_lines(site: Any, media_type: str) -> None:
    """NDJSON is an item a line, and a broken line is in quarantine alone."""
    body = json.dumps(ONE).encode() + b'\n{"customerId": \n\n' + json.dumps({**ONE, "id": 2}).encode()
    outcomes = [each["outcome"] for each in site.results(body, media_type)]
    assert outcomes == ["recorded", "quarantined", "quarantined"]


def test_compressed(site: Any) -> None:
    """A compressed body is the same request."""
    assert site.results(gzip.compress(json.dumps(ONE).encode()), Content_Encoding="gzip")[0]["outcome"] == "recorded"


def test_nothing(site: Any) -> None:
    """A batch of nothing is stored, and says so."""
    assert site.results([]) == []
    assert site.results(b"", "application/x-ndjson") == []


REFUSED = [
    (b"5", "application/json", 400),
    (b"{", "application/json", 400),
    (b"", "application/json", 400),
    (b"{}{}", "application/json", 400),
    (b"{}", "text/plain", 415),
    (b"a=b", "application/x-www-form-urlencoded", 415),
    (b"{}", "application/json; charset=latin-1", 415),
    (b" " * 2000, "application/json", 413),
]


@pytest.mark.parametrize(("body", "media_type", "status"), REFUSED, ids=range(len(REFUSED)))
def test_refused(make: Any, body: bytes, media_type: str, status: int) -> None:
    """What is refused as a whole is told as RFC 9457 says, and nothing is stored."""
    site = make(http={"max_request_bytes": 1999})
    answer = site.post(body, media_type)
    assert (answer.status, answer.headers["Content-Type"]) == (status, "application/problem+json")
    assert answer.json()["status"] == status
    assert site.intake.bodies == []


def test_other_methods(site: Any) -> None:
    """Only POST is served there."""
    answer = site.request("GET", "/v1/usage")
    assert answer.status == 405
    assert "POST" in answer.headers["Allow"]


def test_not_now(site: Any) -> None:
    """What is not stored is 503 with a time to wait, never a 4xx."""
    site.intake.status = Status.RETRY
    answer = site.post(ONE)
    assert answer.status == 503
    assert int(answer.headers["Retry-After"]) >= 1


def test_missing_timestamps(make: Any) -> None:
    """Without a timestamp an item is in quarantine, or, if the config says so and it has a key, has the time of reception."""
    item = {key: value for key, value in ONE.items() if key != "timestamp"}
    assert make().results(item)[0]["reason"] == "time_missing"
    site = make(missing_timestamp="received")
    bare = {key: value for key, value in item.items() if key != "idempotencyKey"}
    assert [each["outcome"] for each in site.results([item, item, bare])] == ["recorded", "duplicate", "quarantined"]
    assert [record.timestamp for record in site.intake.kernel.records()] == [1_795_370_400 * 10**9]


def test_a_body_quarantined_whole(site: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A body that our own code fails on is refused twice, then kept, and the answer says so."""

    def fail(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("meterline.receivers.usage.http_api.read_request", fail)
    assert [site.post(ONE).status for _ in range(2)] == [503, 503]
    answer = site.post(ONE)
    assert (answer.status, answer.json()["quarantined"], answer.json()["results"]) == (200, 1, [])


KEYS = {"keys": [{"name": "a", "token": "for-acme", "customers": ["acme"]}, {"name": "b", "token": "for-all"}]}


def test_credentials(make: Any) -> None:
    """Without a right key it is 401; a key bound to a customer writes for no other."""
    site = make(http={"auth": KEYS})
    assert site.post(ONE).status == 401
    assert site.post(ONE, Authorization="Bearer wrong").status == 401
    items = [ONE, {**ONE, "customerId": "other"}]
    bound = site.results(items, X_Api_Key="for-acme")
    assert [each.get("reason") for each in bound] == [None, "forbidden_customer"]
    assert [each["outcome"] for each in site.results(items, Authorization="Bearer for-all")] == [
        "duplicate",
        "recorded",
    ]


def test_limits_of_a_key(make: Any) -> None:
    """What a key's limits say holds for items that come with it."""
    site = make(http={"auth": {"keys": [{"name": "a", "token": "tight", "limits": {"max_attributes": 1}}]}})
    items = [{**ONE, "metadata": {"a": 1}}, {**ONE, "id": "l", "metadata": {"a": 1, "b": 2}}]
    items[1].pop("idempotencyKey")
    results = site.results(items, X_Api_Key="tight")
    assert [each.get("reason") for each in results] == [None, "too_many_attributes"]
