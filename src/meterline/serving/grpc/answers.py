"""
Refusals in gRPC's words: one table, for every sender that retries or drops by status code.

===============  ===================  =====================================================
cause            gRPC code            details
===============  ===================  =====================================================
RETRY            UNAVAILABLE          ``google.rpc.RetryInfo``, 1 s to 30 s, jittered
UNDECODABLE      INVALID_ARGUMENT     ``google.rpc.BadRequest``
TOO_LARGE        RESOURCE_EXHAUSTED   none: with RetryInfo senders would try again for ever
UNAUTHENTICATED  UNAUTHENTICATED      none
FORBIDDEN        PERMISSION_DENIED    none
===============  ===================  =====================================================
"""

from collections.abc import Mapping

import grpc
from google.protobuf import any_pb2, duration_pb2
from google.rpc import error_details_pb2, status_pb2

from meterline.serving.seam import Cause, Refusal

CODES: Mapping[Cause, grpc.StatusCode] = {
    Cause.RETRY: grpc.StatusCode.UNAVAILABLE,
    Cause.UNDECODABLE: grpc.StatusCode.INVALID_ARGUMENT,
    Cause.TOO_LARGE: grpc.StatusCode.RESOURCE_EXHAUSTED,
    Cause.UNAUTHENTICATED: grpc.StatusCode.UNAUTHENTICATED,
    Cause.FORBIDDEN: grpc.StatusCode.PERMISSION_DENIED,
}
"""Other causes are HTTP's alone."""

_DETAILS = "grpc-status-details-bin"


def abort(refusal: Refusal, context: grpc.ServicerContext) -> None:
    """
    End the call with this refusal. Raises, as gRPC wants it.
    """
    code = CODES[refusal.cause]
    detail = _detail(refusal)
    if detail is not None:
        packed = any_pb2.Any()
        packed.Pack(detail)  # type: ignore[arg-type]  # google.rpc has no types
        number: int = code.value[0]
        status = status_pb2.Status(code=number, message=refusal.message, details=[packed])
        context.set_trailing_metadata(((_DETAILS, status.SerializeToString()),))
    context.abort(code, refusal.message)


def _detail(refusal: Refusal) -> object:
    if refusal.cause is Cause.RETRY:
        delay = duration_pb2.Duration()
        delay.FromMilliseconds(round((refusal.retry_after_secs or 0.0) * 1000))
        return error_details_pb2.RetryInfo(retry_delay=delay)
    if refusal.cause is Cause.UNDECODABLE:
        violation = error_details_pb2.BadRequest.FieldViolation(field="body", description=refusal.message)
        return error_details_pb2.BadRequest(field_violations=[violation])
    return None
