"""
Attribute values as plain Python, and the canonical bytes of values, streams and log records, which identities are hashed from.

Canonical form of a value (all integers big-endian; independent of field order, of duplicate keys but the last, and of the
sender's encoder)::

    absent or empty   "n"
    bool              "t" or "f"
    int               "i" + int64
    double            "d" + IEEE 754 bits; every NaN as 7ff8000000000000, -0.0 keeps its sign bit
    text              "s" + u32 length + UTF-8
    bytes             "b" + u32 length + bytes
    array             "a" + u32 count + items
    JSON number       "j" + u32 length + text: sign, digits without zeros at their end, "e", exponent; if it is no int64
    map               "m" + u32 count + per entry, sorted by the key's UTF-8: u32 length + key + value; the last of equal keys

Stream identity = BLAKE2b, 16 bytes, no key, of ``"meterline.stream.1"`` + map(resource attributes) + text(scope name) +
text(scope version) + map(scope attributes) + text(metric name) + text(unit) + text(point type: gauge, sum, histogram,
exponential_histogram, summary) + one byte temporality (0, 1, 2) + one byte monotonic (0, 1) + map(point attributes).

Log content identity = the same hash of ``"meterline.log.1"`` + map(resource attributes) + text(scope name) +
text(scope version) + map(scope attributes) + u64 time + text(event name) + value(body) + map(attributes) + u64 k, where
k counts the equal records that came before it in the request, and time is time_unix_nano, or observed_time_unix_nano when
that is zero.
"""

import struct
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from functools import lru_cache
from hashlib import blake2b
from typing import Any, Final, NamedTuple

from meterline.errors import UndecodableError
from meterline.kernel.reasons import Reason
from meterline.kernel.seam import Bad, Context, Value
from meterline.protobuf.read import I64, LEN, VARINT, fields

MAX_DEPTH = 64

_U32 = struct.Struct(">I")
_I64 = struct.Struct(">q")
_F64 = struct.Struct(">d")
_DOUBLE = struct.Struct("<d")
_NAN = bytes.fromhex("7ff8000000000000")

STREAM_TAG = b"meterline.stream.1"
LOG_TAG = b"meterline.log.1"


class BadValueError(Exception):
    """
    A value cannot be read or written canonically; stays inside the kernel, which turns it into a quarantine reason.
    """

    def __init__(self, reason: Reason) -> None:
        """
        Keep the reason.
        """
        super().__init__(reason.code)
        self.reason = reason


# Reading: AnyValue -> plain Python


def text(raw: bytes) -> str:
    """
    Decode UTF-8. Raises BadValueError.
    """
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise BadValueError(Reason.BAD_UTF8) from None


def any_value(buf: bytes, pos: int, end: int, depth: int = 0) -> Value:
    """
    Read an AnyValue message: the last member of its oneof wins, nested messages of one kind merge; nothing set is None.

    Raises BadValueError for bad UTF-8, broken bytes, and more than 64 levels of arrays and maps.
    """
    kind = 0
    value: Value = None
    try:
        for number, wire, a, b, _ in fields(buf, pos, end):
            if number in _NESTED and wire == LEN:
                value = _NESTED[number](value if number == kind else None, _items(buf, a, b, depth), depth + 1)
            elif (number, wire) in _SCALARS:
                value = _SCALARS[number, wire](buf, a, b)
            else:
                continue
            kind = number
    except UndecodableError:
        raise BadValueError(Reason.UNDECODABLE_VALUE) from None
    return value


_Item = tuple[bytes, int, int]


def _items(buf: bytes, a: int, b: int, depth: int) -> list[_Item]:
    """
    Find the items of an ArrayValue or KeyValueList.
    """
    if depth >= MAX_DEPTH:
        raise BadValueError(Reason.TOO_DEEP)
    return [(buf, start, stop) for num, wire, start, stop, _ in fields(buf, a, b) if num == 1 and wire == LEN]


def _array(merged: Value, items: list[_Item], depth: int) -> Value:
    """
    Read more items; what a part before this one had is added to in place, as parts may be as many as bytes.
    """
    found = merged if isinstance(merged, list) else []
    found.extend(any_value(*item, depth) for item in items)
    return found


def _map(merged: Value, items: list[_Item], depth: int) -> Value:
    found = merged if isinstance(merged, dict) else {}
    found.update(key_value(*item, depth) for item in items)
    return found


_NESTED: Final[Mapping[int, Callable[[Value, list[_Item], int], Value]]] = {5: _array, 6: _map}

_SCALARS: Final[Mapping[tuple[int, int], Callable[[bytes, int, int], Value]]] = {
    (1, LEN): lambda buf, a, b: text(buf[a:b]),
    (2, VARINT): lambda _buf, a, _b: a != 0,
    (3, VARINT): lambda _buf, a, _b: a - (1 << 64) if a >> 63 else a,
    (4, I64): lambda buf, a, _b: _DOUBLE.unpack_from(buf, a)[0],
    (7, LEN): lambda buf, a, b: buf[a:b],
    (8, VARINT): lambda _buf, _a, _b: None,  # string_value_strindex has a meaning in profiles only
}
"""Members of AnyValue by (number, wire type): string, bool, int, double, bytes."""


def key_value(buf: bytes, pos: int, end: int, depth: int = 0) -> tuple[str, Value]:
    """
    Read a KeyValue message. Raises BadValueError.
    """
    key, at, stop, data = _split(buf, pos, end)
    return text(key), any_value(data, at, stop, depth)


def _split(buf: bytes, pos: int, end: int) -> tuple[bytes, int, int, bytes]:
    """
    Find the key and the span of the value of a KeyValue: (key, start, end, buffer that the span is in).
    """
    key = b""
    spans: list[tuple[int, int]] = []
    try:
        for number, wire, a, b, _ in fields(buf, pos, end):
            if wire == LEN and number == 1:
                key = buf[a:b]
            elif wire == LEN and number == 2:
                spans.append((a, b))
    except UndecodableError:
        raise BadValueError(Reason.UNDECODABLE_VALUE) from None
    if len(spans) == 1:
        return key, spans[0][0], spans[0][1], buf
    joined = b"".join(buf[a:b] for a, b in spans)  # a repeated message field merges, as if its bytes stood side by side
    return key, 0, len(joined), joined


class Entry(NamedTuple):
    """
    A KeyValue message, read: ``key`` and ``value`` as rules see them (a value may be a ``Bad``), and both in canonical form.

    ``reason``: why it has no canonical form, or None. ``key`` is None when it is not UTF-8.
    """

    key: str | None
    value: Value
    raw_key: bytes
    written: bytes
    reason: Reason | None


def _read_entry(entry: bytes) -> Entry:
    raw = b""
    key = None
    try:
        raw, at, stop, data = _split(entry, 0, len(entry))
        key = text(raw)
        value = any_value(data, at, stop)
    except BadValueError as error:
        return Entry(key, Bad(error.reason), raw, b"", error.reason)
    return Entry(key, value, raw, canonical(value), None)


_CACHED_SIZE: Final = 256
_cached_entry = lru_cache(maxsize=8_192)(_read_entry)


def read_entry(entry: bytes) -> Entry:
    """
    Read a KeyValue message; short ones are remembered, since senders say the same again and again.
    """
    return _cached_entry(entry) if len(entry) <= _CACHED_SIZE else _read_entry(entry)


def attributes(entries: Iterable[bytes]) -> dict[str, Value]:
    """
    Read KeyValue messages into what rules see: a value that cannot be read is a ``Bad``, as is one whose key stands twice.

    An entry whose key cannot be read is left out: no rule can ask for it, and the canonical form refuses the point.
    """
    seen: dict[str, Value] = {}
    for key, value, _, _, _ in map(read_entry, entries):
        if key is not None:
            seen[key] = Bad(Reason.DUPLICATE_KEY) if key in seen else value
    return seen


def read_value(buf: bytes, pos: int, end: int) -> Value:
    """
    Read an AnyValue; what cannot be read is a ``Bad``.
    """
    try:
        return any_value(buf, pos, end)
    except BadValueError as error:
        return Bad(error.reason)


# Writing: plain Python -> canonical bytes


def put_text(value: str) -> bytes:
    """
    Write the canonical form of a text.
    """
    raw = value.encode()
    return b"s" + _U32.pack(len(raw)) + raw


def canonical(value: Value) -> bytes:
    """
    Write the canonical form of a value that ``any_value`` gives, or JSON.
    """
    return _WRITERS[type(value)](value)


def _int(value: int) -> bytes:
    return b"i" + _I64.pack(value) if -(1 << 63) <= value < 1 << 63 else _json_number(Decimal(value))


def _double(value: float) -> bytes:
    return b"d" + (_NAN if value != value else _F64.pack(value))  # noqa: PLR0124 (only a NaN differs from itself)


def _list(value: list[Value]) -> bytes:
    return b"".join((b"a", _U32.pack(len(value)), *map(canonical, value)))


def _dict(value: dict[str, Value]) -> bytes:
    return canonical_map({key.encode(): canonical(item) for key, item in value.items()})


def _json_number(value: Decimal) -> bytes:
    sign, digits, exponent = value.as_tuple()
    text = "".join(map(str, digits)).rstrip("0") or "0"
    shift = int(exponent) + len(digits) - len(text) if text != "0" else 0
    raw = f"{'-' * sign}{text.lstrip('0') or '0'}e{shift}".encode()
    return b"j" + _U32.pack(len(raw)) + raw


def canonical_map(entries: dict[bytes, bytes]) -> bytes:
    """
    Write the canonical form of a map from UTF-8 keys to canonical values.
    """
    parts = [b"m", _U32.pack(len(entries))]
    for key in sorted(entries):
        parts += (_U32.pack(len(key)), key, entries[key])
    return b"".join(parts)


_WRITERS: Final[Mapping[type, Callable[[Any], bytes]]] = {
    type(None): lambda _value: b"n",
    str: put_text,
    bool: lambda value: b"t" if value else b"f",
    int: _int,
    Decimal: _json_number,
    float: _double,
    bytes: lambda value: b"b" + _U32.pack(len(value)) + value,
    list: _list,
    dict: _dict,
}


def canonical_attributes(entries: Iterable[bytes]) -> bytes:
    """
    Write the canonical form of KeyValue messages, as they came. Raises BadValueError.
    """
    found: dict[bytes, bytes] = {}
    for _, _, key, written, reason in map(read_entry, entries):
        if reason is not None:
            raise BadValueError(reason)
        found[key] = written
    return canonical_map(found)


def digest(*parts: bytes) -> bytes:
    """
    Hash the parts, as they stand, to 16 bytes: BLAKE2b without key.
    """
    return blake2b(b"".join(parts), digest_size=16).digest()


def stream_prefix(context: Context, resource: bytes, scope: bytes) -> bytes:
    """
    Write all of a stream's canonical form but the point attributes; ``resource`` and ``scope`` are canonical maps.
    """
    return b"".join(
        (
            STREAM_TAG,
            resource,
            put_text(context.scope_name),
            put_text(context.scope_version),
            scope,
            put_text(context.name),
            put_text(context.unit),
            put_text(context.type.value),
            bytes((context.temporality.value, context.monotonic)),
        )
    )


def log_prefix(context: Context, resource: bytes, scope: bytes) -> bytes:
    """
    Write the part of a log record's canonical form that its resource and scope make.
    """
    return b"".join((LOG_TAG, resource, put_text(context.scope_name), put_text(context.scope_version), scope))


def lookup(value: Any, path: tuple[str, ...], absent: Value) -> Value:
    """
    Follow keys into nested maps; ``absent`` when one is missing or the value is no map. A ``Bad`` on the way is the answer.
    """
    for key in path:
        if isinstance(value, Bad):
            return value
        if not isinstance(value, dict) or key not in value:
            return absent
        value = value[key]
    return value
