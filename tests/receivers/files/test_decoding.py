"""
Lines of every format become the bodies that their senders' requests become, and nothing of a line vanishes.
"""

import json
from collections import Counter
from typing import Any

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from meterline._proto.meterline.intake.v1 import rejects_pb2
from meterline._proto.meterline.usage.v1 import usage_pb2
from meterline.api import Body, Format
from meterline.receivers.files.decoding import decode
from meterline.receivers.files.lines import Line

TIME = "2026-11-22T10:00:00Z"
NANOS = 1_795_341_600 * 10**9
METRICS = {
    "resourceMetrics": [
        {
            "scopeMetrics": [
                {
                    "metrics": [
                        {
                            "name": "calls",
                            "sum": {
                                "aggregationTemporality": 1,
                                "isMonotonic": True,
                                "dataPoints": [{"timeUnixNano": str(NANOS), "asInt": "5"}],
                            },
                        }
                    ]
                }
            ]
        }
    ]
}
LOGS = {"resourceLogs": [{"scopeLogs": [{"logRecords": [{"timeUnixNano": str(NANOS), "body": {"stringValue": "x"}}]}]}]}
EVENT = {"customer": "acme", "timestamp": TIME}
LOKI = {"streams": [{"stream": {"job": "a"}, "values": [[str(NANOS), "line"]]}]}
USAGE = {"customerId": "acme", "dimensionId": "seats", "recordValue": "2.5", "timestamp": TIME}
CLOUDEVENT = {"specversion": "1.0", "id": "7", "source": "/s", "type": "t", "time": TIME, "data": {"customer": "acme"}}
VECTOR_METRIC = {"name": "calls", "timestamp": TIME, "kind": "incremental", "counter": {"value": 1.0}}


def lines(*documents: Any) -> list[Line]:
    """Documents as lines of a file, each where it stands."""
    found, start = [], 0
    for document in documents:
        data = document if isinstance(document, bytes) else json.dumps(document).encode()
        found.append(Line(data, start, start + len(data) + 1))
        start += len(data) + 1
    return found


def formats(bodies: list[Body]) -> Counter[Format]:
    """How many bodies there are of each format."""
    return Counter(body.fmt for body in bodies)


def uids(bodies: list[Body]) -> list[str]:
    """The id of each log record, "" without."""
    requests = [ExportLogsServiceRequest.FromString(body.data) for body in bodies if body.fmt is Format.OTLP_LOGS]
    records = [log for q in requests for r in q.resource_logs for s in r.scope_logs for log in s.log_records]
    return [next((a.value.string_value for a in log.attributes if a.key == "log.record.uid"), "") for log in records]


@pytest.mark.parametrize("form", ["auto", "otlp_json"])
def test_export_requests_stay_apart(form: str) -> None:
    """What the Collector's file exporter wrote is a request a line, as it was sent, without ids of ours."""
    found = decode(lines(METRICS, METRICS, LOGS), "file", form=form)
    assert formats(found) == {Format.OTLP_METRICS: 2, Format.OTLP_LOGS: 1}
    assert uids(found) == [""]


def test_events_share_a_body_and_have_ids() -> None:
    """Events take their place in the file as their id, unless they have one; equal lines are two events."""
    own = {**EVENT, "event": {"id": "mine"}}
    found = decode(lines(EVENT, EVENT, own, [EVENT, EVENT], CLOUDEVENT), "file", form="auto")
    size = len(json.dumps(EVENT)) + 1
    after = size * 2 + len(json.dumps(own)) + 1
    assert formats(found) == {Format.OTLP_LOGS: 1}
    assert uids(found) == ["file:0:0", f"file:{size}:0", "mine", f"file:{after}:0", f"file:{after}:1", '["/s","7"]']


def test_metric_events_stay_apart() -> None:
    """Two equal increments on two lines are what they were as two requests; a log event has a body of its own."""
    found = decode(lines(VECTOR_METRIC, VECTOR_METRIC, EVENT), "file", form="vector")
    assert formats(found) == {Format.OTLP_METRICS: 2, Format.OTLP_LOGS: 1}


def test_loki_and_usage_lines() -> None:
    """Push requests and usage records are read, too; usage without a key has its place as one."""
    assert formats(decode(lines(LOKI, LOKI), "file", form="loki")) == {Format.OTLP_LOGS: 2}
    (body,) = decode(lines(USAGE, {**USAGE, "idempotencyKey": "k"}), "file", form="usage")
    items = usage_pb2.RecordUsageRequest.FromString(body.data).items
    assert [(item.record_value, item.idempotency_key) for item in items] == [("2.5", "file:0:0"), ("2.5", "k")]


@pytest.mark.parametrize("form", ["auto", "otlp_json", "vector", "logstash", "cloudevents", "loki", "usage"])
def test_what_cannot_be_read_is_set_aside(form: str) -> None:
    """A broken line, one that is no object, and one that was cut are rejects in every format; empty lines are nothing."""
    given = [*lines(b"{broken", b"", b"  ", 5), Line(b"x" * 10_000, 0, 10_001, cut=True)]
    (body,) = decode(given, "file", form=form)
    assert body.fmt is Format.REJECTS
    found = rejects_pb2.Rejects.FromString(body.data).rejects
    assert len(found) == 3
    assert max(len(reject.item) for reject in found) <= 4096
    assert any("longer than max_line_bytes" in reject.detail for reject in found)


def test_decoding_is_deterministic() -> None:
    """The same lines make the same bytes, so that what is read again is recognised."""
    given = lines(METRICS, EVENT, b"{", CLOUDEVENT)
    assert decode(given, "file", form="auto") == decode(given, "file", form="auto")
