"""
Reading protobuf fields by hand, where a message's raw bytes are wanted or bad text must not refuse its neighbours.

The counterpart of ``encodings.protobuf``. Unknown fields are the caller's to skip; groups, which proto3 does not have, are
refused as broken.
"""

from collections.abc import Iterator
from typing import Final, TypeAlias

from meterline.errors import UndecodableError

VARINT: Final = 0
I64: Final = 1
LEN: Final = 2
I32: Final = 5

_WIDTHS: Final = {I64: 8, I32: 4}
_MAX_SHIFT: Final = 63
_MASK: Final = (1 << 64) - 1


Field: TypeAlias = tuple[int, int, int, int]
"""(number, wire type, a, end): a is the value of a varint, else where the payload starts; end is where the field does."""


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
    Read a packed repeated field of unsigned numbers. Runs once a byte: written out.
    """
    if data.isascii():
        return list(data)
    found: list[int] = []
    value = shift = 0
    for byte in data:
        if byte < 0x80:
            found.append(value | byte << shift)
            value = shift = 0
        elif shift > _MAX_SHIFT:
            break
        else:
            value |= (byte & 0x7F) << shift
            shift += 7
    if shift:
        raise broken("unterminated varint in a packed field", len(data))
    return found


def signed(value: int) -> int:
    """
    Return an int64 field's value of its varint.
    """
    return value - (1 << 64) if value >> 63 else value


def fields(buf: bytes, pos: int = 0, end: int | None = None) -> Iterator[Field]:
    """
    Yield the fields of a message in wire order. Runs once a field: short tags and lengths are read in line.

    :raises UndecodableError: broken structure.
    """
    end = len(buf) if end is None else end
    while pos < end:
        begin, tag = pos, buf[pos]
        pos += 1
        if not 8 <= tag < 128:
            tag, pos = _tag(buf, begin, end)
        kind = tag & 7
        if kind == LEN and pos < end and buf[pos] < 128:
            start = pos + 1
            pos = start + buf[pos]
        elif kind == VARINT:
            start, pos = varint(buf, pos, end)
        else:
            start, pos = _payload(buf, pos, end, kind)
        if pos > end:
            raise broken("field past the end", begin)
        yield tag >> 3, kind, start, pos


def _tag(buf: bytes, pos: int, end: int) -> tuple[int, int]:
    tag, after = varint(buf, pos, end)
    if not 0 < tag >> 3 < 1 << 29:
        raise broken("invalid tag", pos)
    return tag, after


def _payload(buf: bytes, pos: int, end: int, kind: int) -> tuple[int, int]:
    if kind == LEN:
        size, pos = varint(buf, pos, end)
        return pos, pos + size
    if kind not in _WIDTHS:
        raise broken("invalid wire type", pos)
    return pos, pos + _WIDTHS[kind]
