"""
What an answer of an OTLP server says of the records of a batch.

==================================================  =========  ======================================================
answer                                              verdict    why
==================================================  =========  ======================================================
OK, nothing rejected                                delivered
OK, rejected > 0                                    unknown,   it does not say which; a person looks, whatever
                                                    held       ``on_unknown`` says
OK with a response that cannot be read              unknown,   the same
                                                    held
UNAVAILABLE or RESOURCE_EXHAUSTED with RetryInfo    retry      the server says that it did not take it, and when to come
UNAUTHENTICATED, PERMISSION_DENIED, UNIMPLEMENTED,  retry      not taken, and not the records' fault: no record dies of a
NOT_FOUND, FAILED_PRECONDITION                                 wrong key
INVALID_ARGUMENT, ALREADY_EXISTS,                   rejected   can never pass; the engine halves the batch until it has
RESOURCE_EXHAUSTED without RetryInfo                           found the record, or a size that passes
everything else: UNAVAILABLE without RetryInfo,     unknown    the request was on its way, and may have been taken;
DEADLINE_EXCEEDED, CANCELLED, ABORTED, INTERNAL,               before it is on its way we are "not connected"
UNKNOWN, OUT_OF_RANGE, DATA_LOSS
==================================================  =========  ======================================================
"""

from typing import Any, Final, Literal

import grpc
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse

from meterline.api import Outcome, Verdict
from meterline.printable import printable

_DETAILS: Final = "grpc-status-details-bin"
_OWN_LIMIT: Final = "CLIENT: Received message larger"  # our own core's words on a response over 4 MiB
_MAX_REASON: Final = 300
_Code = grpc.StatusCode
_THROTTLING: Final = frozenset({_Code.UNAVAILABLE, _Code.RESOURCE_EXHAUSTED})
_NOT_OUR_RECORDS: Final = frozenset(
    {
        _Code.UNAUTHENTICATED,
        _Code.PERMISSION_DENIED,
        _Code.UNIMPLEMENTED,
        _Code.NOT_FOUND,
        _Code.FAILED_PRECONDITION,
    }
)
_FOR_GOOD: Final = frozenset({_Code.INVALID_ARGUMENT, _Code.ALREADY_EXISTS, _Code.RESOURCE_EXHAUSTED})


def outcome_of_response(response: bytes, signal: Literal["logs", "metrics"], count: int) -> Outcome:
    """
    Return what an OK with this response says of ``count`` records.
    """
    try:
        if signal == "logs":
            partial: Any = ExportLogsServiceResponse.FromString(response).partial_success
            rejected = partial.rejected_log_records
        else:
            partial = ExportMetricsServiceResponse.FromString(response).partial_success
            rejected = partial.rejected_data_points
    except DecodeError:
        return Outcome(Verdict.UNKNOWN, "answered OK with a response that cannot be read", hold=True)
    if rejected == 0:
        return Outcome(Verdict.DELIVERED)
    reason = f"rejected {rejected} of {count} records without saying which: {partial.error_message}"
    return Outcome(Verdict.UNKNOWN, _shortened(reason), hold=True)


def outcome_of_error(error: grpc.RpcError) -> Outcome:
    """
    Return what a status other than OK says of all records of the request.
    """
    call: Any = error
    code, details = call.code(), call.details() or ""
    reason = _shortened(f"{code.name}: {details}" if details else code.name)
    delay = _retry_delay(call.trailing_metadata() or ())
    if code in _THROTTLING and delay is not None:
        return Outcome(Verdict.RETRY, reason, delay)
    if code in _NOT_OUR_RECORDS:
        return Outcome(Verdict.RETRY, reason)
    if code in _FOR_GOOD and _OWN_LIMIT not in details:
        return Outcome(Verdict.REJECTED, reason)
    return Outcome(Verdict.UNKNOWN, reason)


def _retry_delay(metadata: Any) -> float | None:
    """
    Return the seconds of the RetryInfo in a status's details, or None.
    """
    info = error_details_pb2.RetryInfo()
    try:
        for key, value in metadata:
            if key == _DETAILS:
                details = status_pb2.Status.FromString(value).details
                if any(detail.Unpack(info) for detail in details):
                    return float(max(info.retry_delay.seconds + info.retry_delay.nanos / 1e9, 0.0))
    except DecodeError:
        return None
    return None


def _shortened(text: str) -> str:
    shown = printable(text[: _MAX_REASON + 1])
    return shown if len(shown) <= _MAX_REASON else f"{shown[: _MAX_REASON - 3]}..."
