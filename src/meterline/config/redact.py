"""
Keeps secrets out of everything that is shown: excerpts, messages, the source text.
"""

import re
from collections.abc import Callable, Iterable
from typing import Final

from meterline.config.schema_walk import Way
from meterline.config.source import Item, SourceFile, walk
from meterline.config.substitute import TOKEN
from meterline.config.validation import MASK

_SHORTEST: Final = 4
"""Shorter secrets are masked where they stand, but not searched for in messages: they would mask half of them."""

_SENSITIVE: Final = re.compile(
    r"""(?ix)((?:["']?[\w.-]*(?:token|secret|passw|credential|api.?key|shared.?key|private|authorization|header)[\w.-]*["']?)
    \s*[:=]\s*)(\S.*)""",
)


class Redactor:
    """
    Knows which parts of a file are secret, and what they say.
    """

    def __init__(self, file: SourceFile) -> None:
        self._file = file
        self._masked: dict[int, list[tuple[int, int]]] = {}
        self._words: set[str] = set()

    def learn(self, root: Item, secret: Callable[[Way], bool]) -> None:
        """
        Mask every value that stands at or below a secret way, and remember its text.
        """
        hidden: list[Way] = []
        for way, item in walk(root):
            below = any(way[: len(prefix)] == prefix for prefix in hidden[-1:])
            if not below and secret(way):
                hidden.append(way)
                below = True
            if below and item.kind in {"scalar", "unknown"}:
                self._mask(item)
            self._words.update(word for word in item.substituted if len(word) >= _SHORTEST)

    def _mask(self, item: Item) -> None:
        if len(item.text) >= _SHORTEST:
            self._words.add(item.text)
        quote = 1 if item.style in {'"', "'"} else 0
        for line in range(item.span.line, item.end.line + 1):
            first = item.span.column + quote if line == item.span.line else 0
            last = item.end.column - quote if line == item.end.line else len(self._file.lines[line])
            for token in TOKEN.finditer(self._file.lines[line], first, last):
                self._masked.setdefault(line, []).append((first, token.start()))
                first = token.end()  # ${env:NAME} itself may be read
            self._masked.setdefault(line, []).append((first, last))

    def line(self, number: int) -> str:
        """
        Return a line of the file (from 0) with its secrets masked at equal width.
        """
        if number >= len(self._file.lines):
            return ""
        text = self._file.lines[number].rstrip("\r")
        for first, last in self._masked.get(number, ()):
            text = text[:first] + "*" * max(0, min(last, len(text)) - first) + text[last:]
        return self.message(text)

    def message(self, text: str) -> str:
        """
        Return the text without any secret in it.
        """
        for word in sorted(self._words, key=len, reverse=True):
            text = text.replace(word, MASK)
        return text

    def source(self) -> str:
        """
        Return the whole file with its secrets masked.
        """
        return "\n".join(self.line(number) for number in range(len(self._file.lines)))


def guess(lines: Iterable[str]) -> list[str]:
    """
    Mask what follows a key that sounds secret: all that can be done for a file that is not even YAML.
    """
    return [_SENSITIVE.sub(lambda found: found[1] + "*" * len(found[2]), line) for line in lines]
