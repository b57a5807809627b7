"""
Writers of scalar fields: JSON value in, the whole protobuf field out, b"" for the default of a field without presence.
"""

import struct
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from google.protobuf.descriptor import FieldDescriptor

from meterline.encodings.otlp import INT64
from meterline.encodings.otlp_json import values
from meterline.protobuf.write import varint

_ID_SIZES: Final = {"trace_id": 16, "span_id": 8}
_VARINT, _I64, _LEN, _I32 = 0, 1, 2, 5


class _Type(NamedTuple):
    """
    How a type is read from JSON, and written behind its tag.
    """

    read: Callable[[Any], Any]
    wire: int
    payload: Callable[[Any], bytes]


def writer(field: FieldDescriptor) -> Callable[[Any], bytes]:
    """
    Return the writer of a field that holds no messages.
    """
    kind = _type(field)
    if not field.is_repeated:
        return _single(field, kind)
    return _each(field.number, kind) if kind.wire == _LEN else _packed(field.number, kind)


def _type(field: FieldDescriptor) -> _Type:
    if field.enum_type is not None:
        names = {value.name: value.number for value in field.enum_type.values}
        return _Type(lambda value: values.enum_number(value, names), _VARINT, varint)
    if field.type == FieldDescriptor.TYPE_BYTES:
        size = _ID_SIZES[field.name]
        return _Type(lambda value: values.trace_id(value, size), _LEN, values.sized)
    return _TYPES[field.type]


def _single(field: FieldDescriptor, kind: _Type) -> Callable[[Any], bytes]:
    read, wire, payload = kind
    tag = varint(field.number << 3 | wire)
    keep = field.has_presence or field.type == FieldDescriptor.TYPE_DOUBLE  # -0.0 is no default

    def write(value: Any) -> bytes:
        found = read(value)
        return tag + payload(found) if found or keep else b""

    return write


def _each(number: int, kind: _Type) -> Callable[[Any], bytes]:
    read, wire, payload = kind
    tag = varint(number << 3 | wire)
    return lambda value: b"".join([tag + payload(read(item)) for item in values.listed(value)])


def _packed(number: int, kind: _Type) -> Callable[[Any], bytes]:
    read, _, payload = kind
    tag = varint(number << 3 | _LEN)

    def write(value: Any) -> bytes:
        joined = b"".join([payload(read(item)) for item in values.listed(value)])
        return tag + values.sized(joined) if joined else b""

    return write


def _integers(span: range, wire: int, payload: Callable[[Any], bytes]) -> _Type:
    return _Type(lambda value: values.integer(value, span), wire, payload)


def _zigzag(value: int) -> bytes:
    return varint(value << 1 if value >= 0 else (-value << 1) - 1)


_T = FieldDescriptor
_UINT64: Final = range(2**64)
_UINT32: Final = range(2**32)
_TYPES: Final[Mapping[int, _Type]] = {
    _T.TYPE_DOUBLE: _Type(values.real, _I64, struct.Struct("<d").pack),
    _T.TYPE_FIXED64: _integers(_UINT64, _I64, struct.Struct("<Q").pack),
    _T.TYPE_SFIXED64: _integers(INT64, _I64, struct.Struct("<q").pack),
    _T.TYPE_FIXED32: _integers(_UINT32, _I32, struct.Struct("<I").pack),
    _T.TYPE_UINT64: _integers(_UINT64, _VARINT, varint),
    _T.TYPE_UINT32: _integers(_UINT32, _VARINT, varint),
    _T.TYPE_INT32: _integers(values.INT32, _VARINT, varint),
    _T.TYPE_SINT32: _integers(values.INT32, _VARINT, _zigzag),
    _T.TYPE_BOOL: _Type(values.boolean, _VARINT, varint),
    _T.TYPE_STRING: _Type(values.string, _LEN, values.sized),
}
