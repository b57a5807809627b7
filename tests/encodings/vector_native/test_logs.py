"""
Log events become records whose body is the event.
"""

from collections.abc import Callable
from typing import Any

import pytest

from meterline._proto.vector.vector_pb2 import PushEventsRequest, Value
from meterline.encodings.events import Sent, read_body
from meterline.encodings.events import transcode as transcode_json
from meterline.encodings.vector_native import Options
from meterline.testing.otlp import plain
from meterline.testing.vector_events import NOW, logs, made, rejects, with_log


def test_a_log_is_a_record_with_its_time() -> None:
    """
    The event's fields are the body, in order; its timestamp is the time, and stays in the body as Vector's JSON has it.
    """
    request = PushEventsRequest()
    with_log(request, customer="acme", count=3)
    (record,) = logs(made(request))

    assert record.time_unix_nano == NOW
    assert plain(record.body) == {"count": 3, "customer": "acme", "timestamp": "2026-11-22T11:13:37.123456789Z"}


def test_every_kind_of_value() -> None:
    """
    Texts, bytes that are none, numbers, times, maps, lists and null arrive as what they are.
    """
    request = PushEventsRequest()
    fields = request.events.add().log.fields
    fields["text"].raw_bytes = "ü".encode()
    fields["bytes"].raw_bytes = b"\xff\x00"
    fields["int"].integer = -(2**63)
    fields["float"].float = 0.1
    fields["bool"].boolean = True
    fields["null"].null = 0
    fields["none"].CopyFrom(Value())
    fields["map"].map.fields["b"].integer = 1
    fields["map"].map.fields["a"].array.items.add().boolean = False
    fields["whole"].timestamp.seconds = 1
    fields["milli"].timestamp.nanos = 5_000_000
    fields["micro"].timestamp.nanos = 5_000
    fields["empty"].map.SetInParent()
    (record,) = logs(made(request))

    assert plain(record.body) == {
        "text": "ü",
        "bytes": b"\xff\x00",
        "int": -(2**63),
        "float": 0.1,
        "bool": True,
        "null": None,
        "none": None,
        "map": {"a": [False], "b": 1},
        "whole": "1970-01-01T00:00:01Z",
        "milli": "1970-01-01T00:00:00.005Z",
        "micro": "1970-01-01T00:00:00.000005Z",
        "empty": {},
    }


def test_an_event_that_is_no_object() -> None:
    """
    Its value is the body, and the dummy field that Vector puts beside it is nothing.
    """
    request = PushEventsRequest()
    log = request.events.add().log
    log.fields["."].null = 0
    log.value.raw_bytes = b"a line"
    (record,) = logs(made(request))

    assert plain(record.body) == "a line"


@pytest.mark.parametrize(
    ("set_time", "time"),
    [
        (lambda field: field.timestamp.FromNanoseconds(NOW), NOW),
        (lambda field: setattr(field, "raw_bytes", b"2026-11-22T11:13:37.123456789Z"), NOW),
        (lambda field: setattr(field, "raw_bytes", b"2026-11-22 12:13:37.123456789+01:00"), NOW),
        (lambda field: setattr(field, "raw_bytes", b"yesterday"), 0),
        (lambda field: setattr(field, "boolean", True), 0),
    ],
    ids=["time", "text", "text with offset", "no time", "boolean"],
)
def test_the_time_is_that_of_the_field(set_time: Callable[[Any], None], time: int) -> None:
    """
    A timestamp is a time, or a text that is one, after a parse in Vector.
    """
    request = PushEventsRequest()
    set_time(request.events.add().log.fields["timestamp"])
    (record,) = logs(made(request))

    assert record.time_unix_nano == time


@pytest.mark.parametrize("field", ["metadata", "metadata_full"])
def test_without_a_time_it_is_when_vector_took_it_in(field: str) -> None:
    """
    In Vector's own log namespace the time is in the metadata; it is an observed time.
    """
    request = PushEventsRequest()
    log = request.events.add().log
    log.fields["message"].raw_bytes = b"x"
    metadata = log.metadata if field == "metadata" else log.metadata_full.value
    metadata.map.fields["vector"].map.fields["ingest_timestamp"].timestamp.FromNanoseconds(NOW)
    (record,) = logs(made(request))

    assert (record.time_unix_nano, record.observed_time_unix_nano) == (0, NOW)


def test_without_any_time_it_may_be_when_it_was_received() -> None:
    """
    ``received_at`` is the observed time of those alone that have no other.
    """
    request = PushEventsRequest()
    request.events.add().log.fields["a"].integer = 1
    with_log(request)
    first, second = logs(made(request, options=Options(10_000, 10_000, received_at=77)))

    assert (first.time_unix_nano, first.observed_time_unix_nano) == (0, 77)
    assert (second.time_unix_nano, second.observed_time_unix_nano) == (NOW, 0)


def test_secrets_in_the_metadata_go_nowhere() -> None:
    """
    What stands in the metadata beside what is named here is not passed on.
    """
    request = PushEventsRequest()
    log = with_log(request)
    log.metadata_full.value.map.fields["secret"].raw_bytes = b"hunter2"
    log.metadata.map.fields["secret"].raw_bytes = b"hunter2"

    assert all(b"hunter2" not in body.data for body in made(request))


def test_a_time_that_no_calendar_has_is_set_aside() -> None:
    """
    A log's time of the year 30,000 is a reject.
    """
    request = PushEventsRequest()
    request.events.add().log.fields["timestamp"].timestamp.seconds = 2**40

    assert [reason for reason, _ in rejects(made(request))] == ["undecodable_item"]


def test_json_of_the_same_event_makes_the_same_record() -> None:
    """
    A rule that fits Vector's ``http`` sink fits this protocol: body, time and attributes are equal, but for the ids.
    """
    request = PushEventsRequest()
    log = with_log(request, customer="acme", count=3)
    log.metadata_full.ClearField("source_event_id")
    document = b'{"count":3,"customer":"acme","timestamp":"2026-11-22T11:13:37.123456789Z"}'
    from_json = transcode_json(read_body(document), "vector", sent=Sent())

    assert logs(made(request)) == logs(from_json)
