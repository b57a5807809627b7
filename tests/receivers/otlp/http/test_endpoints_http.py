"""
OTLP over HTTP: paths, media types, and every answer in the encoding of its request.
"""

import gzip
import json
import zlib
from collections.abc import Callable
from typing import Any

import cramjam
import lz4.frame
import pytest
import zstandard
from google.rpc import code_pb2, error_details_pb2, status_pb2
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from pydantic import ValidationError

from meterline.api import Answer, Body, Format, Status
from meterline.receivers.otlp import OtlpReceiver
from meterline.testing.fake_intake import STORED

PROTOBUF, JSON, LINES = "application/x-protobuf", "application/json", "application/x-ndjson"
POINT = {"name": "m", "sum": {"dataPoints": [{"asInt": "1", "timeUnixNano": "1"}]}}
METRICS = json.dumps({"resourceMetrics": [{"scopeMetrics": [{"metrics": [POINT]}]}]}).encode()
LOGS = b'{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"timeUnixNano":"1"}]}]}]}'


def request() -> bytes:
    """
    Return a request of one point.
    """
    made = ExportMetricsServiceRequest()
    metric = made.resource_metrics.add().scope_metrics.add().metrics.add(name="m")
    metric.sum.data_points.add(as_int=1, time_unix_nano=1)
    return made.SerializeToString()


def status_of(got: Any) -> status_pb2.Status:
    """
    Return the Status in an answer of either encoding.
    """
    if got.media_type == JSON:
        found = json.loads(got.body)
        return status_pb2.Status(code=found["code"], message=found["message"])
    return status_pb2.Status.FromString(got.body)


@pytest.mark.parametrize(
    ("path", "fmt"),
    [
        ("/v1/metrics", Format.OTLP_METRICS),
        ("/otlp/v1/metrics", Format.OTLP_METRICS),
        ("/api/v1/otlp/v1/metrics", Format.OTLP_METRICS),
        ("/v1/logs", Format.OTLP_LOGS),
        ("/otlp/v1/logs", Format.OTLP_LOGS),
    ],
)
def test_paths(start: Any, intake: Any, path: str, fmt: Format) -> None:
    """
    The paths of OTLP, and those that senders to Grafana and Prometheus use, take protobuf as it is.
    """
    got = start().post(path, request())

    assert (got.status, got.media_type, got.body) == (200, PROTOBUF, b"")
    assert intake.bodies == [Body(fmt, request())]


def test_configured_paths(start: Any, intake: Any) -> None:
    """
    Other paths can be given; the usual ones are then served no longer, the aliases are.
    """
    client = start(metrics_path="/in/m", logs_path="/in/l")

    assert [client.post(path, b"").status for path in ("/in/m", "/in/l", "/v1/metrics", "/v1/logs", "/otlp/v1/logs")] == [
        200, 200, 404, 404, 200,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"metrics_path": "v1"}, "pattern"),
        ({"logs_path": "/a?b"}, "pattern"),
        ({"logs_path": "/v1/metrics"}, "give each its own"),
    ],
)
def test_paths_that_cannot_be(keys: dict[str, str], message: str) -> None:
    """
    A path begins with a slash, has no query, and belongs to one signal.
    """
    with pytest.raises(ValidationError, match=message):
        OtlpReceiver.Config.model_validate({"type": "otlp", "http": keys})


@pytest.mark.parametrize("sections", [{"http": None}, {"http": {}}, {"grpc": None, "http": {}}])
def test_a_section_with_nothing_in_it_takes_all_defaults(sections: dict[str, Any]) -> None:
    """
    ``http:`` alone listens on 4318 of this machine.
    """
    config = OtlpReceiver.Config.model_validate({"type": "otlp", **sections})

    assert config.http is not None
    assert (config.http.endpoint, config.http.metrics_path) == ("127.0.0.1:4318", "/v1/metrics")


@pytest.mark.parametrize(
    ("media_type", "body", "answered"),
    [
        (PROTOBUF, request(), PROTOBUF),
        ("application/protobuf", request(), "application/protobuf"),
        ("Application/X-Protobuf; v=1", request(), PROTOBUF),
        (JSON, METRICS, JSON),
        ("application/json; charset=utf-8", METRICS, JSON),
        (LINES, METRICS + b"\n", JSON),
        ("application/ndjson", METRICS, JSON),
    ],
)
def test_media_types(start: Any, intake: Any, media_type: str, body: bytes, answered: str) -> None:
    """
    Protobuf, JSON and NDJSON, whatever parameters stand beside the type; the answer has the encoding of the request.
    """
    got = start().post("/v1/metrics", body, media_type)

    assert (got.status, got.media_type) == (200, answered)
    assert [ExportMetricsServiceRequest.FromString(data) for data in intake.data] == [
        ExportMetricsServiceRequest.FromString(request())
    ]


@pytest.mark.parametrize("media_type", [None, "", "text/plain", "application/x-www-form-urlencoded", "application/xml"])
def test_other_media_types(start: Any, intake: Any, media_type: str | None) -> None:
    """
    What does not say that it is one of these is answered 415, in JSON, and not stored.
    """
    got = start().post("/v1/metrics", METRICS, media_type)

    assert (got.status, status_of(got).code) == (415, code_pb2.INVALID_ARGUMENT)
    assert intake.bodies == []


def test_protobuf_requests_that_follow_each_other(start: Any, intake: Any) -> None:
    """
    Vector and Fluent Bit put several requests into one body, which is one request of protobuf.
    """
    assert start().post("/v1/metrics", request() * 3).status == 200
    (body,) = intake.bodies
    assert len(ExportMetricsServiceRequest.FromString(body.data).resource_metrics) == 3


@pytest.mark.parametrize("path", ["/v1/metrics", "/v1/logs"])
def test_both_signals_in_one_json_request(start: Any, intake: Any, path: str) -> None:
    """
    Metrics and logs in one JSON request are both stored, on either path.
    """
    both = json.dumps({**json.loads(METRICS), **json.loads(LOGS)}).encode()

    assert start().post(path, both, JSON).status == 200
    assert [body.fmt for body in intake.bodies] == [Format.OTLP_METRICS, Format.OTLP_LOGS]


@pytest.mark.parametrize(
    ("encoding", "compress"),
    [
        ("gzip", gzip.compress),
        ("zstd", zstandard.compress),
        ("deflate", zlib.compress),
        ("zlib", zlib.compress),
        ("snappy", lambda body: bytes(cramjam.snappy.compress_raw(body))),
        ("snappy", lambda body: bytes(cramjam.snappy.compress(body))),
        ("x-snappy-framed", lambda body: bytes(cramjam.snappy.compress(body))),
        ("lz4", lz4.frame.compress),
    ],
)
@pytest.mark.parametrize("media_type", [PROTOBUF, JSON])
def test_compressions(
    start: Any, intake: Any, encoding: str, compress: Callable[[bytes], bytes], media_type: str
) -> None:
    """
    Every compression that the Collector can be set to is taken, in both encodings.
    """
    body = request() if media_type == PROTOBUF else METRICS

    got = start().post("/v1/metrics", compress(body), media_type, Content_Encoding=encoding)

    assert got.status == 200
    assert ExportMetricsServiceRequest.FromString(intake.data[0]) == ExportMetricsServiceRequest.FromString(request())


@pytest.mark.parametrize("media_type", [PROTOBUF, JSON])
def test_empty_requests(start: Any, media_type: str) -> None:
    """
    A request with nothing in it is a success.
    """
    got = start().post("/v1/metrics", b"" if media_type == PROTOBUF else b"{}", media_type)

    assert (got.status, got.body) == (200, b"" if media_type == PROTOBUF else b"{}")


def test_partial_success_in_protobuf(start: Any, intake: Any) -> None:
    """
    Points in quarantine are counted in the response of the signal.
    """
    intake.answer = Answer(Status.STORED, points=3, rejected=2, message="in quarantine")
    client = start()

    metrics = ExportMetricsServiceResponse.FromString(client.post("/v1/metrics", request()).body).partial_success
    logs = ExportLogsServiceResponse.FromString(client.post("/v1/logs", b"").body).partial_success

    assert (metrics.rejected_data_points, metrics.error_message) == (2, "in quarantine")
    assert (logs.rejected_log_records, logs.error_message) == (2, "in quarantine")


def test_partial_success_in_json(start: Any, intake: Any) -> None:
    """
    The same in JSON: lowerCamelCase, and the number as text since it has 64 bits; of all bodies together.
    """
    quarantined = Answer(Status.STORED, points=1, rejected=1, message="in quarantine")
    intake.decide = lambda body: quarantined if body.fmt is Format.REJECTS else STORED
    wrong = METRICS.replace(b'"asInt": "1"', b'"asInt": "x"')
    client = start()

    metrics = client.post("/v1/metrics", wrong + METRICS, JSON)
    logs = client.post("/v1/logs", b'{"resourceLogs":[5]}', JSON)

    assert json.loads(metrics.body) == {"partialSuccess": {"rejectedDataPoints": "1", "errorMessage": "in quarantine"}}
    assert json.loads(logs.body) == {"partialSuccess": {"rejectedLogRecords": "1", "errorMessage": "in quarantine"}}
    assert [body.fmt for body in intake.bodies] == [Format.OTLP_METRICS, Format.REJECTS, Format.REJECTS]


@pytest.mark.parametrize("media_type", [PROTOBUF, JSON])
def test_refused_for_now(start: Any, intake: Any, media_type: str) -> None:
    """
    503 with Retry-After, and with RetryInfo in the Status, both in the encoding of the request.
    """
    intake.answer = Answer(Status.RETRY, message="full", retry_after_secs=2)

    got = start().post("/v1/metrics", request() if media_type == PROTOBUF else METRICS, media_type)

    assert (got.status, got.media_type, status_of(got).code) == (503, media_type, code_pb2.UNAVAILABLE)
    assert status_of(got).message == "full"
    assert 2 <= int(got.headers["retry-after"]) <= 4
    if media_type == PROTOBUF:
        detail = error_details_pb2.RetryInfo()
        assert status_of(got).details[0].Unpack(detail)
        assert 2 <= detail.retry_delay.ToTimedelta().total_seconds() <= 3
    else:
        (found,) = json.loads(got.body)["details"]
        assert found["@type"] == "type.googleapis.com/google.rpc.RetryInfo"
        assert 2 <= float(found["retryDelay"].removesuffix("s")) <= 3


@pytest.mark.parametrize("media_type", [JSON, LINES])
def test_bad_json(start: Any, intake: Any, media_type: str) -> None:
    """
    400 with a BadRequest detail, in JSON, and nothing stored.
    """
    got = start().post("/v1/metrics", b'{"resourceMetrics":[', media_type)

    assert (got.status, got.media_type, intake.bodies) == (400, JSON, [])
    found = json.loads(got.body)
    assert found["code"] == code_pb2.INVALID_ARGUMENT
    assert found["details"] == [
        {
            "@type": "type.googleapis.com/google.rpc.BadRequest",
            "fieldViolations": [{"field": "body", "description": found["message"]}],
        }
    ]


def test_bad_protobuf(start: Any, intake: Any) -> None:
    """
    What the kernel cannot decode is answered 400 with a BadRequest detail, in protobuf.
    """
    intake.answer = Answer(Status.UNDECODABLE, message="broken wire structure")

    got = start().post("/v1/metrics", b"\xff")

    assert (got.status, got.media_type) == (400, PROTOBUF)
    detail = error_details_pb2.BadRequest()
    assert status_of(got).details[0].Unpack(detail)
    assert detail.field_violations[0].description == status_of(got).message == "broken wire structure"


@pytest.mark.parametrize("media_type", [PROTOBUF, JSON])
def test_too_large(start: Any, intake: Any, media_type: str) -> None:
    """
    413 without any hint to try again, before and after decompression.
    """
    client = start(max_request_bytes=1000)

    answers = [
        client.post("/v1/metrics", b"x" * 1001, media_type),
        client.post("/v1/metrics", gzip.compress(b"x" * 1001), media_type, Content_Encoding="gzip"),
    ]

    for got in answers:
        assert (got.status, got.media_type, status_of(got).code) == (413, media_type, code_pb2.RESOURCE_EXHAUSTED)
        assert "retry-after" not in got.headers
    assert intake.bodies == []


@pytest.mark.parametrize("media_type", [PROTOBUF, JSON])
def test_other_methods(start: Any, media_type: str) -> None:
    """
    405 with Allow.
    """
    got = start().post("/v1/metrics", b"", media_type, method="PUT")

    assert (got.status, got.media_type, status_of(got).code) == (405, media_type, code_pb2.UNIMPLEMENTED)
    assert "POST" in got.headers["allow"]


@pytest.mark.parametrize(
    "path", ["/v1/traces", "/otlp/v1/traces", "/v1development/profiles", "/v1/metrics/v1/metrics", "/v1/metrics/", "/"]
)
@pytest.mark.parametrize("media_type", [PROTOBUF, JSON])
def test_what_is_not_served_is_not_found(start: Any, media_type: str, path: str) -> None:
    """
    404 with a Status, in the encoding of the request: other signals, and addresses that were put together wrong.
    """
    got = start().post(path, b"", media_type)

    assert (got.status, got.media_type, status_of(got).code) == (404, media_type, code_pb2.NOT_FOUND)


@pytest.mark.parametrize("media_type", [PROTOBUF, JSON])
def test_credentials(start: Any, intake: Any, media_type: str) -> None:
    """
    401 with a Status for a wrong key, on every path; the right one is stored under its name.
    """
    client = start(auth={"keys": [{"name": "team", "token": "right-" + "0123456789abcdef" * 2}]})
    paths = ("/v1/metrics", "/otlp/v1/metrics", "/api/v1/otlp/v1/metrics", "/v1/logs", "/otlp/v1/logs")

    for path in paths:
        for headers in ({}, {"X_Api_Key": "wrong"}, {"Authorization": "Bearer wrong"}):
            got = client.post(path, b"{}", media_type, **headers)
            assert (got.status, got.media_type, status_of(got).code) == (401, media_type, code_pb2.UNAUTHENTICATED)
    assert intake.bodies == []
    right = "right-" + "0123456789abcdef" * 2
    assert client.post("/v1/metrics", METRICS, JSON, X_Api_Key=right).status == 200
    assert intake.names == {"team"}


def test_forbidden(start: Any) -> None:
    """
    403 with a Status for a tenant that the key may not name.
    """
    token = "right-" + "0123456789abcdef" * 2
    client = start(auth={"keys": [{"name": "team", "token": token, "tenants": ["a"]}]})

    got = client.post("/v1/metrics", METRICS, JSON, X_Api_Key=token, X_Scope_OrgID="b")

    assert (got.status, status_of(got).code) == (403, code_pb2.PERMISSION_DENIED)


def test_messages_are_short(start: Any, intake: Any) -> None:
    """
    However long a message is, an answer stays small.
    """
    client = start()
    for answer in (Answer(Status.STORED, 1, 1, "x" * 100_000), Answer(Status.UNDECODABLE, message="x" * 100_000)):
        intake.answer = answer
        for media_type, body in ((PROTOBUF, request()), (JSON, METRICS)):
            assert len(client.post("/v1/metrics", body, media_type).body) < 4096
