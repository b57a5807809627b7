"""
Writing JSON: whatever ``encodings.json`` has read, with its numbers as exact as they were, nested however deep.
"""

from collections.abc import Iterator
from json.encoder import encode_basestring_ascii
from typing import Any, Final

_CONSTANTS: Final = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}


def written(value: Any) -> bytes:
    """
    Return a dict, list, str, int, float, Decimal, bool or None as JSON in ASCII, without spaces, keys in their order.

    NaN and the infinities are written as senders write them that do not keep to JSON.
    """
    out: list[str] = []
    open_ones: list[tuple[Iterator[Any], str]] = [(iter((value,)), "")]
    while open_ones:
        members, end = open_ones[-1]
        for member in members:
            if out and out[-1][-1] not in "[{:":
                out.append(",")
            if end == "}":
                out.append(encode_basestring_ascii(member[0]) + ":")
                member = member[1]  # noqa: PLW2901  # of a pair, the value goes on
            if isinstance(member, dict):
                out.append("{")
                open_ones.append((iter(member.items()), "}"))
                break
            if isinstance(member, list):
                out.append("[")
                open_ones.append((iter(member), "]"))
                break
            out.append(_scalar(member))
        else:
            out.append(end)
            open_ones.pop()
    return "".join(out).encode("ascii")


def _scalar(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return encode_basestring_ascii(value)
    return _CONSTANTS.get(str(value)) or str(value)
