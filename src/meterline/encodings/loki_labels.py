r"""
Loki's label sets as text: ``{job="x", path="C:\\logs"}`` (Go's quoted strings, as LogQL has them).
"""

import re
from typing import Final

_SPACE: Final = r"[ \t\r\n]*"
_PAIR: Final = re.compile(
    rf'{_SPACE}([^\s=,{{}}"`]+){_SPACE}={_SPACE}(?:"((?:[^"\\\n]|\\.)*)"|`([^`]*)`){_SPACE}(,|(?=\}}))', re.DOTALL
)
_END: Final = re.compile(rf"{_SPACE}\}}{_SPACE}")
_BEGIN: Final = re.compile(rf"{_SPACE}\{{")
_ESCAPE: Final = re.compile(r"\\(?:x([0-9A-Fa-f]{2})|u([0-9A-Fa-f]{4})|U([0-9A-Fa-f]{8})|([0-7]{3})|(.))", re.DOTALL)
_SIMPLE: Final = {
    "a": b"\a",
    "b": b"\b",
    "f": b"\f",
    "n": b"\n",
    "r": b"\r",
    "t": b"\t",
    "v": b"\v",
    "\\": b"\\",
    '"': b'"',
    "'": b"'",
}


def parse_labels(text: str) -> dict[str, str]:
    """
    Read a label set; of two equal names the last one holds.

    :raises ValueError: it is none; the message does not repeat it.
    """
    found: dict[str, str] = {}
    begin = _BEGIN.match(text)
    if begin is None:
        raise ValueError("reading labels: they begin with {")
    position = begin.end()
    while (end := _END.match(text, position)) is None:
        pair = _PAIR.match(text, position)
        if pair is None:
            raise ValueError(f'reading labels: no name="value" at character {position}')
        name, quoted, raw, _ = pair.groups()
        found[name] = _unquoted(quoted) if raw is None else raw.replace("\r", "")
        position = pair.end()
    if end.end() != len(text):
        raise ValueError(f"reading labels: something stands after the closing brace, at character {end.end()}")
    return found


def _unquoted(quoted: str) -> str:
    """
    Undo Go's escapes, of which some are bytes: together they must be UTF-8.
    """
    if "\\" not in quoted:
        return quoted
    pieces, position = [], 0
    for escape in _ESCAPE.finditer(quoted):
        pieces += [quoted[position : escape.start()].encode(), _meant(escape)]
        position = escape.end()
    pieces.append(quoted[position:].encode())
    return b"".join(pieces).decode()


def _meant(escape: re.Match[str]) -> bytes:
    byte, short, long, octal, simple = escape.groups()
    if byte or octal:
        return (int(byte, 16) if byte else int(octal, 8)).to_bytes(1, "big")
    if short or long:
        return chr(int(short or long, 16)).encode()
    if simple not in _SIMPLE:
        raise ValueError("reading labels: an escape that Go does not have")
    return _SIMPLE[simple]
