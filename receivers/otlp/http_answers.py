"""
The answers of the gateway as OTLP/HTTP bodies (opentelemetry-proto, "OTLP/HTTP Response").

===============  ====  ===================  =====================================
cause            HTTP  Status.code          details
===============  ====  ===================  =====================================
undecodable      400   INVALID_ARGUMENT     ``google.rpc.BadRequest``
unauthenticated  401   UNAUTHENTICATED      none
forbidden        403   PERMISSION_DENIED    none
not found        404   NOT_FOUND            none
method           405   UNIMPLEMENTED        none
too large        413   RESOURCE_EXHAUSTED   none
media type       415   INVALID_ARGUMENT     ``google.rpc.BadRequest``
retry            503   UNAVAILABLE          ``google.rpc.RetryInfo``, as Retry-After
===============  ====  ===================  =====================================
"""

import json
from collections.abc import Mapping
from enum import Enum
from typing import Any, Final

from google.protobuf import any_pb2, duration_pb2, json_format
from google.rpc import code_pb2, error_details_pb2, status_pb2

from meterline.api import Answer
from meterline.serving.refusals import shortened
from meterline.serving.retry import MIN_RETRY_SECS
from meterline.serving.seam import Cause, Refusal, Reply


class Encoding(Enum):
    """
    How a request and its answer are written; the value is the media type that OTLP gives it.
    """

    PROTOBUF = "application/x-protobuf"
    JSON = "application/json"


_CODES: Final[Mapping[Cause, int]] = {
    Cause.UNDECODABLE: code_pb2.INVALID_ARGUMENT,
    Cause.UNAUTHENTICATED: code_pb2.UNAUTHENTICATED,
    Cause.FORBIDDEN: code_pb2.PERMISSION_DENIED,
    Cause.NOT_FOUND: code_pb2.NOT_FOUND,
    Cause.METHOD: code_pb2.UNIMPLEMENTED,
    Cause.TOO_LARGE: code_pb2.RESOURCE_EXHAUSTED,
    Cause.MEDIA_TYPE: code_pb2.INVALID_ARGUMENT,
    Cause.RETRY: code_pb2.UNAVAILABLE,
}
_BAD_REQUEST_FIELDS: Final = {Cause.UNDECODABLE: "body", Cause.MEDIA_TYPE: "headers"}


def json_response(answer: Answer, rejected: str) -> bytes:
    """
    Return the export response as JSON; ``rejected``: the signal's name for the number of rejected points.
    """
    if not answer.rejected:
        return b"{}"
    partial = {rejected: str(answer.rejected), "errorMessage": shortened(answer.message)}  # int64 is text in ProtoJSON
    return json.dumps({"partialSuccess": partial}).encode("ascii")


def status(refusal: Refusal, encoding: Encoding, media_type: str) -> Reply:
    """
    Return a refusal as a google.rpc.Status; protobuf is answered under the media type it was sent with.
    """
    message = shortened(refusal.message)
    made = status_pb2.Status(code=_CODES[refusal.cause], message=message, details=_details(refusal, message))
    if encoding is Encoding.PROTOBUF:
        return Reply(refusal.cause.value, made.SerializeToString(), media_type)
    document = json_format.MessageToDict(made)
    return Reply(refusal.cause.value, json.dumps(document).encode("ascii"), encoding.value)


def _details(refusal: Refusal, message: str) -> list[any_pb2.Any]:
    detail: Any = None
    field = _BAD_REQUEST_FIELDS.get(refusal.cause)
    if field is not None:
        violation = error_details_pb2.BadRequest.FieldViolation(field=field, description=message)
        detail = error_details_pb2.BadRequest(field_violations=[violation])
    elif refusal.cause is Cause.RETRY:
        delay = duration_pb2.Duration()
        delay.FromMilliseconds(round((refusal.retry_after_secs or MIN_RETRY_SECS) * 1000))
        detail = error_details_pb2.RetryInfo(retry_delay=delay)
    if detail is None:
        return []
    packed = any_pb2.Any()
    packed.Pack(detail)
    return [packed]
