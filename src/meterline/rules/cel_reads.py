"""
Which variables and constant keys a compiled CEL expression reads, from its syntax tree.

``Expression.serialize()`` gives a ``google.protobuf.Any`` of ``cel.expr.CheckedExpr``; the tree is walked as wire fields
(numbers from cel-spec's syntax.proto and checked.proto), which needs no generated code. What is not recognised raises, so
that a newer library can never make a rule read less than it does.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

from meterline.errors import UndecodableError
from meterline.protobuf.read import VARINT, fields

_EXPR_OF_CHECKED: Final = 4
_VALUE_OF_ANY: Final = 2
_ID: Final = 2
_CONST, _IDENT, _SELECT, _CALL, _LIST, _STRUCT, _COMPREHENSION = 3, 4, 5, 6, 7, 8, 9
_STRING_OF_CONST: Final = 6


@dataclass(slots=True)
class Reads:
    """
    ``whole``: variables that are used as a whole or by a computed key. ``keys``: (variable, constant key) pairs.

    ``guarded``: those of ``keys`` that ``has`` or ``in`` ask about. ``chains``: reads like ``attributes.a.b``, where a key with
    a dot was probably meant.
    """

    whole: set[str] = field(default_factory=set)
    keys: set[tuple[str, str]] = field(default_factory=set)
    guarded: set[tuple[str, str]] = field(default_factory=set)
    chains: set[str] = field(default_factory=set)

    @property
    def variables(self) -> set[str]:
        """
        Return every variable that is read in any way.
        """
        return self.whole | {variable for variable, _ in self.keys}


def reads_of(serialized: bytes) -> Reads:
    """
    Return what the serialised, checked expression reads. Raises ValueError for a tree that is not understood.
    """
    reads = Reads()
    try:
        checked = _only(serialized, _VALUE_OF_ANY)
        _walk(_only(checked, _EXPR_OF_CHECKED), reads, frozenset())
    except UndecodableError as error:
        raise ValueError(f"reading a CEL syntax tree: {error}") from error
    return reads


def _fields(message: bytes) -> Iterator[tuple[int, bytes | int]]:
    """
    Yield every field. Groups, which the reader skips, are refused: nothing is left out.
    """
    at = 0
    for number, kind, a, b, begin in fields(message):
        if begin > at:
            break
        at = b
        yield number, a if kind == VARINT else message[a:b]
    if at < len(message):
        raise ValueError(f"reading a CEL syntax tree: a group at byte {at}")


def _all(message: bytes, number: int) -> list[bytes]:
    return [value for found, value in _fields(message) if found == number and isinstance(value, bytes)]


def _only(message: bytes, number: int) -> bytes:
    found = _all(message, number)
    if len(found) != 1:
        raise ValueError(f"reading a CEL syntax tree: {len(found)} fields {number} where one belongs")
    return found[0]


def _text(message: bytes, number: int) -> str:
    return b"".join(_all(message, number)).decode()


def _walk(expr: bytes, reads: Reads, bound: frozenset[str]) -> None:
    kinds = [(number, value) for number, value in _fields(expr) if number != _ID]
    if len(kinds) != 1 or not isinstance(kinds[0][1], bytes):
        raise ValueError("reading a CEL syntax tree: an expression is not one of its kinds")
    kind, body = kinds[0]
    assert isinstance(body, bytes)  # noqa: S101 - checked above; narrows the type
    if kind not in _WALKS:
        raise ValueError(f"reading a CEL syntax tree: unknown kind of expression {kind}")
    _WALKS[kind](body, reads, bound)


def _walk_const(_body: bytes, _reads: Reads, _bound: frozenset[str]) -> None:
    """
    Read nothing.
    """


def _walk_ident(body: bytes, reads: Reads, bound: frozenset[str]) -> None:
    name = _text(body, 1).removeprefix(".")
    if name not in bound:
        reads.whole.add(name)


def _walk_list(body: bytes, reads: Reads, bound: frozenset[str]) -> None:
    for element in _all(body, 1):
        _walk(element, reads, bound)


def _walk_struct(body: bytes, reads: Reads, bound: frozenset[str]) -> None:
    for entry in _all(body, 2):
        for part in (*_all(entry, 3), *_all(entry, 4)):
            _walk(part, reads, bound)


def _variable(expr: bytes, bound: frozenset[str]) -> str | None:
    idents = _all(expr, _IDENT)
    name = _text(idents[0], 1).removeprefix(".") if idents else None
    return None if name in bound else name


def _walk_select(body: bytes, reads: Reads, bound: frozenset[str]) -> None:
    operand, key = _only(body, 1), _text(body, 2)
    variable = _variable(operand, bound)
    if variable is None:
        for inner in _all(operand, _SELECT):
            root = _variable(_only(inner, 1), bound)
            if root is not None:
                reads.chains.add(f"{root}.{_text(inner, 2)}.{key}")
        _walk(operand, reads, bound)
        return
    reads.keys.add((variable, key))
    if any(number == 3 and value for number, value in _fields(body)):  # test_only: the `has` macro
        reads.guarded.add((variable, key))


def _walk_call(body: bytes, reads: Reads, bound: frozenset[str]) -> None:
    function, arguments = _text(body, 2), _all(body, 3)
    pair = _constant_key(function, arguments, bound)
    if pair is not None:
        reads.keys.add(pair)
        if function == "@in":
            reads.guarded.add(pair)
        return
    for part in (*_all(body, 1), *arguments):
        _walk(part, reads, bound)


def _constant_key(function: str, arguments: list[bytes], bound: frozenset[str]) -> tuple[str, str] | None:
    if function not in {"_[_]", "@in"} or len(arguments) != 2:
        return None
    container, key = arguments if function == "_[_]" else reversed(arguments)
    constants = _all(key, _CONST)
    variable = _variable(container, bound)
    if function == "@in" and variable == "body":
        return None  # the body may be a list, where `in` asks for an element
    if variable is None or not constants or not any(number == _STRING_OF_CONST for number, _ in _fields(constants[0])):
        return None
    return variable, _text(constants[0], _STRING_OF_CONST)


def _walk_comprehension(body: bytes, reads: Reads, bound: frozenset[str]) -> None:
    inner = bound | {_text(body, 1), _text(body, 3), _text(body, 8)} - {""}
    _walk(_only(body, 2), reads, bound)  # the range
    _walk(_only(body, 4), reads, bound)  # the accumulator's first value
    for number in (5, 6, 7):
        for part in _all(body, number):
            _walk(part, reads, inner)


_WALKS: Final[dict[int, Callable[[bytes, Reads, frozenset[str]], None]]] = {
    _CONST: _walk_const,
    _IDENT: _walk_ident,
    _SELECT: _walk_select,
    _CALL: _walk_call,
    _LIST: _walk_list,
    _STRUCT: _walk_struct,
    _COMPREHENSION: _walk_comprehension,
}
