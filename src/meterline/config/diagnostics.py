"""
What is wrong with a config, for people and for programs: code, file, line, column, excerpt, caret, suggestion.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal
from unicodedata import combining, east_asian_width

from meterline.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """
    One finding. ``line`` and ``column`` count from 1 (0: the whole file); ``excerpt`` is that line with secrets masked.

    ``path`` names the value (``rules[0].match.metric``), ``label`` stands beside the caret, ``help`` is the remedy.
    """

    code: str
    message: str
    file: str
    line: int = 0
    column: int = 0
    length: int = 1
    excerpt: str = ""
    label: str = ""
    help: str = ""
    path: str = ""
    severity: Literal["error", "warning"] = "error"

    def __str__(self) -> str:
        head = f"{self.severity}[{self.code}]: {self.message}"
        place = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        number = str(self.line)
        lines = [head, f"  --> {place}"]
        if self.line:
            caret = _blank(self.excerpt[: self.column - 1]) + "^" * max(1, self.length)
            lines.append(f"{number} | {self.excerpt}".rstrip())
            lines.append(f"{' ' * len(number)} | {caret} {self.label}".rstrip())
        if self.help:
            lines.append(f"{' ' * len(number)} = help: {self.help}")
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """
        Return it as JSON-able data; the names are stable.
        """
        names = ("severity", "code", "message", "file", "line", "column", "length", "excerpt", "label", "help", "path")
        return {name: getattr(self, name) for name in names}


def _blank(text: str) -> str:
    """
    Return white space as wide as the text is on a terminal.
    """
    wide = {"W": "  ", "F": "  "}
    return "".join(
        char if char == "\t" else "" if combining(char) else wide.get(east_asian_width(char), " ") for char in text
    )


class ConfigurationErrors(ConfigurationError):  # noqa: N818 - it is several
    """
    Everything that is wrong with a config, once, in the order of the file; ``str`` is the text for people.
    """

    def __init__(self, diagnostics: Sequence[Diagnostic]) -> None:
        once = {(found.code, found.line, found.column, found.message): found for found in reversed(diagnostics)}
        self.diagnostics = tuple(sorted(once.values(), key=lambda found: (found.line, found.column, found.code)))
        super().__init__("\n\n".join(str(found) for found in self.diagnostics))
