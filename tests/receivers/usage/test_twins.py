"""
One item over HTTP in either spelling, as a line, and over gRPC: the same outcome, the same reason, the same record.
"""

import json
from decimal import Decimal
from typing import Any

import pytest

from meterline._proto.meterline.usage.v1 import usage_pb2 as pb
from meterline.encodings.times import nanoseconds

AT = "2026-11-22T18:00:00Z"
ONE = {"customer_id": "acme", "dimension_id": "seats", "record_value": "12.5", "timestamp": AT}
OUTCOMES = {
    pb.USAGE_OUTCOME_RECORDED: "recorded",
    pb.USAGE_OUTCOME_DUPLICATE: "duplicate",
    pb.USAGE_OUTCOME_NO_USAGE: "no_usage",
    pb.USAGE_OUTCOME_QUARANTINED: "quarantined",
}
VALUES = ["0", "-0", "-1", "", "x", "1e5", "1_000", "NaN", "0.000000000000000001", "1e-19", "0.0000000000000000001"]
VALUES += ["99999999999999999999.999999999999999999", "100000000000000000000", "9007199254740993", "12.50"]
STORIES: list[list[dict[str, Any]]] = [
    *([{**ONE, "record_value": value}] for value in VALUES),
    [ONE, ONE],
    [{**ONE, "idempotency_key": "k"}, {**ONE, "idempotency_key": "k"}],
    [{**ONE, "idempotency_key": "k"}, {**ONE, "idempotency_key": "k", "record_value": "13"}],
    [{**ONE, "idempotency_key": "k"}, {**ONE, "idempotency_key": "k", "metadata": {"a": "b"}}],
    [{**ONE, "idempotency_key": "k"}, {**ONE, "idempotency_key": "k", "timestamp": "2026-11-22T17:59:59Z"}],
    [{**ONE, "idempotency_key": "k"}, {**ONE, "idempotency_key": "k", "customer_id": "other"}],
    [{**ONE, "idempotency_key": "k", "record_value": "0"}, {**ONE, "idempotency_key": "k"}],
    [{**ONE, "customer_id": ""}, {**ONE, "dimension_id": ""}, {**ONE, "timestamp": None}],
    [{**ONE, "timestamp": "2024-01-01T00:00:00Z"}, {**ONE, "timestamp": "2027-01-01T00:00:00Z"}],
    [{**ONE, "metadata": {"k" * 257: "v"}}, {**ONE, "metadata": {"k": "v" * 4097}}, {**ONE, "customer_id": "c" * 4097}],
]
CAMEL = {"customer_id": "customerId", "dimension_id": "dimensionId", "record_value": "recordValue"}
CAMEL |= {"idempotency_key": "idempotencyKey"}


def by_json(site: Any, story: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    """Tell all of it in one array."""
    return [(each["outcome"], each.get("id", ""), each.get("reason", "")) for each in site.results(story)]


def by_camel(site: Any, story: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    """Tell it with the other spelling of the names."""
    return by_json(site, [{CAMEL.get(name, name): value for name, value in item.items()} for item in story])


def by_lines(site: Any, story: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    """Tell it line by line."""
    results = site.results("\n".join(map(json.dumps, story)).encode(), "application/x-ndjson")
    return [(each["outcome"], each.get("id", ""), each.get("reason", "")) for each in results]


def by_grpc(site: Any, story: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    """Tell it in one message."""
    items = [pb.UsageItem(**{**item, "timestamp": nanoseconds(item["timestamp"] or "")}) for item in story]
    results = site.call(pb.RecordUsageRequest(items=items)).results
    return [(OUTCOMES[each.outcome], each.id.hex(), each.reason) for each in results]


@pytest.mark.parametrize("story", STORIES, ids=range(len(STORIES)))
def test_every_door_says_the_same(make: Any, story: list[dict[str, Any]]) -> None:
    """What is told at one door is told, answered and kept as at any other; told again at another, it adds nothing."""
    sites = [make() for _ in range(4)]
    doors = [by_json, by_camel, by_lines, by_grpc]

    answers = [door(site, story) for door, site in zip(doors, sites, strict=True)]

    assert answers == [answers[0]] * 4
    records = [site.intake.kernel.records() for site in sites]
    kept = [[(record.id, record.value, record.timestamp) for record in found] for found in records]
    assert kept == [kept[0]] * 4
    for site, door in zip(sites, reversed(doors), strict=True):
        assert "recorded" not in [outcome for outcome, *_ in door(site, story)]
    assert [len(site.intake.kernel.records()) for site in sites] == [len(kept[0])] * 4


EXACT = ["9007199254740993", "9007199254740993.000000000000000001", "0.1", "1e2", "1E-18", "99999999999999999999"]


@pytest.mark.parametrize("written", EXACT)
def test_a_json_number_counts_as_it_is_written(site: Any, written: str) -> None:
    """No number goes through a float, however many digits it has; the same as text is the same."""
    told = json.dumps({**ONE, "record_value": 0, "idempotency_key": "k"}).replace(
        '"record_value": 0', '"record_value": %s'
    )

    (result,) = site.results((told % written).encode())
    (record,) = site.intake.kernel.records()

    assert Decimal(str(record.value)) == Decimal(written)
    assert (result["outcome"], result["id"]) == ("recorded", record.id)
    assert site.results((told % f'"{record.value}"').encode())[0]["outcome"] == "duplicate"


TIMES = [
    "2026-11-22T18:00:00Z",
    "2026-11-22t18:00:00z",
    "2026-11-22T19:00:00+01:00",
    "2026-11-22T18:00:00.000000000Z",
    "2026-11-22 18:00:00Z",
    "2026-11-22T18:00:00",
    1_795_370_400,
    1_795_370_400.0,
    "1795370400",
    1_795_370_400_000,
    1_795_370_400_000_000,
    1_795_370_400_000_000_000,
    "1795370400000000000",
]


def test_a_time_in_any_form_is_the_same_time(site: Any) -> None:
    """All forms of the documentation are one instant: the same item, once."""
    results = [site.results({**ONE, "timestamp": time, "id": "k"})[0]["outcome"] for time in TIMES]

    assert results == ["recorded"] + ["duplicate"] * (len(TIMES) - 1)
    assert [record.timestamp for record in site.intake.kernel.records()] == [1_795_370_400 * 10**9]
