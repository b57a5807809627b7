"""
Every row of the answer table, as a client of the wire sees it.
"""

import random
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse

from meterline.api import ANONYMOUS, Answer, Body, Format, Status
from meterline.printable import printable
from meterline.serving.auth.keys import KeyRing
from meterline.serving.retry import retry_delay_secs
from meterline.testing.receivers import outcomes

METRICS = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export"
LOGS = "/opentelemetry.proto.collector.logs.v1.LogsService/Export"
TRACES = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
BODY = b"\x0a\x00"


def refused(channel: grpc.Channel, body: bytes = BODY, method: str = METRICS, **call: Any) -> grpc.RpcError:
    """
    Send a request that must be refused, and return how.
    """
    with pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary(method)(body, timeout=20, **call)
    return caught.value


def detail(error: Any, kind: Any) -> Any:
    """
    Return the one detail of a refusal, which must be of this kind; None: it has no details.
    """
    raw = dict(error.trailing_metadata()).get("grpc-status-details-bin")
    if raw is None:
        return None
    status = status_pb2.Status.FromString(raw)
    assert status.code == error.code().value[0]
    assert status.message == error.details()
    unpacked = kind()
    assert [any_detail.Unpack(unpacked) for any_detail in status.details] == [True]
    return unpacked


def retry_secs(error: Any) -> float:
    """
    Return the delay of the RetryInfo that the refusal must have.
    """
    info = detail(error, error_details_pb2.RetryInfo)
    assert info is not None
    return info.retry_delay.ToTimedelta().total_seconds()


def values(receiver: Any) -> dict[str, float]:
    """
    Return the samples without labels of their own, by name.
    """
    return {s.name.removeprefix("meterline_receiver_"): s.value for s in receiver.samples() if "signal" not in s.labels}


def test_stored_is_ok_without_partial_success(start: Any, connect: Any, intake: Any) -> None:
    """
    A stored request has an empty answer, for both signals, and its bytes reach the intake as they were.
    """
    receiver = start()
    channel = connect(receiver)

    assert channel.unary_unary(METRICS)(BODY) == b""
    assert channel.unary_unary(LOGS)(b"") == b""

    assert intake.bodies == [Body(Format.OTLP_METRICS, BODY), Body(Format.OTLP_LOGS, b"")]
    assert intake.senders == [("otlp", ANONYMOUS)] * 2


def test_rejected_points_are_a_partial_success(start: Any, connect: Any, intake: Any) -> None:
    """
    Points in quarantine are counted in the answer, with a message that is cut to a length.
    """
    receiver = start()
    channel = connect(receiver)
    intake.answer = Answer(Status.STORED, points=5, rejected=2, message="bad\n" * 5000)

    metrics = ExportMetricsServiceResponse.FromString(channel.unary_unary(METRICS)(BODY)).partial_success
    logs = ExportLogsServiceResponse.FromString(channel.unary_unary(LOGS)(BODY)).partial_success

    assert (metrics.rejected_data_points, logs.rejected_log_records) == (2, 2)
    assert len(metrics.error_message) == 1000
    assert metrics.error_message.endswith("...")
    assert outcomes(receiver, signal="metrics") == {"partial_success": 1}
    assert values(receiver)["accepted_metric_points"] == 3
    assert values(receiver)["quarantined_log_records"] == 2


@pytest.mark.parametrize(
    ("hint", "range_secs"), [(None, (1, 1.5)), (0.2, (1, 1.5)), (7.5, (7.5, 11.25)), (900, (30, 30))]
)
def test_retry_is_unavailable_with_retry_info(
    start: Any, connect: Any, intake: Any, hint: float | None, range_secs: tuple[float, float]
) -> None:
    """
    Not stored is UNAVAILABLE; the delay is at least 1 s, at most 30 s, and jittered upwards.
    """
    receiver = start()
    intake.answer = Answer(Status.RETRY, points=4, message="disk full", retry_after_secs=hint)

    error = refused(connect(receiver))

    assert (error.code(), error.details()) == (grpc.StatusCode.UNAVAILABLE, "disk full")
    assert range_secs[0] <= retry_secs(error) <= range_secs[1]
    assert outcomes(receiver, signal="metrics") == {"unavailable": 1}
    assert values(receiver)["refused_metric_points"] == 4


def test_retry_delays_differ(rng: random.Random) -> None:
    """
    Senders that are refused at once do not come back at once.
    """
    delays = {retry_delay_secs(10, rng.uniform) for _ in range(50)}

    assert len(delays) > 40


def test_undecodable_is_invalid_argument_with_bad_request(start: Any, connect: Any, intake: Any) -> None:
    """
    A body that the kernel cannot walk is refused for good, with the reason as a BadRequest.
    """
    receiver = start()
    intake.answer = Answer(Status.UNDECODABLE, message="reading field 1: cut off")

    error = refused(connect(receiver))

    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert detail(error, error_details_pb2.BadRequest).field_violations[0].description == "reading field 1: cut off"
    assert outcomes(receiver, signal="metrics") == {"invalid_argument": 1}


def test_too_large_is_resource_exhausted_without_retry_info(start: Any, connect: Any, intake: Any) -> None:
    """
    What can never pass has no RetryInfo, or senders would try for ever.
    """
    receiver = start()
    intake.answer = Answer(Status.TOO_LARGE, message="over the limit")

    error = refused(connect(receiver))

    assert (error.code(), error.details()) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "over the limit")
    assert detail(error, error_details_pb2.RetryInfo) is None
    assert outcomes(receiver, signal="metrics") == {"resource_exhausted": 1}


def test_an_unexpected_exception_is_unavailable(start: Any, connect: Any, intake: Any) -> None:
    """
    An exception nobody expected is never UNKNOWN or INTERNAL, on which senders drop.
    """
    receiver = start()
    intake.decide = lambda _: 1 // 0

    error = refused(connect(receiver))

    assert error.code() is grpc.StatusCode.UNAVAILABLE
    assert retry_secs(error) >= 1
    assert "ZeroDivision" not in error.details()
    assert intake.in_flight == 0


def test_an_exception_while_authenticating_is_unavailable(
    start: Any, connect: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A fault in checking a credential is not a wrong credential.
    """
    receiver = start(auth={"keys": [{"name": "a", "token": "t"}]})

    def fail(*_: object) -> None:
        raise OSError("key store down")

    monkeypatch.setattr(KeyRing, "find", fail)

    error = refused(connect(receiver), metadata=(("x-api-key", "t"),))

    assert error.code() is grpc.StatusCode.UNAVAILABLE
    assert retry_secs(error) >= 1


def test_traces_are_unimplemented(start: Any, connect: Any) -> None:
    """
    A signal that is not metered is refused for good.
    """
    assert refused(connect(start()), method=TRACES).code() is grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize("message", ["", "line\nfeed\r\x00", "ümläut \U0001f600", "%2525 %"])
def test_any_message_survives_the_header(start: Any, connect: Any, intake: Any, message: str) -> None:
    """
    Control characters in a message arrive escaped, all others as they are; an empty one is replaced.
    """
    intake.answer = Answer(Status.RETRY, message=message)

    error = refused(connect(start()))

    assert error.details() == (printable(message) or "storing request: not now")
    assert retry_secs(error) >= 1
