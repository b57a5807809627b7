"""
Log records of the forward protocol's entries: exact, one by one, and a bad one costs no other.
"""

import math
from decimal import Decimal
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from meterline._proto.meterline.intake.v1.rejects_pb2 import Rejects
from meterline.api import Body, Format
from meterline.encodings.forward import METRICS, TRACES, Message
from meterline.encodings.forward_logs import MAX_ITEM_BYTES, Options, log_bodies
from meterline.errors import TooLargeError
from meterline.testing.forward_client import event_time, packed_entries
from meterline.testing.otlp import plain

NOW = 1_795_346_017_123_456_789
OPTIONS = Options(max_event_bytes=1000, max_bytes=1_000_000)


def bodies(*entries: Any, tag: str = "app", options: Options = OPTIONS) -> list[Body]:
    """
    Return the bodies of these entries, packed one after the other.
    """
    data = b"".join(entry if isinstance(entry, bytes) else msgpack.packb(entry) for entry in entries)
    return log_bodies(Message(tag, data), data, options)


def requests_of(found: list[Body]) -> ExportLogsServiceRequest:
    """
    Return the log body.
    """
    logs = [body.data for body in found if body.fmt is Format.OTLP_LOGS]
    assert len(logs) <= 1
    return ExportLogsServiceRequest.FromString(b"".join(logs))


def records_of(found: list[Body]) -> list[Any]:
    """
    Return all log records.
    """
    request = requests_of(found)
    return [record for resource in request.resource_logs for record in resource.scope_logs[0].log_records]


def rejects_of(found: list[Body]) -> list[tuple[str, bytes]]:
    """
    Return reason and item of each reject.
    """
    data = b"".join(body.data for body in found if body.fmt is Format.REJECTS)
    return [(reject.reason, reject.item) for reject in Rejects.FromString(data).rejects]


def test_an_entry_is_a_record_with_its_tag() -> None:
    """
    The record is the body, field by field; the time is exact; the tag is an attribute.
    """
    (record,) = records_of(bodies([event_time(NOW), {"customer": "acme", "n": 3, "x": 0.5, "ok": True, "none": None}]))

    assert record.time_unix_nano == NOW
    assert record.observed_time_unix_nano == 0
    assert plain(record.body) == {"customer": "acme", "n": 3, "x": 0.5, "ok": True, "none": None}
    assert {pair.key: plain(pair.value) for pair in record.attributes} == {"fluent.tag": "app"}


@pytest.mark.parametrize(
    ("time", "nanos"),
    [
        (1_795_346_017, 1_795_346_017_000_000_000),
        (1_795_346_017.5, 1_795_346_017_500_000_000),
        (1795346017.93592, 1_795_346_017_935_920_000),
        (event_time(NOW), NOW),
        (msgpack.ExtType(0, b"\x00" * 7 + b"\x01"), 1),
        ([event_time(NOW), {}], NOW),
        ([1_795_346_017, {}], 1_795_346_017_000_000_000),
        (0, 0),
        (None, 0),
        (0.0, 0),
    ],
    ids=repr,
)
def test_every_form_of_time(time: Any, nanos: int) -> None:
    """
    EventTime, integers, fractions and none are read without loss; none and 0 are "not known".
    """
    (record,) = records_of(bodies([time, {}]))

    assert record.time_unix_nano == nanos


def test_an_event_time_of_another_length_of_header() -> None:
    """
    EventTime as ext8, which the specification allows, is the same time.
    """
    (record,) = records_of(bodies(b"\x92\xc7\x08\x00" + event_time(NOW).data + b"\x80"))

    assert record.time_unix_nano == NOW


def test_entries_without_time_may_take_the_time_of_reception() -> None:
    """
    With ``received_at`` it is their observed time; entries with a time do not get it.
    """
    options = Options(max_event_bytes=1000, max_bytes=10_000, received_at=77)
    first, second = records_of(bodies([0, {}], [event_time(NOW), {}], options=options))

    assert (first.time_unix_nano, first.observed_time_unix_nano) == (0, 77)
    assert (second.time_unix_nano, second.observed_time_unix_nano) == (NOW, 0)


def test_metadata_of_fluent_bit_becomes_attributes() -> None:
    """
    What stands beside the time is an attribute each.
    """
    (record,) = records_of(bodies([[event_time(NOW), {"severity": "info", "k": {"a": 1}}], {"n": 1}]))

    attributes = {pair.key: plain(pair.value) for pair in record.attributes}
    assert attributes == {"fluent.tag": "app", "severity": "info", "k": {"a": 1}}


def test_groups_of_fluent_bit_are_resources() -> None:
    """
    Marks of groups are no records: the first says of which resource the records up to the second are.
    """
    start = [[event_time((2**32 - 1) * 10**9), {"schema": "otlp"}], {"resource": {"attributes": {"host.name": "a"}}}]
    end = [[event_time((2**32 - 2) * 10**9), {}], {}]
    made = requests_of(bodies([NOW // 10**9, {"n": 0}], start, [[event_time(NOW), {}], {"n": 1}], end, [7, {"n": 2}]))

    found = [
        (
            {pair.key: plain(pair.value) for pair in resource.resource.attributes},
            [plain(record.body)["n"] for record in resource.scope_logs[0].log_records],
        )
        for resource in made.resource_logs
    ]
    assert found == [({}, [0]), ({"host.name": "a"}, [1]), ({}, [2])]


def test_the_senders_resource_goes_with_every_record() -> None:
    """
    What is known of the sender stands in the resource, and no group can say otherwise.
    """
    options = Options(max_event_bytes=1000, max_bytes=10_000, resource={"tenant.id": "t1"})
    start = [event_time((2**32 - 1) * 10**9), {"resource": {"attributes": {"tenant.id": "t2", "a": "b"}}}]
    made = requests_of(bodies(start, [1, {}], options=options))

    assert {pair.key: plain(pair.value) for pair in made.resource_logs[0].resource.attributes} == {
        "tenant.id": "t1",
        "a": "b",
    }


def test_numbers_bytes_and_keys_stay_what_they_are() -> None:
    """
    64-bit integers, bytes, and keys that are no text arrive exactly; an EventTime within a record is its seconds.
    """
    sent = {
        "max": 2**64 - 1,
        "min": -(2**63),
        "exact": 2**53 + 1,
        "bytes": b"\x00\xff",
        "when": event_time(NOW),
        "other": msgpack.ExtType(5, b"ab"),
        "stamp": msgpack.Timestamp(5, 7),
        7: "seven",
        b"raw": 1,
        None: 2,
    }
    (record,) = records_of(bodies([1, sent]))

    assert plain(record.body) == {
        "max": str(2**64 - 1),
        "min": -(2**63),
        "exact": 2**53 + 1,
        "bytes": b"\x00\xff",
        "when": "1795346017.123456789",
        "other": b"ab",
        "stamp": 5_000_000_007,
        "7": "seven",
        "raw": 1,
        "None": 2,
    }


def test_text_that_is_no_utf8_keeps_its_neighbours() -> None:
    """
    A broken text is in the body as bytes that are no UTF-8, for the kernel to judge; the entry beside it is whole.
    """
    (body,) = bodies(b"\x92\x01\x81\xa1k\xa2\xff\xfe", [2, {"n": 1}])

    assert body.fmt is Format.OTLP_LOGS
    assert body.data.count(b"\xed\xb3\xbf\xed\xb3\xbe") == 1
    with pytest.raises(Exception, match=r"UTF-8|parsing"):
        ExportLogsServiceRequest.FromString(body.data)


BAD = {
    "no pair": [1],
    "three": [1, {}, {}],
    "no array": 5,
    "record is text": [1, "x"],
    "record is nil": [1, None],
    "time is text": ["now", {}],
    "time is a boolean": [True, {}],
    "time is NaN": [math.nan, {}],
    "time is infinite": [math.inf, {}],
    "time is negative": [-1, {}],
    "time beyond 64 bits": [2**63, {}],
    "time with three": [[1, {}, 2], {}],
    "metadata is text": [[1, "x"], {}],
    "ext of another length": [msgpack.ExtType(0, b"1234"), {}],
}


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD)
def test_a_bad_entry_costs_no_other(bad: Any) -> None:
    """
    What is no ``[time, record]`` is one reject with its bytes, and its neighbours are records.
    """
    found = bodies([1, {"n": 1}], bad, [2, {"n": 2}])

    assert [plain(record.body)["n"] for record in records_of(found)] == [1, 2]
    assert rejects_of(found) == [("undecodable_item", msgpack.packb(bad))]


def test_a_key_that_is_a_map_is_a_bad_entry() -> None:
    """
    Maps as keys cannot be text, so that entry is a reject.
    """
    found = bodies(b"\x92\x01\x81\x80\x01", [2, {"n": 2}])

    assert len(records_of(found)) == 1
    assert rejects_of(found) == [("undecodable_item", b"\x92\x01\x81\x80\x01")]


def test_a_deep_entry_costs_no_other() -> None:
    """
    Nesting beyond what any record may have is one reject, as deep as MessagePack can be read.
    """
    for depth in (200, 400):
        deep = b"\x92\x01\x81\xa1k" + b"\x91" * depth + b"\x01"
        found = bodies(deep, [2, {"n": 2}])
        assert [plain(record.body) for record in records_of(found)] == [{"n": 2}]
        assert rejects_of(found) == [("too_deep", deep)]


def test_a_large_entry_is_a_reject_cut_short() -> None:
    """
    An entry over ``max_event_bytes`` is not unpacked; the beginning of it is kept.
    """
    options = Options(max_event_bytes=100_000, max_bytes=10**7)
    large = msgpack.packb([1, {"k": "x" * 100_000}])
    found = bodies(large, [2, {"n": 2}], options=options)

    assert len(records_of(found)) == 1
    assert rejects_of(found) == [("value_too_long", large[:MAX_ITEM_BYTES])]


@pytest.mark.parametrize("broken", [b"\xc1", b"\x92\x01", b"\x92\x01\x81\xa1k\xd9\xff", b"\x91" * 2000], ids=repr)
def test_what_follows_broken_bytes_is_one_reject(broken: bytes) -> None:
    """
    A stream of entries that breaks off gives the records before, and one reject with the rest.
    """
    found = bodies([1, {"n": 1}], broken)

    assert len(records_of(found)) == 1
    assert rejects_of(found) == [("undecodable_item", broken)]


@pytest.mark.parametrize("signal", [METRICS, TRACES, 9])
def test_metrics_and_traces_of_fluent_bit_are_set_aside(signal: int) -> None:
    """
    Fluent Bit's own form of metrics is one reject that says so.
    """
    found = log_bodies(Message("t", b"\x81\xa1a\x01", signal=signal), b"\x81\xa1a\x01", OPTIONS)

    assert rejects_of(found) == [("unsupported_item", b"\x81\xa1a\x01")]
    assert records_of(found) == []


def test_no_entries_make_no_bodies() -> None:
    """
    An empty chunk holds nothing to store.
    """
    assert bodies() == []


@pytest.mark.parametrize("entry", [b"\x92\x00\x80", b"\xc0", b"\x92\xc0\xc0"], ids=["smallest", "bad", "bad pair"])
def test_what_grows_without_measure_is_refused(entry: bytes) -> None:
    """
    Tiny entries cannot make bodies many times as large as themselves.
    """
    with pytest.raises(TooLargeError):
        bodies(entry * 10_000, options=Options(max_event_bytes=1000, max_bytes=60_000))


def test_the_same_message_makes_the_same_bodies() -> None:
    """
    A resend is byte by byte the same.
    """
    entries = packed_entries([(NOW + i, {"i": i, "t": {"b": 1, "a": 2}}) for i in range(50)]) + b"\xc0"

    assert bodies(entries) == bodies(entries)
    assert len(bodies(entries)) == 2


@given(st.binary(max_size=300))
def test_any_entries_make_records_or_rejects(data: bytes) -> None:
    """
    Whatever a chunk holds, it is records and rejects; nothing raises but what is too large.
    """
    try:
        found = log_bodies(Message("t", data), data, OPTIONS)
    except TooLargeError:
        return
    assert bool(found) == bool(data)


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=15,
)


@given(st.dictionaries(st.text(max_size=5), _VALUES, max_size=5), st.integers(0, 2**32 * 10**9 - 2 * 10**9 - 1))
def test_every_record_is_read_back(record: dict[str, Any], nanos: int) -> None:
    """
    A record of any content comes out as it went in; integers beyond 64 bits as their digits.
    """
    options = Options(max_event_bytes=10**6, max_bytes=10**7)
    (found,) = records_of(bodies([event_time(nanos), record], options=options))

    assert found.time_unix_nano == nanos
    assert plain(found.body) == _shown(record)


def _shown(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _shown(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_shown(item) for item in value]
    return str(value) if isinstance(value, int) and value >= 2**63 else value


def test_an_exact_time_is_no_float() -> None:
    """
    The seconds of an EventTime within a record that no double holds stay exact text.
    """
    (record,) = records_of(bodies([1, {"when": event_time(1_795_346_017_000_000_001)}]))

    assert Decimal(plain(record.body)["when"]) == Decimal("1795346017.000000001")


@pytest.mark.parametrize("first", [b"\xa1a", b"\xc4\x01a"], ids=["text", "bytes"])
def test_a_map_that_says_a_key_twice_is_set_aside(first: bytes) -> None:
    """Nobody knows which of two values counts; the same value twice is no question, as Fluent Bit's filters may write it."""
    entry, same = (b"\x92\x01\x82" + first + b"\x05\xa1a" + value for value in (b"\x06", b"\x05"))

    found = bodies(entry, same)

    assert rejects_of(found) == [("undecodable_item", entry)]
    (record,) = records_of(found)
    assert plain(record.body) == {"a": 5}
