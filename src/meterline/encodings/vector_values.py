"""
Values of Vector's native protocol as plain data, the way Vector's JSON codec shows them.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from google.protobuf.timestamp_pb2 import Timestamp

from meterline._proto.vector.vector_pb2 import Value
from meterline.encodings.events.items import wrong

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_PER_SECOND: Final = 10**9


def plain(value: Value) -> Any:
    """
    Return dict (sorted), list, str, int, float, bool, None, or bytes that are no UTF-8. Times are RFC 3339 texts.

    Raises ItemError: a time that no calendar has.
    """
    kind = value.WhichOneof("kind")
    if kind == "map":
        fields = value.map.fields
        return {key: plain(fields[key]) for key in sorted(fields)}
    if kind == "array":
        return [plain(item) for item in value.array.items]
    return _SCALARS[kind or "null"](value)


def written(time: Timestamp) -> str:
    """
    Return a time as Vector writes it: 0, 3, 6 or 9 places, as many as it needs. Raises ItemError: no calendar has it.
    """
    if not 0 <= time.nanos < _PER_SECOND:
        raise wrong("the nanoseconds of a time are more than a second")
    try:
        whole = (_EPOCH + timedelta(seconds=time.seconds)).replace(tzinfo=None).isoformat()
    except OverflowError as error:
        raise wrong("a time is before the year 1 or after 9999") from error
    return f"{whole}{_fraction(time.nanos)}Z"


def _fraction(nanos: int) -> str:
    if not nanos:
        return ""
    digits = f"{nanos:09d}"
    return "." + (digits[:3] if digits.endswith("000000") else digits[:6] if digits.endswith("000") else digits)


def _text(raw: bytes) -> str | bytes:
    """
    Return Vector's bytes, which are its texts, as text where they are one.
    """
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw


_SCALARS: Final[Mapping[str, Callable[[Value], Any]]] = {
    "raw_bytes": lambda value: _text(value.raw_bytes),
    "timestamp": lambda value: written(value.timestamp),
    "integer": lambda value: value.integer,
    "float": lambda value: value.float,
    "boolean": lambda value: value.boolean,
    "null": lambda _: None,
}
