"""
Writers of scalar fields: JSON value in, the whole protobuf field out, b"" for the default of a field without presence.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from google.protobuf.descriptor import FieldDescriptor

from meterline.encodings.otlp import INT64
from meterline.encodings.otlp_json import values
from meterline.encodings.protobuf import double, fixed64, length_delimited, number, sfixed64, varint

_ID_SIZES: Final = {"trace_id": 16, "span_id": 8}


class _Type(NamedTuple):
    read: Callable[[Any], Any]
    encode: Callable[[int, Any], bytes]


def writer(field: FieldDescriptor) -> Callable[[Any], bytes]:
    """
    Return the writer of a field that holds no messages.
    """
    kind = _type(field)
    if not field.is_repeated:
        return _single(field, kind)
    return _strings(field.number) if field.type == FieldDescriptor.TYPE_STRING else _packed(field.number, kind)


def _type(field: FieldDescriptor) -> _Type:
    if field.enum_type is not None:
        names = {value.name: value.number for value in field.enum_type.values}
        return _Type(lambda value: values.enum_number(value, names), number)
    if field.type == FieldDescriptor.TYPE_BYTES:
        size = _ID_SIZES[field.name]
        return _Type(lambda value: values.trace_id(value, size), length_delimited)
    return _TYPES[field.type]


def _single(field: FieldDescriptor, kind: _Type) -> Callable[[Any], bytes]:
    at, (read, encode) = field.number, kind
    keep = field.has_presence or field.type == FieldDescriptor.TYPE_DOUBLE  # -0.0 is no default

    def write(value: Any) -> bytes:
        found = read(value)
        return encode(at, found) if found or keep else b""

    return write


def _strings(at: int) -> Callable[[Any], bytes]:
    return lambda value: b"".join([length_delimited(at, values.string(item)) for item in values.listed(value)])


def _packed(at: int, kind: _Type) -> Callable[[Any], bytes]:
    read, encode = kind

    def write(value: Any) -> bytes:
        payload = b"".join([encode(0, read(item))[1:] for item in values.listed(value)])  # without the tag of field 0
        return length_delimited(at, payload) if payload else b""

    return write


def _integers(span: range, encode: Callable[[int, Any], bytes]) -> _Type:
    return _Type(lambda value: values.integer(value, span), encode)


def _zigzag(field: int, value: int) -> bytes:
    return number(field, value << 1 if value >= 0 else (-value << 1) - 1)


def _fixed32(field: int, value: int) -> bytes:
    return varint(field << 3 | 5) + value.to_bytes(4, "little")


_T = FieldDescriptor
_UINT64: Final = range(2**64)
_UINT32: Final = range(2**32)
_TYPES: Final[Mapping[int, _Type]] = {
    _T.TYPE_DOUBLE: _Type(values.real, double),
    _T.TYPE_FIXED64: _integers(_UINT64, fixed64),
    _T.TYPE_SFIXED64: _integers(INT64, sfixed64),
    _T.TYPE_UINT64: _integers(_UINT64, number),
    _T.TYPE_UINT32: _integers(_UINT32, number),
    _T.TYPE_FIXED32: _integers(_UINT32, _fixed32),
    _T.TYPE_INT32: _integers(values.INT32, number),
    _T.TYPE_SINT32: _integers(values.INT32, _zigzag),
    _T.TYPE_BOOL: _Type(values.boolean, number),
    _T.TYPE_STRING: _Type(values.string, length_delimited),
}
