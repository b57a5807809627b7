"""
Writing protobuf fields by hand: the few wire types that OTLP needs.

Field by field and without generated classes, since upb refuses values nested deeper than 32 levels, and the kernel quarantines
a too deep value instead of refusing its request.
"""

import struct
from typing import Final

_DOUBLE: Final = struct.Struct("<d").pack
_FIXED64: Final = struct.Struct("<Q").pack
_SFIXED64: Final = struct.Struct("<q").pack
_MASK: Final = (1 << 64) - 1
_SMALL: Final = tuple(bytes((number,)) for number in range(0x80))
_HEADS: Final = tuple(tuple(bytes((field << 3 | 2, size)) for size in range(0x80)) for field in range(0x10))
"""Tag and size of short fields, which nearly all are: half of what an event costs is here (benchmarks/protocols.py)."""


def varint(number: int) -> bytes:
    """
    Encode an unsigned number; a negative one as its 64-bit two's complement.
    """
    if 0 <= number < 0x80:
        return _SMALL[number]
    number &= _MASK
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def length_delimited(field: int, payload: bytes) -> bytes:
    """
    Encode a message, text or bytes field, an empty one too.
    """
    size = len(payload)
    if size < 0x80 and field < 0x10:
        return _HEADS[field][size] + payload
    return varint(field << 3 | 2) + varint(size) + payload


def pair(field: int, key: bytes, value: bytes) -> bytes:
    """
    Encode a message whose field 1 is a key and whose field 2 is a message: an entry of a map, a KeyValue.
    """
    name, size = len(key), len(value)
    if name + size < 0x7C and field < 0x10:
        return b"".join((_HEADS[field][name + size + 4], _HEADS[1][name], key, _HEADS[2][size], value))
    return length_delimited(field, length_delimited(1, key) + length_delimited(2, value))


def text(field: int, value: str) -> bytes:
    """
    Encode a string field. Lone surrogates become bytes that are no UTF-8, which the kernel quarantines.
    """
    raw = value.encode("utf-8", "surrogatepass")
    size = len(raw)
    return _HEADS[field][size] + raw if size < 0x80 and field < 0x10 else length_delimited(field, raw)


def number(field: int, value: int) -> bytes:
    """
    Encode a varint field: uint, int, enum, bool.
    """
    return varint(field << 3) + varint(value)


def fixed64(field: int, value: int) -> bytes:
    """
    Encode a fixed64 field; the caller keeps 0 <= value < 2^64.
    """
    return varint(field << 3 | 1) + _FIXED64(value)


def sfixed64(field: int, value: int) -> bytes:
    """
    Encode an sfixed64 field; the caller keeps -2^63 <= value < 2^63.
    """
    return varint(field << 3 | 1) + _SFIXED64(value)


def double(field: int, value: float) -> bytes:
    """
    Encode a double field, bit by bit as Python holds it.
    """
    return varint(field << 3 | 1) + _DOUBLE(value)
