"""
Reading JSON exactly: no number passes through a float that cannot hold it, no constant that JSON does not have.
"""

import json
from collections.abc import Iterator
from decimal import Decimal, InvalidOperation
from typing import Any, Final, NoReturn

from meterline.errors import UndecodableError

PARSED_BYTES: Final = 512 * 1024 * 1024
"""A document that would take more memory than this is not read: eight times the largest request by default."""

_CONTAINER_BYTES: Final = 200  # measured, CPython 3.11, with its place in what holds it
_MEMBER_BYTES: Final = 80
_INT_DIGITS: Final = 4000
_SPACE: Final = " \t\r\n"


def _real(written: str) -> float | Decimal:
    """
    Read a number with a point or an exponent: a float where its shortest form says the same, else a Decimal.
    """
    nearest = float(written)
    try:
        exact = Decimal(written)
    except InvalidOperation as error:
        raise UndecodableError(f"reading number: an exponent of {len(written)} digits") from error
    return nearest if nearest - nearest == 0 and Decimal(repr(nearest)) == exact else exact


def _refuse(constant: str) -> NoReturn:
    raise UndecodableError(f"reading JSON: {constant} is no JSON value")


_DECODER: Final = json.JSONDecoder(parse_float=_real, parse_constant=_refuse, strict=False)
_WITH_CONSTANTS: Final = json.JSONDecoder(parse_float=_real, strict=False)


def _integer(written: str) -> int | Decimal:
    """
    Read an integer; one of more digits than Python makes an int of (a guard against quadratic time) is a Decimal.
    """
    return int(written) if len(written) <= _INT_DIGITS else Decimal(written)


_LONG: Final = json.JSONDecoder(parse_float=_real, parse_int=_integer, parse_constant=_refuse, strict=False)
_LONG_WITH_CONSTANTS: Final = json.JSONDecoder(parse_float=_real, parse_int=_integer, strict=False)


def parse(data: bytes) -> Any:
    """
    Read one document: dict, list, str, int, float, Decimal, bool or None; numbers of any size exactly.

    :raises UndecodableError: no JSON, no UTF-8, nested too deep for any reader, or over ``PARSED_BYTES`` in memory.
    """
    check_size(data)
    found = list(documents(data))
    if len(found) != 1:
        raise UndecodableError(f"reading JSON: {len(found)} documents where one is expected")
    return found[0]


def check_size(data: bytes) -> None:
    """
    Estimate from its brackets and commas what a document takes in memory; those within texts count, too.

    Ten megabytes of ``{},{},`` take a gigabyte, and compress to ten kilobytes.

    :raises UndecodableError: more than ``PARSED_BYTES``.
    """
    containers = data.count(b"{") + data.count(b"[")
    if containers * _CONTAINER_BYTES + data.count(b",") * _MEMBER_BYTES + len(data) > PARSED_BYTES:
        raise UndecodableError("reading JSON: it has too many values for one document; send smaller requests")


def documents(data: bytes, *, constants: bool = False) -> Iterator[Any]:
    """
    Read documents that follow each other, with or without white space between them (NDJSON, JSON streams).

    ``constants``: read NaN, Infinity and -Infinity as floats, since some senders write them; else they are undecodable.

    :raises UndecodableError: as ``parse``; what was yielded before it is right.
    """
    try:
        written = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UndecodableError(f"reading JSON: byte {error.start} is not UTF-8") from error
    position, end = skip(written, 0), len(written)
    while position < end:
        value, position = one(written, position, constants=constants)
        yield value
        position = skip(written, position)


def one(written: str, position: int, *, constants: bool = False) -> tuple[Any, int]:
    """
    Read the document that begins at a position, and return it with where it ends.

    :raises UndecodableError: as ``parse``.
    """
    try:
        try:
            return (_WITH_CONSTANTS if constants else _DECODER).raw_decode(written, position)
        except json.JSONDecodeError:
            raise
        except (
            ValueError
        ):  # an integer of very many digits; a hook for integers would cost all others a third of their speed
            return (_LONG_WITH_CONSTANTS if constants else _LONG).raw_decode(written, position)
    except RecursionError as error:
        raise UndecodableError("reading JSON: it is nested too deep") from error
    except ValueError as error:
        raise UndecodableError(f"reading JSON: {error}") from error


def skip(written: str, position: int) -> int:
    """
    Return the position of the first character from here on that is no white space.
    """
    while position < len(written) and written[position] in _SPACE:
        position += 1
    return position
