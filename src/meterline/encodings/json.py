"""
Reading JSON exactly: no number passes through a float that cannot hold it, no constant that JSON does not have, and, where it
is asked for, no object of which nobody knows what it says.
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


def _integer(written: str) -> int | Decimal:
    """
    Read an integer; one of more digits than Python makes an int of (a guard against quadratic time) is a Decimal.
    """
    return int(written) if len(written) <= _INT_DIGITS else Decimal(written)


class Ambiguous(dict[str, Any]):
    """
    An object that says a key twice with different values (``own``), or that holds one which does. Its items are all that was
    written; as a mapping it has the last value of each key.
    """

    __slots__ = ("_pairs", "own")

    def __init__(self, pairs: list[tuple[str, Any]], *, own: bool) -> None:
        super().__init__(pairs)
        self._pairs = pairs
        self.own = own

    def items(self) -> Any:
        """
        Return all pairs as they were written.
        """
        return self._pairs


def ambiguous(value: Any) -> bool:
    """
    Say whether a document that was read with ``unique`` has an object that says a key twice.
    """
    return isinstance(value, Ambiguous) or (isinstance(value, list) and any(map(ambiguous, value)))


class _TwiceError(Exception):
    """
    A key stands twice: the document is to be read with more care.
    """


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise _TwiceError
    return made


def _marked(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    own = any(not same(made[key], value) for key, value in pairs)
    return Ambiguous(pairs, own=own) if own or any(map(ambiguous, made.values())) else made


def same(one: Any, other: Any) -> bool:
    """
    Say whether two values of one key say the same.
    """
    return one is other or (type(one) is type(other) and bool(one == other))


def _decoder(*, constants: bool, **hooks: Any) -> json.JSONDecoder:
    return json.JSONDecoder(parse_float=_real, parse_constant=None if constants else _refuse, strict=False, **hooks)


_CHOICES: Final = ((False, False), (False, True), (True, False), (True, True))  # constants, unique
_QUICK: Final = {
    (constants, unique): _decoder(constants=constants, object_pairs_hook=_unique if unique else None)
    for constants, unique in _CHOICES
}
_CAREFUL: Final = {
    (constants, unique): _decoder(
        constants=constants, object_pairs_hook=_marked if unique else None, parse_int=_integer
    )
    for constants, unique in _CHOICES
}
"""For what the others give up on. A hook for integers would cost every document a third of its speed."""


def parse(data: bytes, *, unique: bool = False) -> Any:
    """
    Read one document: dict, list, str, int, float, Decimal, bool or None; numbers of any size exactly.

    ``unique``: see ``documents``.

    :raises UndecodableError: no JSON, no UTF-8, nested too deep for any reader, or over ``PARSED_BYTES`` in memory.
    """
    check_size(data)
    found = list(documents(data, unique=unique))
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


def documents(data: bytes, *, constants: bool = False, unique: bool = False) -> Iterator[Any]:
    """
    Read documents that follow each other, with or without white space between them (NDJSON, JSON streams).

    ``constants``: read NaN, Infinity and -Infinity as floats, since some senders write them; else they are undecodable.
    ``unique``: make ``Ambiguous`` of objects that say a key twice; else the last value is taken.

    :raises UndecodableError: as ``parse``; what was yielded before it is right.
    """
    try:
        written = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UndecodableError(f"reading JSON: byte {error.start} is not UTF-8") from error
    position, end = skip(written, 0), len(written)
    while position < end:
        value, position = one(written, position, constants=constants, unique=unique)
        yield value
        position = skip(written, position)


def one(written: str, position: int, *, constants: bool = False, unique: bool = False) -> tuple[Any, int]:
    """
    Read the document that begins at a position, and return it with where it ends.

    :raises UndecodableError: as ``parse``.
    """
    try:
        try:
            return _QUICK[constants, unique].raw_decode(written, position)
        except json.JSONDecodeError:
            raise
        except (ValueError, _TwiceError):  # ValueError: an integer of very many digits
            return _CAREFUL[constants, unique].raw_decode(written, position)
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
