"""
A request becomes bodies, event by event, or is refused; one broken event costs no other.
"""

import pytest

from meterline._proto.vector.vector_pb2 import PushEventsRequest, Value
from meterline.api import Format
from meterline.encodings.vector_native import Options
from meterline.errors import TooLargeError, UndecodableError
from meterline.protobuf.write import length_delimited
from meterline.testing.vector_events import logs, made, rejects, with_log, with_metric


def field(number: int, payload: bytes) -> bytes:
    """
    Return a message field by hand, as deep as one likes.
    """
    return bytes((number << 3 | 2,)) + length_delimited(1, payload)[1:]


def test_logs_and_metrics_of_one_request() -> None:
    """
    They are bodies of their own, with the tenant as a resource attribute.
    """
    request = PushEventsRequest()
    with_log(request)
    with_metric(request).counter.value = 1
    bodies = made(request, tenant="t1")

    assert {body.fmt for body in bodies} == {Format.OTLP_LOGS, Format.TRANSCODED_METRICS}
    assert all(b"tenant.id" in body.data for body in bodies)


def test_traces_are_set_aside() -> None:
    """
    A trace, and an event without content, are rejects.
    """
    request = PushEventsRequest()
    request.events.add().trace.SetInParent()
    request.events.add()
    with_log(request)

    assert [reason for reason, _ in rejects(made(request))] == ["unsupported_item"] * 2
    assert len(logs(made(request))) == 1


@pytest.mark.parametrize(
    "bad",
    [b"\x0a\x05\x0a\x03\x0a\x01", b"\x0a\x02\xff\xff", b"\x12\x03\x0a\x01\xff", b"\x0a\x02\x12\x80"],
    ids=["cut off", "no tag", "no utf-8", "length"],
)
def test_a_broken_event_costs_no_other(bad: bytes) -> None:
    """
    It is a reject with its bytes.
    """
    good = PushEventsRequest()
    with_log(good)
    data = good.SerializeToString()
    bodies = made(data + b"\x0a" + bytes((len(bad),)) + bad + data)

    assert len(logs(bodies)) == 2
    assert rejects(bodies) == [("undecodable_item", bad)]


def test_deep_and_large_events_cost_no_other() -> None:
    """
    An event nested beyond what protobuf reads, and one over ``max_event_bytes``, are rejects.
    """
    request = PushEventsRequest()
    with_log(request)
    value = Value(integer=1).SerializeToString()
    for _ in range(60):
        value = field(8, field(1, value))  # a Value of a ValueArray of one
    deep = field(1, field(1, field(1, field(1, b"deep") + field(2, value))))
    large = PushEventsRequest()
    with_log(large, message="x" * 10_000)
    bodies = made(deep + large.SerializeToString() + request.SerializeToString())

    assert len(logs(bodies)) == 1
    assert [reason for reason, _ in rejects(bodies)] == ["undecodable_item", "value_too_long"]


@pytest.mark.parametrize("data", [b"\x0a", b"\x0a\x05a", b"\xff\xff\xff", b"\x0b", b"\x00\x00"])
def test_what_is_no_request_is_undecodable(data: bytes) -> None:
    """
    Broken structure around the events refuses the request.
    """
    with pytest.raises(UndecodableError):
        made(data)


def test_unknown_fields_of_a_request_are_skipped() -> None:
    """
    What a later version of Vector adds is nothing to us.
    """
    request = PushEventsRequest()
    with_log(request)

    assert len(logs(made(b"\x12\x01x" + request.SerializeToString() + b"\x18\x05"))) == 1


def test_an_empty_request_is_nothing() -> None:
    """
    There is nothing to store.
    """
    assert made(b"") == []


def test_what_grows_without_measure_is_refused() -> None:
    """
    Tiny events cannot make bodies many times as large as themselves.
    """
    with pytest.raises(TooLargeError):
        made(b"\x0a\x00" * 10_000, options=Options(1000, 60_000))
