"""
The answers of the gateway in gRPC's words: one table, for every sender that retries or drops by status code.

=============  ===================  =====================================================
status         gRPC code            details
=============  ===================  =====================================================
stored         OK                   ``partial_success`` only for points in quarantine
retry          UNAVAILABLE          ``google.rpc.RetryInfo``, 1 s to 30 s, jittered
undecodable    INVALID_ARGUMENT     ``google.rpc.BadRequest``
too large      RESOURCE_EXHAUSTED   none: with RetryInfo senders would try again for ever
no credential  UNAUTHENTICATED      none
=============  ===================  =====================================================
"""

import random
from collections.abc import Callable
from dataclasses import dataclass

import grpc
from google.protobuf import any_pb2, duration_pb2
from google.rpc import error_details_pb2, status_pb2
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsPartialSuccess, ExportLogsServiceResponse
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsPartialSuccess,
    ExportMetricsServiceResponse,
)

from meterline.api import Answer, Status
from meterline.printable import printable

MIN_RETRY_SECS = 1.0  # the Collector cuts fractions off elsewhere, and less than this is no relief
MAX_RETRY_SECS = 30.0  # a delay above its max_elapsed_time makes the Collector drop at once
_JITTER = 0.5
_MAX_MESSAGE = 1000  # characters; it travels in a header on refusals
_DETAILS = "grpc-status-details-bin"


@dataclass(frozen=True, slots=True)
class Refusal:
    """
    A gRPC status other than OK.
    """

    code: grpc.StatusCode
    message: str
    details: bytes | None = None  # a serialized google.rpc.Status

    def abort(self, context: grpc.ServicerContext) -> None:
        """
        End the call with this status. Raises, as gRPC wants it.
        """
        if self.details is not None:
            context.set_trailing_metadata(((_DETAILS, self.details),))
        context.abort(self.code, self.message)


def shortened(message: str) -> str:
    """
    Return the message at a length and in characters that fit into a header.
    """
    shown = printable(message[: _MAX_MESSAGE + 1])
    return shown if len(shown) <= _MAX_MESSAGE else shown[: _MAX_MESSAGE - 3] + "..."


def retry_delay_secs(hint: float | None, uniform: Callable[[float, float], float] = random.uniform) -> float:
    """
    Return when a sender shall come again: the hint within 1 s and 30 s, plus up to half of it, so that not all come at once.
    """
    base = min(max(hint or 0.0, MIN_RETRY_SECS), MAX_RETRY_SECS)
    return min(uniform(base, base * (1 + _JITTER)), MAX_RETRY_SECS)


def unavailable(message: str, hint: float | None = None) -> Refusal:
    """
    Not stored, send the same again: UNAVAILABLE with RetryInfo.
    """
    delay = duration_pb2.Duration()
    delay.FromMilliseconds(round(retry_delay_secs(hint) * 1000))
    return _detailed(grpc.StatusCode.UNAVAILABLE, message, error_details_pb2.RetryInfo(retry_delay=delay))


def undecodable(message: str) -> Refusal:
    """
    Refused for good, the body is broken: INVALID_ARGUMENT with BadRequest.
    """
    violation = error_details_pb2.BadRequest.FieldViolation(field="body", description=shortened(message))
    return _detailed(
        grpc.StatusCode.INVALID_ARGUMENT, message, error_details_pb2.BadRequest(field_violations=[violation])
    )


def too_large(message: str) -> Refusal:
    """
    Refused for good, it can never pass: RESOURCE_EXHAUSTED without RetryInfo.
    """
    return Refusal(grpc.StatusCode.RESOURCE_EXHAUSTED, shortened(message))


def unauthenticated(message: str) -> Refusal:
    """
    Refused for good, no or a wrong credential: UNAUTHENTICATED.
    """
    return Refusal(grpc.StatusCode.UNAUTHENTICATED, shortened(message))


def _detailed(code: grpc.StatusCode, message: str, detail: object) -> Refusal:
    text = shortened(message)
    packed = any_pb2.Any()
    packed.Pack(detail)  # type: ignore[arg-type]  # google.rpc has no types
    number: int = code.value[0]
    status = status_pb2.Status(code=number, message=text, details=[packed])
    return Refusal(code, text, status.SerializeToString())


def refusal_of(answer: Answer) -> Refusal | None:
    """
    Return the status that says this answer, or None when it is OK.
    """
    if answer.status is Status.STORED:
        return None
    if answer.status is Status.UNDECODABLE:
        return undecodable(answer.message or "decoding request: it is not an export request")
    if answer.status is Status.TOO_LARGE:
        return too_large(answer.message or "reading request: it is over the size limit")
    return unavailable(answer.message or "storing request: not now", answer.retry_after_secs)


def metrics_response(answer: Answer) -> bytes:
    """
    Return the ExportMetricsServiceResponse of stored points.
    """
    if not answer.rejected:
        return b""
    partial = ExportMetricsPartialSuccess(rejected_data_points=answer.rejected, error_message=shortened(answer.message))
    return ExportMetricsServiceResponse(partial_success=partial).SerializeToString()


def logs_response(answer: Answer) -> bytes:
    """
    Return the ExportLogsServiceResponse of stored records.
    """
    if not answer.rejected:
        return b""
    partial = ExportLogsPartialSuccess(rejected_log_records=answer.rejected, error_message=shortened(answer.message))
    return ExportLogsServiceResponse(partial_success=partial).SerializeToString()
