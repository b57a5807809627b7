"""
CloudEvents 1.0 in JSON, alone and in batches, and with their attributes in HTTP headers.
"""

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest
from cloudevents.core.bindings.http import to_binary_event, to_structured_event
from cloudevents.core.v1.event import CloudEvent
from hypothesis import given
from hypothesis import strategies as st

from meterline.encodings.events import read_body, transcode, transcode_cloudevent

TIME = "2026-11-22T11:00:00.000000001Z"
AT = 1_795_345_200_000_000_001
Reader = Callable[[Any], Any]


def event(**fields: Any) -> dict[str, Any]:
    """
    Return a structured event.
    """
    return {"specversion": "1.0", "id": "1", "source": "/shop", "type": "call", "time": TIME, **fields}


def sent(*events: Any) -> Any:
    """
    Transcode a batch.
    """
    return transcode(read_body(json.dumps(events).encode(), "application/cloudevents-batch+json"), "cloudevents")


def attributes(log: Any) -> dict[str, Any]:
    """
    Return a record's attributes, values as AnyValue's one field.
    """
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in log.attributes}


def test_data_is_the_body_and_attributes_are_attributes(read: Reader) -> None:
    """What OpenTelemetry names is called so; extensions and the rest keep their name below ``cloudevents.``."""
    found = read(
        sent(event(subject="s", tenantid="acme", priority=3, datacontenttype="application/json", data={"n": 5}))
    )

    (log,) = found.logs
    assert found.bodies == [{"n": 5}]
    assert (found.times, log.event_name) == ([AT], "call")
    assert attributes(log) == {
        "cloudevents.event_spec_version": "1.0",
        "cloudevents.event_id": "1",
        "cloudevents.event_source": "/shop",
        "cloudevents.event_type": "call",
        "cloudevents.event_subject": "s",
        "cloudevents.datacontenttype": "application/json",
        "cloudevents.tenantid": "acme",
        "cloudevents.priority": 3,
        "log.record.uid": '["/shop","1"]',
    }


@given(st.tuples(st.text(min_size=1), st.text(min_size=1)), st.tuples(st.text(min_size=1), st.text(min_size=1)))
def test_no_two_events_share_an_identity(one: tuple[str, str], other: tuple[str, str]) -> None:
    """The identity is equal only where source and id both are, whatever characters they are made of."""
    first, second = (sent(event(source=source, id=name))[0].data for source, name in (one, other))

    uid = b"log.record.uid"
    assert (first.partition(uid)[2] == second.partition(uid)[2]) == (one == other)


@pytest.mark.parametrize(
    ("data", "content_type", "body"),
    [
        (b'{"n":5}', None, {"n": 5}),
        (b'{"n":5}', "application/vnd.x+json; charset=utf-8", {"n": 5}),
        (b"5 calls", "text/plain", "5 calls"),
        (b"\xff", "text/plain", b"\xff"),
        (b"\x00\x01", "application/octet-stream", b"\x00\x01"),
    ],
)
def test_binary_data_by_its_type(read: Reader, data: bytes, content_type: str | None, body: Any) -> None:
    """``data_base64`` is decoded, and read as what ``datacontenttype`` says."""
    fields = {"datacontenttype": content_type} if content_type else {}

    assert read(sent(event(data_base64=base64.b64encode(data).decode(), **fields))).bodies == [body]


@pytest.mark.parametrize(
    "broken",
    [
        {"specversion": "1.0", "id": "1", "source": "/s"},
        event(id=""),
        event(source=7),
        event(data_base64="*"),
        event(data_base64=5),
        event(data_base64=base64.b64encode(b"{").decode()),
    ],
)
def test_a_broken_event_is_set_aside_alone(read: Reader, broken: Any) -> None:
    """One event of a batch that is none is one reject."""
    found = read(sent(event(data={"n": 1}), broken, event(id="2", data={"n": 2})))

    assert [body["n"] for body in found.bodies] == [1, 2]
    assert found.reasons == ["undecodable_item"]


def test_headers_are_percent_decoded(read: Reader) -> None:
    """Binary mode: quotes off, then UTF-8 from percent-encoding."""
    headers = {
        "ce-specversion": "1.0",
        "ce-id": "%E2%82%AC 1%25",
        "ce-source": '"/quoted \\"shop\\""',
        "ce-type": "call",
        "ce-time": TIME,
        "ce-tenantid": "caf%C3%A9",
        "content-type": "application/json",
    }

    found = read(transcode_cloudevent(headers, b'{"n":5}'))

    (log,) = found.logs
    assert found.bodies == [{"n": 5}]
    assert found.times == [AT]
    assert attributes(log)["cloudevents.event_id"] == "\u20ac 1%"
    assert attributes(log)["cloudevents.event_source"] == '/quoted "shop"'
    assert attributes(log)["cloudevents.tenantid"] == "caf\u00e9"
    assert attributes(log)["cloudevents.datacontenttype"] == "application/json"


@pytest.mark.parametrize(
    ("headers", "data"),
    [
        ({"ce-specversion": "1.0", "ce-id": "1", "ce-source": "/s"}, b"{}"),
        ({"ce-specversion": "1.0", "ce-id": "%FF", "ce-source": "/s", "ce-type": "t"}, b"{}"),
        ({"ce-specversion": "1.0", "ce-id": "1", "ce-source": "/s", "ce-type": "t", "content-type": "text/json"}, b"{"),
    ],
)
def test_a_broken_binary_event_is_a_reject_with_its_data(read: Reader, headers: dict[str, str], data: bytes) -> None:
    """Its data is kept; the sender is not told to drop what may be mended."""
    found = read(transcode_cloudevent(headers, data))

    assert found.reasons == ["undecodable_item"]
    assert found.rejects[0].item == data


def test_an_event_without_data(read: Reader) -> None:
    """Data is optional in both modes."""
    headers = {"ce-specversion": "1.0", "ce-id": "1", "ce-source": "/s", "ce-type": "t"}

    assert not read(sent(event())).logs[0].HasField("body")
    assert not read(transcode_cloudevent(headers, b"")).logs[0].HasField("body")


@pytest.mark.parametrize("text", ["plain", "caf\u00e9 \u20ac", 'a"b\\c%20d'])
def test_both_modes_of_the_official_package_are_one_event(read: Reader, text: str) -> None:
    """What the ``cloudevents`` package writes in either mode comes to the same record."""
    made = CloudEvent({"id": text, "source": "/shop", "type": "call", "tenantid": text}, data={"n": 5})
    made.get_attributes()
    structured, binary = to_structured_event(made), to_binary_event(made)

    headers = {name.lower(): value for name, value in binary.headers.items()}
    first = read(transcode(read_body(structured.body, "application/cloudevents+json"), "cloudevents"))
    second = read(transcode_cloudevent(headers, binary.body))

    assert first.uids == second.uids == [json.dumps(["/shop", text], separators=(",", ":"))]
    assert first.times == second.times
    assert first.bodies == second.bodies == [{"n": 5}]
