"""
Requests of OTLP/JSON: what is accepted, in whatever shape real senders use, and what a mistake costs.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import json_format
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from meterline._proto.meterline.intake.v1.rejects_pb2 import Reject, Rejects
from meterline.api import Body, Format
from meterline.encodings import otlp_json
from meterline.encodings.otlp_json import aside
from meterline.errors import UndecodableError

GOLDEN = Path(__file__).parent / "golden"


def metrics_of(bodies: Sequence[Body]) -> ExportMetricsServiceRequest:
    """
    Return the metrics among the bodies.
    """
    return ExportMetricsServiceRequest.FromString(b"".join(b.data for b in bodies if b.fmt is Format.OTLP_METRICS))


def logs_of(bodies: Sequence[Body]) -> ExportLogsServiceRequest:
    """
    Return the logs among the bodies.
    """
    return ExportLogsServiceRequest.FromString(b"".join(b.data for b in bodies if b.fmt is Format.OTLP_LOGS))


def rejects_of(bodies: Sequence[Body]) -> list[Reject]:
    """
    Return the rejects among the bodies.
    """
    return list(Rejects.FromString(b"".join(b.data for b in bodies if b.fmt is Format.REJECTS)).rejects)


def points_of(bodies: Sequence[Body]) -> list[int]:
    """
    Return the integer values of all points of sums, in order.
    """
    request = metrics_of(bodies)
    metrics = [m for r in request.resource_metrics for s in r.scope_metrics for m in s.metrics]
    return [point.as_int for metric in metrics for point in metric.sum.data_points]


def point(value: Any, **more: Any) -> dict[str, Any]:
    """
    Return a point.
    """
    return {"timeUnixNano": "2", "asInt": value, **more}


def metric(*points: Any, **more: Any) -> dict[str, Any]:
    """
    Return a counter.
    """
    return {
        "name": "calls",
        "sum": {"aggregationTemporality": 1, "isMonotonic": True, "dataPoints": list(points)},
        **more,
    }


def request(*metrics: Any) -> dict[str, Any]:
    """
    Return a request of these metrics.
    """
    return {"resourceMetrics": [{"scopeMetrics": [{"metrics": list(metrics)}]}]}


def read(document: Any) -> list[Body]:
    """
    Read a document as a body.
    """
    return otlp_json.read(json.dumps(document).encode())


@pytest.mark.parametrize("name", ["js-sdk-metrics.json", "collector-otlphttp-metrics.json"])
def test_metrics_of_real_senders(name: str) -> None:
    """
    What the JS SDK and the Collector send as JSON comes out as protobuf's own reader has it (there are no ids in it).
    """
    body = (GOLDEN / name).read_bytes()

    bodies = otlp_json.read(body)

    assert [b.fmt for b in bodies] == [Format.OTLP_METRICS]
    assert metrics_of(bodies) == json_format.Parse(body, ExportMetricsServiceRequest())


@pytest.mark.parametrize("name", ["js-sdk-logs.json", "collector-otlphttp-logs.json"])
def test_logs_of_real_senders(name: str) -> None:
    """
    The same for logs.
    """
    body = (GOLDEN / name).read_bytes()

    bodies = otlp_json.read(body)

    assert [b.fmt for b in bodies] == [Format.OTLP_LOGS]
    assert logs_of(bodies) == json_format.Parse(body, ExportLogsServiceRequest())


def test_the_collectors_file_exporter() -> None:
    """
    Lines of metrics and of logs in one file become one body of each.
    """
    body = (GOLDEN / "collector-file-exporter.ndjson").read_bytes()
    lines = body.splitlines()

    bodies = otlp_json.read_lines(body)

    assert bodies == otlp_json.read(body)
    assert [b.fmt for b in bodies] == [Format.OTLP_METRICS, Format.OTLP_LOGS]
    of_metrics = next(line for line in lines if line.startswith(b'{"resourceMetrics"'))
    assert metrics_of(bodies) == json_format.Parse(of_metrics, ExportMetricsServiceRequest())


def test_vector_sends_arrays_and_lines() -> None:
    """
    Vector's comma framing, its newline framing with or without the media type, and unknown keys beside the logs.
    """
    comma = (GOLDEN / "vector-comma.json").read_bytes()
    lines = (GOLDEN / "vector-newline.ndjson").read_bytes()

    bodies = otlp_json.read(comma)

    assert bodies == otlp_json.read(lines) == otlp_json.read_lines(lines) == otlp_json.read_lines(comma)
    records = [log for r in logs_of(bodies).resource_logs for s in r.scope_logs for log in s.log_records]
    assert [log.time_unix_nano for log in records] == [1795346017935926001, 1795346018935926001]
    assert [log.attributes[1].value.double_value for log in records] == [2.5, 1.0]
    assert rejects_of(bodies) == []


def test_metrics_and_logs_in_one_request() -> None:
    """
    Both are stored, whichever path they came by.
    """
    both = {**request(metric(point(1))), "resourceLogs": [{"scopeLogs": [{"logRecords": [{"timeUnixNano": 1}]}]}]}

    bodies = read(both)

    assert [b.fmt for b in bodies] == [Format.OTLP_METRICS, Format.OTLP_LOGS]
    assert logs_of(bodies).resource_logs[0].scope_logs[0].log_records[0].time_unix_nano == 1


@pytest.mark.parametrize(
    "document", [{}, [], [{}], {"resourceMetrics": []}, {"resourceMetrics": None}, {"resource_logs": []}]
)
def test_empty_requests_hold_nothing(document: Any) -> None:
    """
    A request without anything in it is right.
    """
    assert read(document) == []


@pytest.mark.parametrize(
    "body", [b"", b" \n", b"5", b'"text"', b"null", b"{", b"[", b"{]", b"\xff", b"[" * 100_000, b"{} x"]
)
def test_what_is_no_request_is_undecodable(body: bytes) -> None:
    """
    What is no JSON, is nested without end, or holds neither object nor array is refused as a whole.
    """
    with pytest.raises(UndecodableError):
        otlp_json.read(body)


def test_lines() -> None:
    """
    A broken line is a reject with its bytes; the others pass; empty lines and CRLF are nothing.
    """
    good = json.dumps(request(metric(point(1)))).encode()

    bodies = otlp_json.read_lines(b"\n".join([good, b"", b'{"resourceMetrics": [', good + b"\r", b"\xff", b""]))

    assert points_of(bodies) == [1, 1]
    assert [(r.reason, r.item) for r in rejects_of(bodies)] == [
        ("undecodable_item", b'{"resourceMetrics": ['),
        ("undecodable_item", b"\xff"),
    ]


@pytest.mark.parametrize("body", [b"x", b"x\ny\n", b"5\n", b"\xff\xfe"])
def test_lines_of_which_none_is_a_request_are_undecodable(body: bytes) -> None:
    """
    When nothing at all can be read, the body is refused, not kept.
    """
    with pytest.raises(UndecodableError):
        otlp_json.read_lines(body)


def test_no_lines_at_all_hold_nothing() -> None:
    """
    An empty NDJSON body is right.
    """
    assert otlp_json.read_lines(b"\n\n") == []


@pytest.mark.parametrize(
    "wrong",
    [
        point("abc"), point(1.5), point(True), point(2**63), point({}), point(1, timeUnixNano=-1), point(1, timeUnixNano="x"),
        point(1, attributes={"customer.id": "a"}), point(1, attributes="a"), point(1, attributes=[5]),
        point(1, attributes=[{"key": "a", "value": "b"}]), point(1, flags=-1), point(1, exemplars={}), 5, "x", [], True,
    ],
)  # fmt: skip
def test_a_wrong_point_costs_its_neighbours_nothing(wrong: Any) -> None:
    """
    The point is set aside with all that stands around it, as a request that holds it alone; the others pass.
    """
    around = {"description": "d", "sum": {"aggregationTemporality": 1, "dataPoints": [point(1), wrong, None, point(2)]}}
    document = {"resourceMetrics": [{
        "resource": {"attributes": [{"key": "a", "value": {"stringValue": "b"}}]},
        "scopeMetrics": [{"scope": {"name": "s"}, "metrics": [metric(), {"name": "m", **around}]}],
        "schemaUrl": "u",
    }]}  # fmt: skip

    bodies = read(document)

    assert points_of(bodies) == [1, 2]
    (reject,) = rejects_of(bodies)
    resource = document["resourceMetrics"][0]
    metric_alone = {"name": "m", "description": "d", "sum": {"aggregationTemporality": 1, "dataPoints": [wrong]}}
    scope_alone = {"scope": {"name": "s"}, "metrics": [metric_alone]}
    assert json.loads(reject.item) == {
        "resourceMetrics": [{"resource": resource["resource"], "schemaUrl": "u", "scopeMetrics": [scope_alone]}]
    }
    assert (reject.reason, reject.encoding) == ("undecodable_item", "json")
    assert reject.detail.startswith("reading ")


@pytest.mark.parametrize(
    ("kind", "wrong"),
    [
        ("gauge", {"asDouble": "x"}), ("histogram", {"count": "x"}), ("histogram", {"bucketCounts": 5}),
        ("histogram", {"bucketCounts": ["x"]}), ("histogram", {"explicitBounds": [None]}),
        ("exponentialHistogram", {"positive": []}), ("exponentialHistogram", {"scale": 2**31}),
        ("summary", {"quantileValues": [{"quantile": "x"}]}),
    ],
)  # fmt: skip
def test_a_wrong_point_of_any_type(kind: str, wrong: Any) -> None:
    """
    Points of all types of metrics are set aside alone.
    """
    bodies = read(request({"name": "m", kind: {"dataPoints": [wrong, {"timeUnixNano": 3}]}}))

    found = metrics_of(bodies).resource_metrics[0].scope_metrics[0].metrics[0]
    (data,) = (value for field, value in found.ListFields() if field.name not in ("name", "unit"))
    assert [p.time_unix_nano for p in data.data_points] == [3]
    assert len(rejects_of(bodies)) == 1


@pytest.mark.parametrize(
    "twice",
    [
        b'{"timeUnixNano": "2", "asInt": "5", "asInt": "500"}',
        b'{"timeUnixNano": "2", "asInt": "5", "attributes": [{"key": "c", "value": {"stringValue": "a", "stringValue": "b"}}]}',
        b'{"timeUnixNano": "2", "asInt": "5", "exemplars": [{"asInt": 1, "asInt": 2}]}',
    ],
)
def test_a_point_that_says_a_key_twice_is_set_aside_alone(twice: bytes) -> None:
    """
    Neither of two values is chosen; both are kept. The same value twice is no question.
    """
    document = json.dumps(request(metric(point(1), {"here": 0}, point(2)))).encode()
    same = b'{"timeUnixNano": "2", "asInt": "7", "asInt": "7"}'

    bodies = otlp_json.read(document.replace(b'{"here": 0}', twice + b"," + same))

    assert points_of(bodies) == [1, 7, 2]
    (reject,) = rejects_of(bodies)
    assert reject.reason == "duplicate_key"
    assert twice.replace(b" ", b"") in reject.item


def test_a_request_that_says_a_key_twice_is_set_aside_whole() -> None:
    """
    Which of two lists was meant is not known; the request beside it passes.
    """
    bodies = otlp_json.read(
        b'[{"resourceMetrics": [], "resourceMetrics": [5]}, %s]' % json.dumps(request(metric(point(1)))).encode()
    )

    assert points_of(bodies) == [1]
    assert [reject.reason for reject in rejects_of(bodies)] == ["duplicate_key"]


def test_a_wrong_log_record_costs_its_neighbours_nothing() -> None:
    """
    A log record likewise; a trace id that cannot be read is no mistake but absent.
    """
    good = {
        "timeUnixNano": "1",
        "traceId": "xyz",
        "spanId": 5,
        "severityNumber": "SEVERITY_NUMBER_INFO",
        "eventName": "e",
    }
    wrong = {"timeUnixNano": "1", "body": "text"}

    bodies = read({"resourceLogs": [{"scopeLogs": [{"logRecords": [wrong, good]}]}]})

    (record,) = logs_of(bodies).resource_logs[0].scope_logs[0].log_records
    assert (record.trace_id, record.span_id, record.severity_number, record.event_name) == (b"", b"", 9, "e")
    (reject,) = rejects_of(bodies)
    assert json.loads(reject.item) == {"resourceLogs": [{"scopeLogs": [{"logRecords": [wrong]}]}]}
    assert reject.detail == "reading body: a text where an object such as {stringValue: ...} is expected"


@pytest.mark.parametrize(
    ("wrong", "kept"),
    [
        (request(metric(point(1)), metric(point("x"), point(2), name=5)), [1]),
        (request(metric(point(1)), {"name": "m", "sum": {"dataPoints": {}}}), [1]),
        (
            request(
                metric(point(1)), {"name": "m", "sum": {"aggregationTemporality": "DELTA", "dataPoints": [point(2)]}}
            ),
            [1],
        ),
        ({"resourceMetrics": [*request(metric(point(1)))["resourceMetrics"], {"resource": {"attributes": 5}}]}, [1]),
        ({"resourceMetrics": [*request(metric(point(1)))["resourceMetrics"], 5]}, [1]),
        ({"resourceMetrics": [{"scopeMetrics": [{"scope": 5, "metrics": [metric(point("x"))]}]}]}, []),
        ([request(metric(point(1))), {"resourceMetrics": 5}], [1]),
        ([request(metric(point(1))), 5], [1]),
        ([request(metric(point(1))), [request(metric(point(2)))]], [1]),
        ([request(metric(point(1))), {"event": "no telemetry"}], [1]),
        ([request(metric(point(1))), {"resourceSpans": []}], [1]),
    ],
)
def test_a_mistake_costs_the_smallest_thing_around_it(wrong: Any, kept: list[int]) -> None:
    """
    A wrong metric, scope, resource or request is one reject, in which the points that it holds are not counted again.
    """
    bodies = read(wrong)

    assert points_of(bodies) == kept
    assert len(rejects_of(bodies)) == 1


def test_both_spellings_of_keys() -> None:
    """
    snake_case is read as lowerCamelCase is; of both, and of the members of a oneof, the last counts.
    """
    number = {"time_unix_nano": 2, "timeUnixNano": None, "as_double": 1.5, "asInt": 7}
    document = {
        "resource_metrics": [{"scope_metrics": [{"metrics": [{"name": "m", "sum": {"data_points": [number]}}]}]}]
    }

    (found,) = metrics_of(read(document)).resource_metrics[0].scope_metrics[0].metrics[0].sum.data_points

    assert (found.time_unix_nano, found.as_int, found.WhichOneof("value")) == (2, 7, "as_int")


def test_an_integer_beyond_what_a_double_holds_survives() -> None:
    """
    2^53 + 1 comes out exactly, as a number and as text.
    """
    assert points_of(read(request(metric(point(2**53 + 1), point(str(2**53 + 1)))))) == [2**53 + 1] * 2


def test_constants_that_json_does_not_have_cost_one_point() -> None:
    """
    A bare NaN is read as the double that it is: the kernel quarantines the point, and its neighbours pass.
    """
    body = json.dumps(
        request(metric({"asDouble": float("nan"), "timeUnixNano": 1}, point(float("inf")), point(1)))
    ).encode()
    assert b"NaN" in body

    bodies = otlp_json.read(body)

    assert [
        str(p.as_double) for p in metrics_of(bodies).resource_metrics[0].scope_metrics[0].metrics[0].sum.data_points
    ] == [
        "nan",
        "0.0",
    ]
    assert b"Infinity" in rejects_of(bodies)[0].item


def test_lone_surrogates_cost_one_point() -> None:
    """
    They become bytes that are no UTF-8, for the kernel to quarantine.
    """
    named = {"attributes": [{"key": "k", "value": {"stringValue": "\ud800"}}]}

    (body,) = read(request(metric(point(1, **named))))

    assert b"\xed\xa0\x80" in body.data


@pytest.mark.parametrize("levels", [65, 128, 129, 200])
def test_deep_values_cost_one_point(levels: int) -> None:
    """
    A value nested deeper than 64 passes to the kernel, deeper than 128 it is a reject; neighbours pass either way.
    """
    value: Any = {"stringValue": "x"}
    for _ in range(levels):
        value = {"arrayValue": {"values": [value]}}

    body = otlp_json.read(
        json.dumps(request(metric(point(1, attributes=[{"key": "k", "value": value}]), point(2)))).encode()
    )

    assert [r.reason for r in rejects_of(body)] == (["too_deep"] if levels > 128 else [])
    assert body[0].data.count(b"\x0a\x05calls") == 1


def test_what_stands_around_rejects_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A huge resource is not repeated for each of its wrong points: beyond a budget its digest stands, so that they still differ.
    """
    monkeypatch.setattr(aside, "CONTEXT_BYTES", 1000)

    def items(resource: str) -> list[Any]:
        document = request(metric(*(point(f"x{number}") for number in range(20))))
        document["resourceMetrics"][0]["resource"] = {
            "attributes": [{"key": resource, "value": {"stringValue": "v" * 100}}]
        }
        return [json.loads(r.item) for r in rejects_of(read(document))]

    found = items("a")

    assert [item["item"]["asInt"] for item in found[3:]] == [f"x{number}" for number in range(3, 20)]
    assert "resourceMetrics" in found[0]
    assert found[-1]["around"] != items("b")[-1]["around"]
    assert found == items("a")


def test_very_many_rejects_are_one_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Beyond a number the rest stand together, with all that was in them; what is part of something larger stands there alone.
    """
    monkeypatch.setattr(aside, "MAX_REJECTS", 3)
    wrong = [point(f"x{number}") for number in range(6)]
    lines = [request(metric(*wrong, point(1))), request(metric(point("y"), name=5)), request(metric(point("z")))]

    bodies = otlp_json.read_lines(b"\n".join([*(json.dumps(line).encode() for line in lines), b"\xff{"]))

    *single, rest = rejects_of(bodies)
    assert points_of(bodies) == [1]
    assert [
        json.loads(r.item)["resourceMetrics"][0]["scopeMetrics"][0]["metrics"][0]["sum"]["dataPoints"] for r in single
    ] == [[item] for item in wrong[:3]]
    assert json.loads(rest.item) == [*wrong[3:], metric(point("y"), name=5), point("z"), "\udcff{"]


@pytest.mark.parametrize("unit", [b"{},", b"[],", b"0,", b'"x",'])
def test_a_body_that_would_fill_the_memory_is_not_read(unit: bytes) -> None:
    """
    Sixty megabytes of tiny values, which compress to nothing, are refused before one of them is made.
    """
    body = b'{"resourceMetrics":[' + unit * (60_000_000 // len(unit)) + b"0]}"

    for read_it in (otlp_json.read, otlp_json.read_lines):
        with pytest.raises(UndecodableError):
            read_it(body)
