"""
Single values of OTLP/JSON (opentelemetry-proto, "JSON Protobuf Encoding"; protobuf.dev, "ProtoJSON"), read exactly.

Lenient where a real sender needs it and only one meaning is possible: numbers as text, whole numbers written ``3.0``,
booleans as text, names of enum values. Everything else raises ``WrongError``.
"""

import binascii
import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from functools import lru_cache
from typing import Any, Final

from meterline.encodings.otlp import INT64, MAX_DEPTH
from meterline.encodings.otlp_json.wrong import WrongError, wrong_type
from meterline.protobuf.write import double, length_delimited, number, varint

INT32: Final = range(-(2**31), 2**31)

_INTEGER: Final = re.compile(r"-?[0-9]{1,40}").fullmatch
_NUMBER: Final = re.compile(r"-?[0-9]{1,400}(?:\.[0-9]{1,1200})?(?:[eE][+-]?[0-9]{1,9})?").fullmatch
_CONSTANTS: Final = {"NaN": float("nan"), "Infinity": float("inf"), "-Infinity": -float("inf")}
_BOOLEANS: Final = {True: True, False: False, "true": True, "false": False}
_MAX_INTEGER_DIGITS: Final = 20
_SHORT: Final = 256
_URL_SAFE: Final = str.maketrans("-_", "+/")


def integer(value: Any, span: range) -> int:
    """
    Read an integer within ``span``, written as number or text, never through a float.
    """
    kind = type(value)
    if kind is str and _INTEGER(value):
        found = int(value)
    elif kind is int:
        found = value
    else:
        found = _whole(value)
    if found not in span:
        raise WrongError("a number beyond what its type holds")
    return found


def _whole(value: Any) -> int:
    """
    Read a whole number that is written with a point or an exponent.
    """
    kind = type(value)
    if kind is float:
        exact = Decimal(repr(value))
    elif kind is Decimal:
        exact = value
    elif kind is str and _NUMBER(value):
        exact = Decimal(value)
    elif kind is str:
        raise WrongError("a text that is no integer")
    else:
        raise wrong_type(value, "an integer")
    if not exact.is_finite() or exact.adjusted() >= _MAX_INTEGER_DIGITS:
        raise WrongError("a number beyond what its type holds")
    if (exact.adjusted() < 0 and exact) or exact != exact.to_integral_value():
        raise WrongError("a fraction where an integer is expected")
    return int(exact)


def real(value: Any) -> float:
    """
    Read a double: a number, a number as text, or one of the three names.
    """
    kind = type(value)
    if kind is float:
        return float(value)
    if kind is str:
        return _real_text(value)
    if kind is not int and kind is not Decimal:
        raise wrong_type(value, "a number")
    try:
        return _finite(float(value))
    except OverflowError as error:
        raise WrongError("a number beyond what its type holds") from error


def _real_text(value: str) -> float:
    constant = _CONSTANTS.get(value)
    if constant is not None:
        return constant
    if not _NUMBER(value):
        raise WrongError("a text that is no number")
    return _finite(float(value))


def _finite(value: float) -> float:
    if value - value != 0:
        raise WrongError("a number beyond what its type holds")
    return value


def boolean(value: Any) -> bool:
    """
    Read a boolean; its text too, since templates of agents make texts of everything.
    """
    found = _BOOLEANS.get(value) if type(value) in (bool, str) else None
    if found is None:
        raise wrong_type(value, "true or false")
    return found


def enum_number(value: Any, names: Mapping[str, int]) -> int:
    """
    Read an enum value: its number, known or not, or its name.
    """
    if type(value) is str and not _INTEGER(value):
        found = names.get(value)
        if found is None:
            raise WrongError("a text that names no value of this enum")
        return found
    return integer(value, INT32)


def sized(payload: bytes) -> bytes:
    """
    Return bytes with their length before them.
    """
    size = len(payload)
    return bytes((size,)) + payload if size < 0x80 else varint(size) + payload


def listed(value: Any) -> list[Any]:
    """
    Read an array.
    """
    if type(value) is not list:
        raise wrong_type(value, "an array")
    return value


def string(value: Any) -> bytes:
    """
    Return a text as UTF-8; lone surrogates become bytes that are none, which the kernel quarantines.
    """
    if type(value) is not str:
        raise wrong_type(value, "a text")
    return value.encode("utf-8", "surrogatepass")


def trace_id(value: Any, size: int) -> bytes:
    """
    Return an id of ``size`` bytes from its hex digits; b"" when it is none: an id that cannot be read is an absent one.
    """
    if type(value) is not str or len(value) != 2 * size:
        return b""
    try:
        found = bytes.fromhex(value)
    except ValueError:
        return b""
    return found if len(found) == size else b""


def base64(value: Any) -> bytes:
    """
    Return what base64 text holds, of the standard or the URL-safe alphabet, padded or not.
    """
    if type(value) is not str:
        raise wrong_type(value, "base64")
    plain = value.translate(_URL_SAFE).rstrip("=")
    try:
        return binascii.a2b_base64(plain + "=" * (-len(plain) % 4), strict_mode=True)
    except ValueError as error:
        raise WrongError("a text that is no base64") from error


def any_value(value: Any, depth: int = 0) -> bytes:
    """
    Return the AnyValue message of its JSON object; of several values the last counts.

    :raises WrongError: wrong, or nested deeper than ``MAX_DEPTH`` (``too_deep``).
    """
    if type(value) is not dict:
        raise wrong_type(value, "an object such as {stringValue: ...}")
    found = b""
    for name, item in value.items():
        write = _ANY.get(name)
        if write is None or item is None:
            continue
        try:
            found = write(item, depth)
        except WrongError as error:
            error.path.append(name)
            raise
    return found


def key_values(tag: bytes, pairs: Any, depth: int = 0) -> bytes:
    """
    Return a list of key and value as repeated KeyValue fields; ``tag`` stands before each.
    """
    return b"".join([tag + sized(_key_value(pair, depth)) for pair in listed(pairs) if pair is not None])


def _key_value(pair: Any, depth: int) -> bytes:
    """
    Encode one pair. It runs for each attribute of each point, mostly with a text that came before (benchmarks/protocols.py).
    """
    if type(pair) is not dict:
        raise wrong_type(pair, "an object of key and value")
    key, value = pair.get("key"), pair.get("value")
    if type(value) is dict and len(value) == 1:
        written = value.get("stringValue")
        if type(written) is str and type(key) is str and len(key) + len(written) <= _SHORT:
            return _text_pair(key, written)
    try:
        name = b"" if key is None else b"\x0a" + sized(string(key))
        return name if value is None else name + b"\x12" + sized(any_value(value, depth))
    except WrongError as error:
        error.path.append("value" if error.path else "key or value")
        raise


@lru_cache(maxsize=8192)
def _text_pair(key: str, written: str) -> bytes:
    return b"\x0a" + sized(string(key)) + b"\x12" + sized(b"\x0a" + sized(string(written)))


def _array(value: Any, depth: int) -> bytes:
    return length_delimited(5, b"".join([b"\x0a" + sized(_element(item, depth)) for item in _values(value, depth)]))


def _element(item: Any, depth: int) -> bytes:
    return b"" if item is None else any_value(item, depth + 1)


def _kvlist(value: Any, depth: int) -> bytes:
    return length_delimited(6, key_values(b"\x0a", _values(value, depth), depth + 1))


def _values(value: Any, depth: int) -> list[Any]:
    if depth >= MAX_DEPTH:
        raise WrongError(f"it is nested deeper than {MAX_DEPTH} levels", "too_deep")
    if type(value) is not dict:
        raise wrong_type(value, "an object with values")
    values = value.get("values")
    return [] if values is None else listed(values)


_WRITERS: Final[Mapping[str, Callable[[Any, int], bytes]]] = {
    "string_value": lambda value, _: b"\x0a" + sized(string(value)),
    "bool_value": lambda value, _: number(2, boolean(value)),
    "int_value": lambda value, _: number(3, integer(value, INT64)),
    "double_value": lambda value, _: double(4, real(value)),
    "array_value": _array,
    "kvlist_value": _kvlist,
    "bytes_value": lambda value, _: length_delimited(7, base64(value)),
}


def camel(name: str) -> str:
    """
    Return a field's JSON name, as protobuf makes it.
    """
    first, *rest = name.split("_")
    return first + "".join(word.title() for word in rest)


_ANY: Final = {spelling: write for name, write in _WRITERS.items() for spelling in (name, camel(name))}
