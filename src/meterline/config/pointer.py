"""
Points at values of a config file: from the way to a value to a diagnostic with line, column and excerpt.
"""

from collections.abc import Iterator
from typing import Literal

from meterline.config.diagnostics import Diagnostic
from meterline.config.redact import Redactor
from meterline.config.schema_walk import Way
from meterline.config.source import Item, SourceFile, Span, walk
from meterline.config.validation import Fault, dotted

Severity = Literal["error", "warning"]


class Pointer:
    """
    Finds the place of a value, and makes diagnostics that point there.
    """

    def __init__(self, name: str, file: SourceFile, root: Item | None, redactor: Redactor) -> None:
        self._name = name
        self._file = file
        self._root = root
        self._redactor = redactor

    def diagnostic(self, fault: Fault, *, severity: Severity = "error") -> Diagnostic:
        """
        Return a diagnostic at the fault's way: at the key, at the value, or at a part of its text.
        """
        item, key = self._find(fault.way)
        span = key if (fault.at_key or item is None) and key is not None else item.span if item else Span(0, 0)
        if fault.length and item is not None and not fault.at_key:
            span = _within(self._file, item, fault.offset, fault.length) or span
        return self.at(span, fault, severity=severity)

    def at(self, span: Span, fault: Fault, *, severity: Severity = "error") -> Diagnostic:
        """
        Return a diagnostic at a span.
        """
        excerpt = self._redactor.line(span.line)
        width = span.length or max(1, len(excerpt.rstrip()) - span.column)
        hide = self._redactor.message
        return Diagnostic(
            code=fault.code,
            message=hide(fault.message),
            file=self._name,
            line=span.line + 1,
            column=span.column + 1,
            length=min(width, max(1, len(excerpt) - span.column)),
            excerpt=excerpt,
            label=hide(fault.label),
            help=hide(fault.help),
            path=dotted(fault.way),
            severity=severity,
        )

    def items(self) -> Iterator[tuple[Way, Item]]:
        """
        Yield every value of the file with the way to it.
        """
        return walk(self._root) if self._root is not None else iter(())

    def _find(self, way: Way) -> tuple[Item | None, Span | None]:
        item = self._root
        key = next(iter(item.keys.values()), None) if item is not None else None
        for step in way:
            if item is None:
                break
            if isinstance(step, str):
                found = item.entries.get(step)
                key = item.keys.get(step, key)
            else:
                found = item.items[step] if step < len(item.items) else None
                key = found.span if found else key
            item = found or item
        return item, key


def _within(file: SourceFile, item: Item, offset: int, length: int) -> Span | None:
    """
    Return the place of a part of a scalar's text, None when the file does not have the text character by character.
    """
    if item.substituted or item.kind != "scalar":
        return None
    before = item.text[:offset]
    if item.style == "|":
        return _within_block(file, item, before, length)
    line = file.lines[item.span.line]
    start = item.span.column + (0 if item.plain else 1)
    if "\n" in before or not line.startswith(item.text[: offset + length].split("\n")[0], start):
        return None
    return Span(item.span.line, start + offset, length)


def _within_block(file: SourceFile, item: Item, before: str, length: int) -> Span | None:
    number = item.span.line + 1 + before.count("\n")
    if number >= len(file.lines):
        return None
    first = next((line for line in file.lines[item.span.line + 1 :] if line.strip()), "")
    indent = len(first) - len(first.lstrip(" "))
    return Span(number, indent + len(before.rpartition("\n")[2]), length)
