"""
Usage that is told as it is: JSON objects of the usage API as items of a ``meterline.usage.v1.RecordUsageRequest``.

What an item says wrong about itself, such as a value that is no number, is for the kernel to refuse; here only what a message
cannot carry becomes a ``Reject``.
"""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any, Final, NamedTuple

from meterline.api import Body, Format
from meterline.encodings.json_text import written
from meterline.encodings.rejects import Reject
from meterline.encodings.times import nanoseconds
from meterline.protobuf.write import fixed64, length_delimited, text

UNDECODABLE: Final = "undecodable_item"

_NAMES: Final[Mapping[str, str]] = {
    "customerId": "customer_id",
    "customer_id": "customer_id",
    "dimensionId": "dimension_id",
    "dimension_id": "dimension_id",
    "recordValue": "record_value",
    "record_value": "record_value",
    "timestamp": "timestamp",
    "metadata": "metadata",
    "idempotencyKey": "idempotency_key",
    "idempotency_key": "idempotency_key",
    "id": "idempotency_key",
}
_PLAIN_DIGITS: Final = 100


class UsageItem(NamedTuple):
    """
    One item. ``record_value``: decimal text. ``timestamp``: ns UTC, 0 = none.
    """

    customer_id: str
    dimension_id: str
    record_value: str
    timestamp: int = 0
    metadata: Mapping[str, str] = {}
    idempotency_key: str = ""

    def message(self) -> bytes:
        """
        Return the UsageItem message: the same bytes for the same item.
        """
        pairs = sorted(self.metadata.items())
        parts = [text(1, self.customer_id), text(2, self.dimension_id), text(3, self.record_value)]
        parts += [fixed64(4, self.timestamp)] if self.timestamp else []
        parts += [length_delimited(5, text(1, key) + text(2, value)) for key, value in pairs]
        parts += [text(6, self.idempotency_key)] if self.idempotency_key else []
        return b"".join(parts)


def usage_body(items: Iterable[UsageItem], received_at: int = 0) -> Body:
    """
    Return the request of these items. ``received_at``: the time, ns UTC, of those with a key and no time; 0: they have none.
    """
    data = b"".join(length_delimited(1, item.message()) for item in items)
    return Body(Format.USAGE, stamped(data, received_at))


def stamped(request: bytes, received_at: int) -> bytes:
    """
    Return a RecordUsageRequest with ``received_at`` as we say, whatever stands in it: the last of equal fields counts.
    """
    return request + fixed64(2, received_at)


def read_item(value: Any, key: str = "") -> UsageItem | Reject:
    """
    Read one item as ``encodings.json`` gives it. ``key``: its idempotency key, if it has none of its own.

    Names in camel or snake case; numbers stand for their exact decimal text. An unknown name is a reject: what it says would
    be lost.
    """
    try:
        fields = _fields(value)
        return UsageItem(
            _text(fields, "customer_id"),
            _text(fields, "dimension_id"),
            _number(fields.get("record_value")),
            _time(fields.get("timestamp")),
            _metadata(fields.get("metadata")),
            _text(fields, "idempotency_key") or key,
        )
    except _RejectError as error:
        return Reject(error.reason, str(error), written(value))


class _RejectError(Exception):
    """
    An item cannot be carried. The message is for people and names no values.
    """

    def __init__(self, message: str, reason: str = UNDECODABLE) -> None:
        super().__init__(message)
        self.reason = reason


def _fields(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _RejectError("reading item: it is no JSON object")
    fields: dict[str, Any] = {}
    for key, each in value.items():
        name = _NAMES.get(key)
        if name is None:
            raise _RejectError(
                "reading item: it has a key that is not known here; what goes with a record is `metadata`"
            )
        if name in fields:
            raise _RejectError(f"reading {name}: it stands there under two names")
        fields[name] = each
    return fields


def _text(fields: Mapping[str, Any], name: str) -> str:
    value = fields.get(name)
    if isinstance(value, bool) or not isinstance(value, str | int | None):
        raise _RejectError(f"reading {name}: it is neither text nor an integer")
    return "" if value is None else str(value)


def _number(value: Any) -> str:
    """
    Return a value as decimal text; a text goes on as it is.
    """
    if value is None or isinstance(value, str):
        return value or ""
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        raise _RejectError("reading record_value: it is neither a number nor a text")
    exact = Decimal(repr(value)) if isinstance(value, float) else Decimal(value)
    if abs(exact.adjusted()) >= _PLAIN_DIGITS and exact:
        raise _RejectError(
            "reading record_value: its exponent is out of range",
            "out_of_range" if exact.adjusted() > 0 else "too_many_places",
        )
    return format(exact, "f") if exact else "0"


def _time(value: Any) -> int:
    if value is None or value == "":
        return 0
    time = nanoseconds(value)
    if not time:
        raise _RejectError("reading timestamp: it is neither an RFC 3339 time nor a count since 1970")
    return time


def _metadata(value: Any) -> dict[str, str]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise _RejectError("reading metadata: it is no JSON object")
    return {key: _scalar(each) for key, each in value.items() if each is not None}


def _scalar(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, dict | list):
        raise _RejectError("reading metadata: a value is neither text, number nor true or false")
    return written(value).decode()
