"""
One tree for all formats: every value knows its line.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias

_DEFAULT: Final = re.compile(r"\$\{(?:env:|ENV:)?+\w+(?::-|:|-)(.*)\}", re.DOTALL)

Scalar: TypeAlias = str | int | float | bool | None


@dataclass(slots=True)
class Node:
    """
    A value of a config. ``line``: 1-based, of its key. One of ``scalar``, ``entries`` and ``items`` is what it is.
    """

    line: int
    scalar: Scalar = None
    entries: Mapping[str, "Node"] = field(default_factory=dict)
    items: Sequence["Node"] = ()

    def at(self, *path: str) -> "Node | None":
        """
        Return the value under these keys.
        """
        node: Node | None = self
        for key in path:
            node = None if node is None else node.entries.get(key)
        return node

    def value(self, *path: str) -> Scalar:
        """
        Return the scalar under these keys, None when there is none.
        """
        node = self.at(*path)
        return None if node is None else node.scalar

    def text(self, *path: str) -> str:
        """
        Return the scalar under these keys as lower-case text, "" when there is none.
        """
        return self.shown(*path).lower()

    def shown(self, *path: str) -> str:
        """
        Return the scalar under these keys as text; of a variable with a default, that.
        """
        value = self.value(*path)
        text = "" if value is None else str(value).strip()
        default = _DEFAULT.fullmatch(text)
        return default[1] if default else text

    def line_of(self, *path: str) -> int:
        """
        Return the line of the deepest of these keys that is there.
        """
        node, line = self, self.line
        for key in path:
            found = node.entries.get(key)
            if found is None:
                break
            node, line = found, found.line
        return line

    def each(self, *path: str) -> Iterator[tuple[str, "Node"]]:
        """
        Yield the keys and values of the mapping under these keys.
        """
        node = self.at(*path)
        yield from () if node is None else node.entries.items()

    def list(self, *path: str) -> Sequence["Node"]:
        """
        Return the items of the list under these keys; a single value counts as a list of one.
        """
        node = self.at(*path)
        if node is None:
            return ()
        return node.items or ((node,) if node.scalar is not None or node.entries else ())


def is_zero(text: str) -> bool:
    """
    Say whether a duration is zero in any of the ways it is written: 0, 0s, "0ms".
    """
    return text.rstrip("smhn") in {"0", "0.0"}


def is_off(text: str) -> bool:
    """
    Say whether a switch is off, as YAML, TOML and Fluent Bit write it.
    """
    return text in {"false", "off", "no", "0"}


def is_variable(text: str) -> bool:
    """
    Say whether a text comes from the environment: what it is cannot be told here.
    """
    return "${" in text or "env (" in text


def is_on(text: str) -> bool:
    """
    Say whether a switch is on, as YAML, TOML and Fluent Bit write it.
    """
    return text in {"true", "on", "yes", "1"}
