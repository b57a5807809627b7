"""
Usage that is told as it is: records of kind manual, their identity, and what is refused.
"""

import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meterline.api.receiver import Format, ItemResult, Limits, Principal
from meterline.encodings.usage import UsageItem, stamped, usage_body
from meterline.errors import UndecodableError
from meterline.kernel import load_kernel
from meterline.kernel.framing import decode_frame
from meterline.kernel.reasons import Reason
from meterline.kernel.seam import Applied, MeterOptions
from meterline.protobuf.write import length_delimited, text
from meterline.testing.kernel import SECOND, KernelHarness, Restart

Make = Callable[..., KernelHarness]


def item(value: str = "5", **changes: Any) -> UsageItem:
    """One item of acme."""
    fields: dict[str, Any] = {"customer_id": "acme", "dimension_id": "seats", "timestamp": 100 * SECOND}
    return UsageItem(**{**fields, "record_value": value, **changes})


def tell(h: KernelHarness, *items: UsageItem, received_at: int = 0, **more: Any) -> Applied:
    """Send items."""
    return h.send(usage_body(items, received_at).data, Format.USAGE, **more)


def outcomes(applied: Applied) -> list[tuple[str, str]]:
    """Outcome and reason of each item."""
    return [(result.outcome, result.reason) for result in applied.items]


def test_a_record(harness: Make) -> None:
    """An item is a record as it was told, of kind and rule manual, without a stream, and its id is in the answer."""
    h = harness()
    applied = tell(h, item("1.50", metadata={"plan": "pro", "b": "ü"}), principal=Principal("crm"))
    (record,) = h.records()
    assert applied.items == (ItemResult("recorded", record.id),)
    assert (record.customer_id, record.dimension_id, str(record.value)) == ("acme", "seats", "1.5")
    assert (record.rule, record.kind, record.timestamp, record.start_timestamp) == ("manual", "manual", 10**11, None)
    assert record.metadata == {"plan": "pro", "b": "ü"}
    assert (record.source.stream, record.source.principal, record.source.rules_hash) == (None, "crm", "hash")
    assert len(h.values()) == 1


def test_lines_say_the_kind(harness: Make) -> None:
    """NDJSON and CSV name the kind."""
    h = harness()
    tell(h, item())
    batch = h.kernel.records(h.frames[0].body, h.names)
    assert b'"rule":"manual","kind":"manual"' in batch.encode("ndjson", range(1))
    assert b",manual,manual," in batch.encode("csv", range(1))


@pytest.mark.parametrize("how", ["frames", "snapshot"])
def test_a_key_is_the_identity(harness: Make, how: Restart) -> None:
    """A customer's key counts once, whoever sends it again; the same key of another customer is another record."""
    h = harness()
    first = tell(h, item(idempotency_key="k")).items[0]
    h.restart(how)
    assert tell(h, item("5.0", idempotency_key="k"), principal=Principal("p")).items == (
        ItemResult("duplicate", first.record_id),
    )
    assert tell(h, item(idempotency_key="k", customer_id="other")).recorded == 1
    assert h.values() == {"acme": "5", "other": "5"}


@pytest.mark.parametrize("how", ["frames", "snapshot"])
@pytest.mark.parametrize(
    "changes",
    [{"record_value": "6"}, {"dimension_id": "calls"}, {"timestamp": 101 * SECOND}, {"metadata": {"a": "b"}}],
)
def test_a_key_with_other_content_is_a_conflict(harness: Make, how: Restart, changes: dict[str, Any]) -> None:
    """A key that comes again with other content is disputed, once, and is never said to be recorded."""
    h = harness()
    first = tell(h, item(idempotency_key="k")).items[0]
    other = item(idempotency_key="k")._replace(**changes)
    disputed = (ItemResult("quarantined", first.record_id, "conflict"),)
    assert tell(h, other).items == disputed
    h.restart(how)
    again = tell(h, other)
    assert (again.items, again.duplicate) == (disputed, 1)
    assert tell(h, item(idempotency_key="k")).items == (ItemResult("duplicate", first.record_id),)
    assert [(entry.kind, entry.reason, entry.rule) for entry in h.quarantine] == [
        ("disputed", Reason.CONFLICT, "manual")
    ]
    assert h.values() == {"acme": "5"}


@pytest.mark.parametrize("how", ["frames", "snapshot"])
def test_without_a_key_the_content_is_the_identity(harness: Make, how: Restart) -> None:
    """Of equal items in a request the k-th is the k-th: the same request again counts nothing, one more item counts one."""
    h = harness()
    assert tell(h, item(), item("5.0"), item("6")).recorded == 3
    h.restart(how)
    assert tell(h, item(), item(), item("6")).duplicate == 3
    assert outcomes(tell(h, item(), item(), item())) == [("duplicate", ""), ("duplicate", ""), ("recorded", "")]
    assert h.values() == {"acme": "21"}


def test_metadata_order_is_no_difference(harness: Make) -> None:
    """The order of metadata is not part of the content."""
    h = harness()
    pairs = [length_delimited(5, text(1, name) + text(2, name)) for name in "ab"]
    for order in (pairs, pairs[::-1]):
        applied = h.send(length_delimited(1, item().message() + b"".join(order)), Format.USAGE)
    assert applied.duplicate == 1


REFUSED = [
    (item(customer_id=""), Reason.NO_CUSTOMER),
    (item(dimension_id=""), Reason.NO_DIMENSION),
    (item(""), Reason.NO_VALUE),
    (item("abc"), Reason.NOT_A_NUMBER),
    (item("1e3"), Reason.NOT_A_NUMBER),
    (item(" 1"), Reason.NOT_A_NUMBER),
    (item("\u0661"), Reason.NOT_A_NUMBER),
    (item("NaN"), Reason.NOT_A_NUMBER),
    (item("-1"), Reason.NEGATIVE_VALUE),
    (item("-0.000000000000000001"), Reason.NEGATIVE_VALUE),
    (item("1" + "0" * 20), Reason.OUT_OF_RANGE),
    (item("9" * 60), Reason.OUT_OF_RANGE),
    (item("0.1234567890123456789"), Reason.TOO_MANY_PLACES),
    (item(timestamp=0), Reason.TIME_MISSING),
    (item(timestamp=0, idempotency_key="k"), Reason.TIME_MISSING),
    (item(timestamp=2**64 - 1), Reason.TIME_IN_FUTURE),
    (item(metadata={"a": "\ud800"}), Reason.BAD_UTF8),
    (item(customer_id="\ud800"), Reason.BAD_UTF8),
]


@pytest.mark.parametrize(
    ("bad", "reason"), REFUSED, ids=[f"{n}-{reason.code}" for n, (_, reason) in enumerate(REFUSED)]
)
def test_what_is_refused(harness: Make, bad: UsageItem, reason: Reason) -> None:
    """A bad item is a raw entry that keeps its bytes, once; its neighbour is recorded; a resend is told the same."""
    h = harness()
    applied = tell(h, item(), bad)
    assert outcomes(applied) == [("recorded", ""), ("quarantined", reason.code)]
    assert applied.reasons == {reason: 1}
    assert outcomes(tell(h, bad)) == [("quarantined", reason.code)]
    (entry,) = h.quarantine
    assert (entry.kind, entry.reason, entry.rule, len(entry.key)) == ("raw", reason, "manual", 16)
    (row,) = decode_frame(h.frames[0].body).quarantine
    assert (row.format, row.payload) == ("usage", usage_body([bad]).data)


def test_the_largest_and_the_smallest_value(harness: Make) -> None:
    """Values below 10^20 with 18 places are exact; trailing zeros are no places."""
    h = harness()
    texts = ["99999999999999999999.999999999999999999", "0.000000000000000001", "7." + "0" * 40, "+3"]
    assert tell(h, *map(item, texts)).recorded == 4
    assert [str(record.value) for record in h.records()] == [texts[0], texts[1], "7", "3"]


def test_zero_is_no_usage(harness: Make) -> None:
    """A value of zero makes no record, and holds its key."""
    h = harness()
    assert outcomes(tell(h, item("0", idempotency_key="k"))) == [("no_usage", "")]
    assert outcomes(tell(h, item("0.00", idempotency_key="k"))) == [("duplicate", "")]
    assert outcomes(tell(h, item("1", idempotency_key="k"))) == [("quarantined", "conflict")]
    assert h.records() == []


def test_times_too_far_away(harness: Make) -> None:
    """A time beyond the bounds is refused, and by the time it is not any more, its open entry still stands."""
    h = harness(options=MeterOptions(max_future_ns=50 * SECOND, max_past_ns=50 * SECOND))
    assert outcomes(tell(h, item(timestamp=1051 * SECOND), item(timestamp=949 * SECOND))) == [
        ("quarantined", "time_in_future"),
        ("quarantined", "time_in_past"),
    ]
    h.received_at = 1010 * SECOND
    assert outcomes(tell(h, item(timestamp=1051 * SECOND))) == [("quarantined", "")]
    assert h.records() == []


@pytest.mark.parametrize("how", ["frames", "snapshot"])
def test_the_time_of_reception(harness: Make, how: Restart) -> None:
    """An item with a key and no time has the time of its first reception; one without a key has none."""
    h = harness()
    keyed = item(timestamp=0, idempotency_key="k")
    assert tell(h, keyed, received_at=1000 * SECOND).recorded == 1
    h.restart(how)
    assert tell(h, keyed, received_at=1005 * SECOND).duplicate == 1
    assert outcomes(tell(h, item(timestamp=0), received_at=1000 * SECOND)) == [("quarantined", "time_missing")]
    assert [record.timestamp for record in h.records()] == [1000 * SECOND]


def test_the_last_stamp_counts(harness: Make) -> None:
    """What a sender puts into received_at is overruled by what is put behind it."""
    h = harness()
    sent = usage_body([item(timestamp=0, idempotency_key="k")], 1000 * SECOND).data
    assert outcomes(h.send(stamped(sent, 0), Format.USAGE)) == [("quarantined", "time_missing")]


def test_the_right_to_write(harness: Make) -> None:
    """A key bound to some customers cannot tell usage of others, nor learn what is known of them."""
    h = harness()
    bound = Principal("p", customers=("acme*",))
    tell(h, item(customer_id="other", idempotency_key="k"))
    told = tell(h, item(customer_id="acme-1"), item(customer_id="other", idempotency_key="k"), principal=bound)
    assert outcomes(told) == [("recorded", ""), ("quarantined", "forbidden_customer")]
    assert told.items[1].record_id == ""


def test_limits_of_the_sender(harness: Make) -> None:
    """Metadata and texts beyond the sender's limits are refused; at the limit they pass."""
    h = harness()
    tight = Principal("p", limits=Limits(max_attributes=2, max_key_bytes=3, max_value_bytes=4))
    fits = item(metadata={"abc": "abcd", "b": "€"})
    over = [
        item(metadata={"a": "", "b": "", "c": ""}),
        item(metadata={"abcd": ""}),
        item(metadata={"a": "€€"}),
        item(idempotency_key="abcde"),
        item(customer_id="abcde"),
    ]
    applied = tell(
        h, fits._replace(dimension_id="d"), *(each._replace(dimension_id="d") for each in over), principal=tight
    )
    assert outcomes(applied) == [
        ("recorded", ""),
        ("quarantined", "too_many_attributes"),
        ("quarantined", "key_too_long"),
        *[("quarantined", "value_too_long")] * 3,
    ]


def test_rollback(harness: Make) -> None:
    """After a rollback items are new again, and totals are as before."""
    h = harness()
    tell(h, item(), item("x"), commit=False)
    h.meter.rollback(1)
    assert outcomes(tell(h, item(), item("x"))) == [("recorded", ""), ("quarantined", "not_a_number")]
    assert [(row.customer, row.value, row.count) for row in h.meter.totals()] == [("acme", 5 * 10**30, 1)]


def test_beyond_the_horizon(harness: Make) -> None:
    """What may have been counted and forgotten is refused."""
    h = harness(options=MeterOptions(max_dedupe_ids=2))
    tell(h, *(item(timestamp=at * SECOND) for at in (100, 200, 300)))
    assert (
        outcomes(tell(h, item(timestamp=100 * SECOND), item(timestamp=50 * SECOND)))
        == [("quarantined", "beyond_dedupe_horizon")] * 2
    )
    assert len(h.records()) == 3


def test_a_body_that_cannot_be_applied(harness: Make) -> None:
    """A body that is quarantined whole has a result for each of its items."""
    h = harness()
    body = usage_body([item(), item("6")]).data
    applied = h.meter.quarantine_body(body, Format.USAGE, h.received_at, h.meter.source("usage", Principal("p")), "x")
    assert outcomes(applied) == [("quarantined", "internal_error")] * 2


def test_empty_body(harness: Make) -> None:
    """No items: nothing is done."""
    applied = harness().send(b"", Format.USAGE)
    assert (applied.points, applied.items) == (0, ())


@given(
    values=st.lists(
        st.decimals(min_value=0, max_value=Decimal(99999999999999999999), places=6, allow_nan=False), max_size=6
    )
)
def test_sums_are_exact(values: list[Decimal]) -> None:
    """Totals and records are the exact sum of what was told, and the same request again adds nothing."""
    h = KernelHarness(load_kernel("python"))
    items = [item(format(value, "f"), idempotency_key=str(n)) for n, value in enumerate(values)]
    for _ in range(2):
        for each in items:
            tell(h, each)
    told = sum(int(value.scaleb(30)) for value in values)
    assert sum(record.value.units for record in h.records()) == told
    h.restart()
    assert sum(value for value, _ in h.totals.values()) == told


@given(data=st.binary(max_size=80))
def test_any_bytes(data: bytes) -> None:
    """Any bytes are a body that is applied with one result for each item, or undecodable; nothing else comes out."""
    h = KernelHarness(load_kernel("python"))
    try:
        applied = h.send(data, Format.USAGE)
    except UndecodableError:
        return
    assert len(applied.items) == applied.points


def test_the_documented_vector(harness: Make) -> None:
    """The id on the page is that of the record."""
    page = (Path(__file__).parents[2] / "docs" / "record-ids.md").read_text(encoding="utf-8")
    vector = json.loads(page.split("```json told\n")[1].split("```")[0])
    h = harness()
    h.received_at = vector["time"]
    told = UsageItem(vector["customer"], vector["dimension"], vector["value"], vector["time"], vector["metadata"])
    assert tell(h, told).items == (ItemResult("recorded", vector["id"]),)
