"""
An object that says a key twice is no event: nobody knows which of the two values is to be billed.
"""

import json
from collections.abc import Callable
from typing import Any

import pytest

from meterline.encodings.events import EventOptions, read_body, read_line, transcode, transcode_cloudevent

Reader = Callable[[Any], Any]
TWICE = '{"id":"b","units":5,"units":500}'
NESTED = [
    TWICE,
    '{"id":"b","call":{"units":5,"units":500}}',
    '{"id":"b","calls":[1,[{"units":5,"units":500}]]}',
    '{"id":"b","id":"c"}',
    '{"units":1,"units":true}',
    '{"units":1,"units":1.0}',
    '{"units":%s,"units":1}' % ("9" * 5000),
]


@pytest.mark.parametrize("twice", NESTED)
@pytest.mark.parametrize("form", ["[%s,%s,%s]", "%s\n%s\n%s", "%s%s%s"], ids=["array", "lines", "stream"])
def test_it_is_set_aside_and_its_neighbours_count(read: Reader, twice: str, form: str) -> None:
    """Wherever in the event it is; the entry has both values, so that a person can see them."""
    found = read(transcode(read_body((form % ('{"id":"a"}', twice, '{"id":"z"}')).encode())))

    assert [body["id"] for body in found.bodies] == ["a", "z"]
    assert found.reasons == ["duplicate_key"]
    assert found.rejects[0].item.decode() == twice


def test_a_line_of_a_file(read: Reader) -> None:
    """A line is read as a body is."""
    assert read(transcode(read_line(TWICE.encode()))).reasons == ["duplicate_key"]


def test_equal_values_are_no_question(read: Reader) -> None:
    """Some agents write a field twice; while it says the same, it says something."""
    written = '{"id":"a","units":5,"units":5,"at":{"x":[1]},"at":{"x":[1]}}'

    assert read(transcode(read_body(written.encode()))).bodies == [{"id": "a", "units": 5, "at": {"x": [1]}}]


@pytest.mark.parametrize(("rest", "taken"), [("}", ["a"]), (',"data":[]}', [])], ids=["once", "twice"])
def test_events_within_a_document(read: Reader, rest: str, taken: list[str]) -> None:
    """The event that says a key twice is set aside alone; if the list itself stands twice, all of it is."""
    written = f'{{"data":[{{"id":"a"}},{TWICE}]{rest}'

    found = read(transcode(read_body(written.encode()), options=EventOptions(events_field="data")))

    assert [body["id"] for body in found.bodies] == taken
    assert found.reasons == ["duplicate_key"]


def test_metrics_of_vector(read: Reader) -> None:
    """A counter that says two values counts neither."""
    event = '{"name":"m","kind":"absolute","timestamp":"2026-11-22T11:00:00Z","counter":{"value":1.0,"value":2.0}}'

    found = read(transcode(read_body(event.encode()), "vector"))

    assert (found.metrics, found.reasons) == ([], ["duplicate_key"])


def test_the_token_of_mixpanel_is_in_no_reject(read: Reader) -> None:
    """It is a credential, however often it stands there."""
    event = '{"event":"e","properties":{"token":"hunter2","token":"hunter3","units":1,"units":2}}'

    found = read(transcode(read_body(event.encode()), "mixpanel"))

    assert found.reasons == ["duplicate_key"]
    assert b"hunter" not in found.rejects[0].item


@pytest.mark.parametrize("data", [TWICE, f"[{TWICE}]"])
def test_data_of_cloudevents(read: Reader, data: str) -> None:
    """Both structured and binary events have their data looked at."""
    headers = {"ce-specversion": "1.0", "ce-id": "1", "ce-source": "/s", "ce-type": "t", "content-type": "text/json"}
    head = json.dumps({"specversion": "1.0", "id": "1", "source": "/s", "type": "t"})[:-1]

    binary = read(transcode_cloudevent(headers, data.encode()))
    structured = read(transcode(read_body(f'{head},"data":{data}}}'.encode()), "cloudevents"))

    assert binary.reasons == structured.reasons == ["duplicate_key"]
    assert (binary.logs, structured.logs) == ([], [])
