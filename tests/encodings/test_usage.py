"""
JSON objects of the usage API as items: exact, and what no message can carry is a reject.
"""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meterline._proto.meterline.usage.v1.usage_pb2 import RecordUsageRequest
from meterline.encodings.json import parse
from meterline.encodings.rejects import Reject
from meterline.encodings.usage import UsageItem, read_item, usage_body

WHOLE = {
    "customerId": "acme",
    "dimensionId": "seats",
    "recordValue": "12.50",
    "timestamp": "2026-11-22T18:00:00.000000001Z",
    "metadata": {"plan": "pro", "seats": 3, "big": Decimal("1E+2"), "flag": True, "none": None},
    "idempotencyKey": "k",
}
SNAKE = {
    "customer_id": "acme",
    "dimension_id": "seats",
    "record_value": "12.50",
    "timestamp": 1795370400000000001,
    "metadata": {"plan": "pro", "seats": 3, "big": Decimal("1E+2"), "flag": True},
    "id": "k",
}
ITEM = UsageItem(
    "acme",
    "seats",
    "12.50",
    1795370400000000001,
    {"plan": "pro", "seats": "3", "big": "1E+2", "flag": "true"},
    "k",
)


@pytest.mark.parametrize("value", [WHOLE, SNAKE], ids=["camel", "snake"])
def test_all_fields(value: dict[str, Any]) -> None:
    """Both spellings are the same item."""
    assert read_item(value) == ITEM


def test_the_message() -> None:
    """A protobuf library reads what was written."""
    request = RecordUsageRequest.FromString(usage_body([ITEM, UsageItem("", "", "")], 7).data)
    first, second = request.items
    assert (first.customer_id, first.dimension_id, first.record_value) == ("acme", "seats", "12.50")
    assert (first.timestamp, first.idempotency_key, request.received_at) == (ITEM.timestamp, "k", 7)
    assert dict(first.metadata) == ITEM.metadata
    assert second.ByteSize() == 0


@pytest.mark.parametrize(
    ("written", "text"),
    [
        ("5", "5"),
        ("5.50", "5.5"),
        ("0.1", "0.1"),
        ("1e3", "1000.0"),
        ("1E-7", "0.0000001"),
        ("-0", "0"),
        ("0e999999", "0"),
        ("12345678901234567890.123456789012345678", "12345678901234567890.123456789012345678"),
        ("99999999999999999999999", "99999999999999999999999"),
        ('"1e3"', "1e3"),
        ('" 1"', " 1"),
        ("null", ""),
    ],
)
def test_values(written: str, text: str) -> None:
    """A JSON number is its exact plain decimal; a text goes on as it is, for the kernel to judge."""
    item = read_item(parse(b'{"recordValue": %s}' % written.encode()))
    assert isinstance(item, UsageItem)
    assert item.record_value == text


@pytest.mark.parametrize(("written", "reason"), [("1e400", "out_of_range"), ("1e-400", "too_many_places")])
def test_numbers_that_nobody_can_write_out(written: str, reason: str) -> None:
    """A number with an absurd exponent is not written out."""
    found = read_item(parse(b'{"recordValue": %s}' % written.encode()))
    assert isinstance(found, Reject)
    assert found.reason == reason


@pytest.mark.parametrize(
    "value",
    [
        5,
        None,
        "text",
        [WHOLE],
        {**WHOLE, "customer": "acme"},
        {**WHOLE, "customer_id": "acme"},
        {**WHOLE, "id": "k"},
        {**WHOLE, "customerId": True},
        {**WHOLE, "customerId": 1.5},
        {**WHOLE, "dimensionId": ["seats"]},
        {**WHOLE, "recordValue": True},
        {**WHOLE, "recordValue": {"a": 1}},
        {**WHOLE, "timestamp": "yesterday"},
        {**WHOLE, "timestamp": True},
        {**WHOLE, "timestamp": -1},
        {**WHOLE, "timestamp": 2**80},
        {**WHOLE, "metadata": "a=b"},
        {**WHOLE, "metadata": {"a": {"b": 1}}},
        {**WHOLE, "metadata": {"a": []}},
        {**WHOLE, "idempotencyKey": {}},
    ],
    ids=range(20),
)
def test_what_cannot_be_carried(value: Any) -> None:
    """It is a reject with the item's JSON, and its detail says nothing of the values."""
    found = read_item(value)
    assert isinstance(found, Reject)
    assert found.reason == "undecodable_item"
    assert "acme" not in found.detail
    assert "yesterday" not in found.detail
    assert found.encoding == "json"
    assert parse(found.item) is not None or value is None


def test_missing_is_for_the_kernel() -> None:
    """What is absent, null or empty is an item that lacks it."""
    assert read_item({}) == UsageItem("", "", "")
    assert read_item(dict.fromkeys(WHOLE)) == UsageItem("", "", "")
    assert read_item({"timestamp": "", "customerId": ""}) == UsageItem("", "", "")


def test_integers_are_names() -> None:
    """An integer id is its decimal text."""
    assert read_item({"customerId": 7, "dimensionId": 2**70, "id": 0}) == UsageItem("7", str(2**70), "", 0, {}, "0")


def test_the_key_of_the_request() -> None:
    """An item's own key goes before that of its request."""
    assert read_item({}, "r") == UsageItem("", "", "", idempotency_key="r")
    assert read_item({"id": "own"}, "r") == UsageItem("", "", "", idempotency_key="own")


_JSON: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(value=_JSON | st.dictionaries(st.sampled_from([*WHOLE, *SNAKE]), _JSON, max_size=6))
def test_any_json(value: Any) -> None:
    """Any JSON is an item or a reject; the same JSON gives the same bytes."""
    found = read_item(value)
    assert found == read_item(value)
    if isinstance(found, UsageItem):
        assert found.message() == found.message()
