"""
Reading protobuf fields by hand, where a message's raw bytes are wanted or bad text must not refuse its neighbours.

The counterpart of ``encodings.protobuf``. Unknown fields are the caller's to skip; groups, which proto3 does not have, are
refused as broken.
"""

from collections.abc import Iterator
from typing import Final, NamedTuple

from meterline.errors import UndecodableError

VARINT: Final = 0
I64: Final = 1
LEN: Final = 2
I32: Final = 5

_WIDTHS: Final = {I64: 8, I32: 4}
_MAX_SHIFT: Final = 63
_MASK: Final = (1 << 64) - 1


class Field(NamedTuple):
    """
    One field: ``value`` of a varint, else where its payload starts; ``end``: where the payload ends.
    """

    number: int
    kind: int
    value: int
    end: int


def broken(what: str, at: int) -> UndecodableError:
    """
    Make the error for broken wire structure at a byte offset.
    """
    return UndecodableError(f"decoding protobuf: {what} at byte {at}")


def varint(buf: bytes, pos: int, end: int) -> tuple[int, int]:
    """
    Read a varint: (value modulo 2^64, offset after it).

    :raises UndecodableError: it ends too late, or not at all.
    """
    value = shift = 0
    while pos < end and shift <= _MAX_SHIFT:
        byte = buf[pos]
        pos += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & _MASK, pos
        shift += 7
    raise broken("unterminated varint", pos)


def varints(data: bytes) -> list[int]:
    """
    Read a packed repeated field.
    """
    if data.isascii():
        return list(data)
    found, pos = [], 0
    while pos < len(data):
        value, pos = varint(data, pos, len(data))
        found.append(value)
    return found


def signed(value: int) -> int:
    """
    Return an int64 field's value of its varint.
    """
    return value - (1 << 64) if value >> 63 else value


def fields(buf: bytes, pos: int = 0, end: int | None = None) -> Iterator[Field]:
    """
    Yield the fields of a message in wire order.

    :raises UndecodableError: broken structure.
    """
    end = len(buf) if end is None else end
    while pos < end:
        tag, after = varint(buf, pos, end)
        number, kind = tag >> 3, tag & 7
        if not 0 < number < 1 << 29:
            raise broken("invalid tag", pos)
        if kind == VARINT:
            value, pos = varint(buf, after, end)
            yield Field(number, kind, value, pos)
            continue
        if kind == LEN:
            size, start = varint(buf, after, end)
        elif kind in _WIDTHS:
            size, start = _WIDTHS[kind], after
        else:
            raise broken("invalid wire type", pos)
        pos = start + size
        if pos > end:
            raise broken("field past the end", after)
        yield Field(number, kind, start, pos)
