"""
Reading protobuf fields by hand, where a message's raw bytes are wanted, or bad text must not refuse its neighbours.

Bounded varints, fields in any order, unknown groups skipped; unknown fields are the caller's to skip. The same bytes are
refused as by upb, which bounds tags to 32 bits, lengths to 2^31 - 1, varints to 10 bytes and groups to a depth of 100. Source:
protobuf.dev "Encoding"; limits: upb's wire reader.
"""

from collections.abc import Iterator
from typing import Final, TypeAlias

from meterline.errors import UndecodableError

VARINT, I64, LEN, GROUP, END_GROUP, I32 = range(6)

_MAX_GROUPS: Final = 100
_MAX_LENGTH: Final = (1 << 31) - 1
_MAX_TAG: Final = (1 << 32) - 1
_MAX_SHIFT: Final = 63
_MASK: Final = (1 << 64) - 1

Field: TypeAlias = tuple[int, int, int, int, int]
"""(number, wire type, a, b, offset of its tag); a is the value of a varint, else where the payload starts; b is its end."""


def broken(what: str, at: int) -> UndecodableError:
    """
    Make the error for broken wire structure at a byte offset.
    """
    return UndecodableError(f"decoding request: {what} at byte {at}; the body is not valid protobuf of this type")


def varint(buf: bytes, pos: int, end: int) -> tuple[int, int]:
    """
    Read a varint of at most ten bytes: (value modulo 2^64, offset after it). Raises UndecodableError.
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
    Read a packed repeated field of unsigned numbers, each as ``varint`` does. Runs once a byte: written out.
    """
    if data.isascii():
        return list(data)
    found: list[int] = []
    value = shift = 0
    for byte in data:
        if byte < 0x80:
            found.append((value | byte << shift) & _MASK)
            value = shift = 0
        else:
            value |= (byte & 0x7F) << shift
            shift += 7
            if shift > _MAX_SHIFT:
                break
    if shift:
        raise broken("unterminated varint in a packed field", len(data))
    return found


def signed(value: int) -> int:
    """
    Return an int64 field's value of its varint.
    """
    return value - (1 << 64) if value >> 63 else value


def span(buf: bytes, pos: int, end: int) -> tuple[int, int]:
    """
    Read a length prefix: (start, end) of the payload, which lies before ``end``. Raises UndecodableError.
    """
    size, start = varint(buf, pos, end)
    if start - pos > 5 or size > _MAX_LENGTH or start + size > end:
        raise broken("length past the end", pos)
    return start, start + size


def fields(buf: bytes, pos: int = 0, end: int | None = None) -> Iterator[Field]:  # noqa: C901 (a hot loop, written out)
    """
    Yield the fields of a message in wire order; groups are skipped. Raises UndecodableError where the structure breaks.

    One at a time: a list of them takes sixty times the room of the smallest fields, and who takes one and begins anew behind it
    would read the rest each time. What is usual is read in line (benchmarks/kernel.py, 8 points; benchmarks/protocols.py).
    """
    end = len(buf) if end is None else end
    while pos < end:
        begin = pos
        tag = buf[pos]
        if 8 <= tag < 128:
            pos += 1
        else:
            tag, pos = _tag(buf, pos, end)
            if tag < 8:
                raise broken("field number 0", begin)
        kind = tag & 7
        if kind == LEN and pos < end and buf[pos] < 128:
            value = pos + 1
            pos = value + buf[pos]
            if pos > end:
                raise broken("length past the end", begin)
        elif kind == LEN and pos + 1 < end and 0 < buf[pos + 1] < 128:
            value = pos + 2
            pos = value + buf[pos] - 128 + (buf[pos + 1] << 7)
            if pos > end:
                raise broken("length past the end", begin)
        elif kind == I64 and pos + 8 <= end:
            value = pos
            pos += 8
        elif kind == VARINT and pos < end and buf[pos] < 128:
            value = buf[pos]
            pos += 1
        elif kind == GROUP:
            pos = _skip_group(buf, pos, end, tag >> 3)
            continue
        else:
            value, pos = _payload(buf, pos, end, kind)
        yield tag >> 3, kind, value, pos, begin


def check(buf: bytes) -> None:
    """
    Raise UndecodableError when the structure of a message is broken.
    """
    for _ in fields(buf):
        pass


def _tag(buf: bytes, pos: int, end: int) -> tuple[int, int]:
    tag, after = varint(buf, pos, end)
    if after - pos > 5 or tag > _MAX_TAG:
        raise broken("invalid tag", pos)
    return tag, after


def _skip_group(buf: bytes, pos: int, end: int, number: int) -> int:
    """
    Skip to after the end tag of a group whose start tag was read; nested groups are counted, never recursed into.

    Inside a group upb does not mind the field number 0, so this does not.
    """
    stack = [number]
    while stack:
        tag, after = _tag(buf, pos, end)
        kind = tag & 7
        if kind == GROUP:
            stack.append(tag >> 3)
            if len(stack) > _MAX_GROUPS:
                raise broken("groups nested too deep", pos)
            pos = after
        elif kind == END_GROUP:
            if stack.pop() != tag >> 3:
                raise broken("end of another group", pos)
            pos = after
        else:
            pos = _payload(buf, after, end, kind)[1]
    return pos


def _payload(buf: bytes, pos: int, end: int, kind: int) -> tuple[int, int]:
    """
    Read what follows a tag that is not a group's: (value or start, end).
    """
    if kind == LEN:
        return span(buf, pos, end)
    if kind == VARINT:
        return varint(buf, pos, end)
    width = 8 if kind == I64 else 4
    if kind not in (I64, I32):
        raise broken("invalid wire type", pos)
    if pos + width > end:
        raise broken("fixed field past the end", pos)
    return pos, pos + width
