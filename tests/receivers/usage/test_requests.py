"""
The forms of a request of the usage API, and the keys of its items.
"""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meterline.api import Format
from meterline.errors import UndecodableError
from meterline.receivers.usage.requests import LINES_TYPES, read_request

JSON = "application/json"
LINES = "application/x-ndjson"
ONE = {"customerId": "acme", "dimensionId": "seats", "recordValue": 1}


def read(data: Any, key: str = "", media_type: str = JSON) -> Any:
    """Read a request that is written as JSON, or is bytes."""
    return read_request(data if isinstance(data, bytes) else json.dumps(data).encode(), media_type, key)


@pytest.mark.parametrize(
    ("data", "count"), [(ONE, 1), ([ONE, ONE], 2), ({"records": [ONE]}, 1), ([], 0), ({"records": []}, 0)]
)
def test_forms(data: Any, count: int) -> None:
    """One object, an array, and an object with records."""
    told = read(data)
    assert (len(told.items), told.total, told.refused) == (count, count, {})


@pytest.mark.parametrize(
    "data", [5, "x", None, True, {"records": ONE}, {"records": [ONE], "id": "k"}, {"records": None}]
)
def test_forms_that_are_not_known(data: Any) -> None:
    """Anything else refuses the request."""
    with pytest.raises(UndecodableError):
        read(data)


@pytest.mark.parametrize("data", [b"", b"{", b"{} {}", b"\xff", b'{"recordValue": NaN}', b"[" * 100_000])
def test_no_json(data: bytes) -> None:
    """What is not one JSON document refuses the request."""
    with pytest.raises(UndecodableError):
        read(data)


@pytest.mark.parametrize("media_type", sorted(LINES_TYPES))
def test_lines(media_type: str) -> None:
    """A broken line is refused alone; empty lines are no items."""
    line = json.dumps(ONE).encode()
    told = read(line + b"\r\n\n  \n{\n" + line + b"\n\xff\n5\n" + line, media_type=media_type)
    assert (list(told.told), sorted(told.refused), told.total) == ([0, 2, 5], [1, 3, 4], 6)
    assert [told.refused[place].item for place in (1, 3, 4)] == [b"{", b"\xff", b"5"]
    assert {reject.reason for reject in told.refused.values()} == {"undecodable_item"}
    assert read(b"\n", media_type=media_type).total == 0


def test_bodies() -> None:
    """Items and rejects go in a body each; without any there is none."""
    assert [body.fmt for body in read([ONE, 5]).bodies(0)] == [Format.USAGE, Format.REJECTS]
    assert [body.fmt for body in read([5]).bodies(0)] == [Format.REJECTS]
    assert read([]).bodies(0) == []


def test_keys_of_a_request() -> None:
    """A single object takes the request's key; each of several takes it with its place, which no single one is likely to be."""
    assert [item.idempotency_key for item in read(ONE, "k").items] == ["k"]
    for form, media_type in (
        ([ONE, {**ONE, "id": "own"}, ONE], JSON),
        ({"records": [ONE, {**ONE, "id": "own"}, ONE]}, JSON),
    ):
        assert [item.idempotency_key for item in read(form, "k", media_type).items] == ['["k",0]', "own", '["k",2]']
    line = json.dumps(ONE).encode()
    assert [item.idempotency_key for item in read(line + b"\nx\n" + line, "k", LINES).items] == ['["k",0]', '["k",2]']


@given(data=st.binary(max_size=200), media_type=st.sampled_from([JSON, LINES]))
def test_any_bytes(data: bytes, media_type: str) -> None:
    """Any bytes are a request or undecodable; the same bytes give the same bodies."""
    try:
        told = read(data, "k", media_type)
    except UndecodableError:
        return
    assert told.bodies(0) == read(data, "k", media_type).bodies(0)
    assert len(told.told) + len(told.refused) == told.total


SAID_ONCE = b'{"customerId": "a", "dimensionId": "d", "recordValue": "1"}'
TWO_VALUES = b'{"customerId": "a", "dimensionId": "d", "recordValue": "1", "recordValue": "2"}'
SAME_VALUE = b'{"customerId": "a", "dimensionId": "d", "recordValue": "1", "recordValue": "1"}'


@pytest.mark.parametrize(
    ("body", "media_type", "place"),
    [
        (TWO_VALUES, "application/json", 0),
        (b"[%s, %s, %s]" % (SAID_ONCE, TWO_VALUES, SAME_VALUE), "application/json", 1),
        (b'{"records": [%s, %s]}' % (SAID_ONCE, TWO_VALUES), "application/json", 1),
        (b"%s\n%s\n%s" % (SAID_ONCE, TWO_VALUES, SAID_ONCE), "application/x-ndjson", 1),
    ],
)
def test_an_item_that_says_a_key_twice_is_not_billed(body: bytes, media_type: str, place: int) -> None:
    """Neither of two values is chosen: the item goes to quarantine with both, and its neighbours are billed."""
    told = read_request(body, media_type, "")
    assert {at: reject.reason for at, reject in told.refused.items()} == {place: "duplicate_key"}
    assert b'"recordValue":"1","recordValue":"2"' in told.refused[place].item
    assert [item.record_value for item in told.items] == ["1"] * (told.total - 1)


def test_two_lists_of_records_are_undecodable() -> None:
    """Which of them was meant is not known."""
    with pytest.raises(UndecodableError):
        read_request(b'{"records": [%s], "records": []}' % SAID_ONCE, "application/json", "")
