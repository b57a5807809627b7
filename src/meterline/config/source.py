"""
YAML 1.2 with positions: every key, value and list item knows where it stands. Duplicate keys and alias bombs are errors.

The tree is composed by ruamel.yaml and typed here by the YAML 1.2 core schema: ``yes``, ``12:30`` and ``2026-01-01`` are texts.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, TypeAlias

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

Report: TypeAlias = Callable[["Span", str, str, str], None]
"""Called with span, code, message and help."""

MAX_NODES: Final = 100_000
"""How many values a config may have, aliases written out."""

MAX_DEPTH: Final = 50
"""How deep values may be nested in each other."""

_NULL: Final = frozenset({"", "~", "null", "Null", "NULL"})
_BOOLS: Final = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INT: Final = re.compile(r"[-+]?[0-9]+")
_BASED: Final = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT: Final = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_STANDARD: Final = "tag:yaml.org,2002:"
_TAGS: Final = frozenset({"str", "int", "float", "bool", "null", "seq", "map", "merge", "timestamp", "value", "binary"})
_PROPERTIES: Final = re.compile(r"(?:[&!]\S*\s+)+")
_GLUED: Final = re.compile(r"\s*(?:- )?[\w.-]+:[^\s/]")
_MERGE: Final = "<<"


@dataclass(frozen=True, slots=True)
class Span:
    """
    A place in the file: zero-based line and column, and how many characters from there (0: to the end of the word).
    """

    line: int
    column: int
    length: int = 0


@dataclass(slots=True)
class Item:
    """
    A value of the tree. ``data`` is a scalar's plain value, or is built from ``entries`` or ``items``.

    ``keys``: where each key of a mapping stands. ``text``: a scalar's text as YAML reads it; ``plain``: it has no quotes.
    ``inline``: its text stands in the file character by character from ``span`` on, so that offsets are columns.
    """

    span: Span
    end: Span
    kind: str = "scalar"
    data: Any = None
    text: str = ""
    plain: bool = False
    style: str | None = None
    entries: dict[str, "Item"] = field(default_factory=dict)
    keys: dict[str, Span] = field(default_factory=dict)
    items: list["Item"] = field(default_factory=list)
    substituted: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SourceFile:
    """
    A config file's text, split into lines once.
    """

    path: Path
    text: str
    lines: Sequence[str]

    @staticmethod
    def of(path: Path, text: str) -> "SourceFile":
        """
        Split the text.
        """
        return SourceFile(path, text, text.split("\n"))


def compose(text: str, report: Report) -> Item | None:
    """
    Return the tree of a text, None when it has none. Problems go to ``report``; a syntax error is the only one of its text.
    """
    yaml = YAML(typ="rt")
    yaml.version = (1, 2)
    try:
        nodes = list(yaml.compose_all(text))
    except MarkedYAMLError as error:
        _report_syntax(error, text, report)
        return None
    except RecursionError:
        report(Span(0, 0), "ML002", "reading YAML: it is nested too deep", "")
        return None
    except (YAMLError, ValueError) as error:
        report(Span(0, 0), "ML002", f"reading YAML: {str(error).splitlines()[0]}", "")
        return None
    if len(nodes) > 1:
        report(_span(nodes[1]), "ML006", "reading YAML: a second document begins here", "a config is one document")
        return None
    return None if not nodes or nodes[0] is None else _Builder(text, report).build(nodes[0])


def _report_syntax(error: MarkedYAMLError, text: str, report: Report) -> None:
    mark = error.problem_mark or error.context_mark
    span = Span(mark.line, mark.column, 1) if mark else Span(0, 0)
    lines = text.split("\n")
    line = lines[span.line] if span.line < len(lines) else ""
    tab = line.find("\t")
    if tab >= 0 and (not line[:tab].strip() or "'\\t'" in str(error.problem)):
        report(
            Span(span.line, tab, 1),
            "ML003",
            "reading YAML: a tab where spaces belong",
            "YAML is indented with spaces only",
        )
        return
    words = ", ".join(part for part in (error.context, error.problem) if part)
    report(
        span,
        "ML002",
        f"reading YAML: {words or 'syntax error'}",
        _syntax_help(words, lines[max(0, span.line - 1) : span.line + 1]),
    )


def _syntax_help(words: str, lines: Sequence[str]) -> str:
    if "${" in "".join(lines[-1:]) and "flow mapping" in words:
        return "inside { } or [ ], quote texts that have ${...} in them"
    if "mapping values are not allowed" in words and any(map(_GLUED.match, lines)):
        return "a space belongs after the colon of a key"
    if "mapping values are not allowed" in words:
        return "quote texts that have `: ` in them, and check the indentation"
    if "undefined alias" in words:
        return "define it first, as in `key: &name value`"
    if "cannot start any token" in words:
        return "quote texts that begin with %, @ or `"
    return ""


def _span(node: Node) -> Span:
    start, end = node.start_mark, node.end_mark
    return Span(start.line, start.column, max(1, end.column - start.column) if end.line == start.line else 0)


class _Builder:
    def __init__(self, text: str, report: Report) -> None:
        self._report = report
        self._lines = text.split("\n")
        self._count = 0
        self._open: list[Node] = []

    def build(self, node: Node) -> Item:
        """
        Build a node, and again for every alias of it, within the budget.
        """
        self._count += 1
        end = Span(node.end_mark.line, node.end_mark.column)
        item = Item(self._span(node), end, kind="unknown")
        if node in self._open:
            self._report(item.span, "ML005", "reading YAML: an alias stands inside what it names", "")
        elif len(self._open) == MAX_DEPTH:
            self._report(item.span, "ML005", f"reading YAML: nested deeper than {MAX_DEPTH} levels", "")
        elif self._count == MAX_NODES:
            self._report(item.span, "ML005", f"reading YAML: over {MAX_NODES} values, aliases written out", "")
        elif self._count < MAX_NODES:
            self._open.append(node)
            self._fill(item, node)
            self._open.pop()
        return item

    def _span(self, node: Node) -> Span:
        """
        Return where a value begins: after its anchor and tag.
        """
        span = _span(node)
        before = _PROPERTIES.match(self._lines[span.line], span.column) if span.line < len(self._lines) else None
        if before is None or not span.length:
            return span
        skipped = before.end() - span.column
        return Span(span.line, span.column + skipped, span.length - skipped)

    def _fill(self, item: Item, node: Node) -> None:
        tag = str(node.tag or "")
        if tag and tag.removeprefix(_STANDARD) not in _TAGS:
            shown = tag.replace(_STANDARD, "!!")
            self._report(_span(node), "ML006", f"reading YAML: unknown tag `{shown}`", "delete the tag")
        elif isinstance(node, ScalarNode) and not is_unicode(node.value):
            self._report(item.span, "ML006", "reading YAML: half of a surrogate pair is no character", "")
        elif isinstance(node, ScalarNode):
            item.kind, item.text, item.style = "scalar", node.value, node.style
            item.plain = node.style in (None, "")
            item.data = plain_value(node.value) if item.plain and tag != f"{_STANDARD}str" else node.value
        elif isinstance(node, SequenceNode):
            item.kind, item.items = "list", [self.build(child) for child in node.value]
        elif isinstance(node, MappingNode):
            item.kind = "mapping"
            self._fill_mapping(item, node)

    def _fill_mapping(self, item: Item, node: MappingNode) -> None:
        merged: list[Node] = []
        for key_node, value_node in node.value:
            key = key_node.value if isinstance(key_node, ScalarNode) else None
            span = _span(key_node)
            if key is None:
                self._report(span, "ML006", "reading YAML: a key must be text", "")
            elif key == _MERGE and key_node.style in (None, ""):
                merged.append(value_node)
            elif key in item.keys:
                first = item.keys[key].line + 1
                self._report(
                    span, "ML004", f"duplicate key `{key}`", f"it stands on line {first} already; delete one of them"
                )
            else:
                item.keys[key], item.entries[key] = span, self.build(value_node)
        for value_node in merged:
            self._merge(item, value_node)

    def _merge(self, item: Item, node: Node) -> None:
        found = self.build(node)
        for source in found.items if found.kind == "list" else [found]:
            if source.kind != "mapping":
                self._report(source.span, "ML006", "reading YAML: `<<` merges mappings only", "")
            for key, value in source.entries.items():
                if key not in item.entries:
                    item.entries[key], item.keys[key] = value, source.keys[key]


def is_unicode(text: str) -> bool:
    """
    Say whether the text has characters only: an escape, or a variable that is not UTF-8, may make half of one.
    """
    return not any("\ud800" <= char <= "\udfff" for char in text)


def plain_value(text: str) -> Any:
    """
    Return what a scalar without quotes is: null, bool, int, a number with places (Decimal, exact), or text.
    """
    if text in _NULL:
        return None
    if text in _BOOLS:
        return _BOOLS[text]
    if len(text) > _LONGEST_NUMBER:
        return text
    if _BASED.fullmatch(text):
        return int(text, 0)
    if _INT.fullmatch(text):
        return int(text)
    return Decimal(text) if _FLOAT.fullmatch(text) else text


_LONGEST_NUMBER: Final = 300


def plain_data(item: Item) -> Any:
    """
    Return the tree as dicts, lists and scalars; numbers with places as Decimal.
    """
    if item.kind == "mapping":
        return {key: plain_data(value) for key, value in item.entries.items()}
    if item.kind == "list":
        return [plain_data(value) for value in item.items]
    return item.data


def walk(item: Item, way: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], Item]]:
    """
    Yield (way, item) for every value of the tree, parents first.
    """
    yield way, item
    for key, value in item.entries.items():
        yield from walk(value, (*way, key))
    for position, value in enumerate(item.items):
        yield from walk(value, (*way, position))
