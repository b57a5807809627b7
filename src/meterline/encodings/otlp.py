"""
Writing OTLP export requests: what every receiver of another protocol ends in (opentelemetry-proto 1.11).
"""

from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from functools import partial
from typing import Any, Final

from meterline.errors import UndecodableError
from meterline.protobuf.write import double, fixed64, length_delimited, number, pair, sfixed64, text

MAX_DEPTH: Final = 128
"""Deeper values are refused with their request; from 64 on the kernel quarantines the point (reliability.md B3)."""

INT64: Final = range(-(2**63), 2**63)
MAX_TIME: Final = 2**64 - 1

_PLAIN_DIGITS: Final = 100

_EXEMPLARS: Final = {7: 5, 9: 8}

DELTA: Final = 1
CUMULATIVE: Final = 2


def _integer(value: int) -> bytes:
    return number(3, value) if value in INT64 else text(1, str(value))


def _decimal(value: Decimal) -> bytes:
    nearest = float(value)
    if Decimal(repr(nearest)) == value:
        return double(4, nearest)
    plain = abs(value.adjusted()) < _PLAIN_DIGITS  # 1E999999999 written out would fill the memory
    return text(1, format(value, "f") if plain else str(value))


_SCALARS: Final[Mapping[type, Callable[[Any], bytes]]] = {
    str: partial(text, 1),
    bool: lambda value: number(2, value),
    int: _integer,
    float: partial(double, 4),
    Decimal: _decimal,
    bytes: partial(length_delimited, 7),
    type(None): lambda _: b"",
}


def any_value(value: Any, depth: int = 0) -> bytes:
    """
    Return the AnyValue of plain data. None is an empty one.

    Numbers stay exact: an integer beyond 64 bits, and a Decimal that no double's shortest form equals, become text, which
    rules read as the number that it is.

    :raises UndecodableError: nested deeper than ``MAX_DEPTH``.
    """
    scalar = _SCALARS.get(type(value))
    if scalar is not None:
        return scalar(value)
    if depth >= MAX_DEPTH:
        raise UndecodableError(f"reading value: it is nested deeper than {MAX_DEPTH} levels")
    if isinstance(value, Mapping):
        return length_delimited(6, key_values(1, value, depth + 1))
    return length_delimited(5, b"".join(length_delimited(1, any_value(item, depth + 1)) for item in value))


def key_values(field: int, values: Mapping[Any, Any], depth: int = 0) -> bytes:
    """
    Return a mapping as repeated KeyValue fields; keys are made text.
    """
    return b"".join(
        [
            pair(
                field, (key if type(key) is str else str(key)).encode("utf-8", "surrogatepass"), any_value(value, depth)
            )
            for key, value in values.items()
        ]
    )


def log_record(
    *,
    time: int = 0,
    observed: int = 0,
    body: Any = None,
    attributes: Mapping[str, Any] | None = None,
    severity_text: str = "",
    severity_number: int = 0,
    event_name: str = "",
) -> bytes:
    """
    Return a LogRecord message. Times in ns, 0 = not known; ``body`` None = none.
    """
    parts = [fixed64(1, time)] if time else []
    if severity_number:
        parts.append(number(2, severity_number))
    if severity_text:
        parts.append(text(3, severity_text))
    if body is not None:
        parts.append(length_delimited(5, any_value(body)))
    if attributes:
        parts.append(key_values(6, attributes))
    if observed:
        parts.append(fixed64(11, observed))
    if event_name:
        parts.append(text(12, event_name))
    return b"".join(parts)


def number_point(
    value: float | None,
    *,
    time: int,
    start: int = 0,
    attributes: bytes = b"",
    flags: int = 0,
    point_id: bytes = b"",
) -> bytes:
    """
    Return a NumberDataPoint: an int within 64 bits exactly as one, a float as a double.

    ``attributes``: made by ``key_values(7, ...)``. ``point_id``: 16 bytes, for TRANSCODED_METRICS alone: the identity of a
    delta point, which travels as the trace id of its one exemplar. An int beyond 64 bits must be made a float by the caller.
    """
    parts = [fixed64(2, start)] if start else []
    parts.append(fixed64(3, time))
    if isinstance(value, int):
        parts.append(sfixed64(6, value))
    elif value is not None:
        parts.append(double(4, value))
    parts.append(attributes)
    if flags:
        parts.append(number(8, flags))
    if point_id:
        parts.append(own_identity(7, point_id))
    return b"".join(parts)


def own_identity(data: int, point_id: bytes) -> bytes:
    """
    Return the field of a point of a sum (``data`` 7) or histogram (9) that says its identity, of 16 bytes.
    """
    return length_delimited(_EXEMPLARS[data], length_delimited(5, point_id))


def gauge(name: str, points: Iterable[bytes], *, unit: str = "", metadata: bytes = b"") -> bytes:
    """
    Return a Metric with a Gauge. ``metadata``: made by ``key_values(12, ...)``.
    """
    return metric(name, unit, 5, b"".join(length_delimited(1, point) for point in points), metadata)


def counter(
    name: str,
    points: Iterable[bytes],
    *,
    temporality: int,
    monotonic: bool = True,
    unit: str = "",
    metadata: bytes = b"",
) -> bytes:
    """
    Return a Metric with a Sum; ``temporality`` is DELTA or CUMULATIVE.
    """
    data = b"".join(length_delimited(1, point) for point in points) + number(2, temporality)
    return metric(name, unit, 7, data + (number(3, 1) if monotonic else b""), metadata)


def metric(name: str, unit: str, field: int, data: bytes, metadata: bytes = b"") -> bytes:
    """
    Return a Metric whose data is in this field of its oneof. ``metadata``: made by ``key_values(12, ...)``.
    """
    return text(1, name) + (text(3, unit) if unit else b"") + length_delimited(field, data) + metadata


def resource(
    items: Iterable[bytes],
    attributes: Mapping[str, Any],
    scope: str = "",
    scope_version: str = "",
    scope_attributes: Mapping[str, Any] | None = None,
) -> bytes:
    """
    Return one field of an export request: a ResourceMetrics (of Metric messages) or a ResourceLogs (of LogRecords).

    Concatenated, they are a request. The bytes are the same for the same input, so that a repeat has the same digest.
    """
    name = (text(1, scope) if scope else b"") + (text(2, scope_version) if scope_version else b"")
    name += key_values(3, scope_attributes or {})
    scoped = length_delimited(1, name) + b"".join(length_delimited(2, item) for item in items)
    head = length_delimited(1, key_values(1, attributes))
    return length_delimited(1, head + length_delimited(2, scoped))
