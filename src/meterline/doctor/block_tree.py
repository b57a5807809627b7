"""
Logstash pipelines, Alloy and Agent flow files, and Fluent Bit's classic format as a tree with lines.

A block becomes a mapping; equal blocks stand in a list under their name. Expressions are not evaluated: their text counts.
"""

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

from meterline.doctor.tree import Node
from meterline.errors import ConfigurationError

_TEXT: Final = r"""(?P<text>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|`[^`]*`)"""
_LOGSTASH: Final = re.compile(
    rf"""(?P<skip>\s+|\#[^\n]*)|{_TEXT}|(?P<mark>=>|[{{}}\[\](),!<>=~])|(?P<word>[^\s{{}}\[\](),"'=>#!<~]+)""",
    re.DOTALL,
)
_ALLOY: Final = re.compile(
    rf"""(?P<skip>[ \t\r]+|//[^\n]*|/\*.*?\*/)|{_TEXT}|(?P<end>\n)|(?P<mark>[{{}}\[\](),=;])"""
    r"""|(?P<word>[^\s{}\[\](),"'`=;]+)""",
    re.DOTALL,
)
_SECTION: Final = re.compile(r"\s*\[\s*(\w+)\s*\]\s*$")


class Token(NamedTuple):
    """
    ``kind``: text, mark, word or end.
    """

    kind: str
    value: str
    line: int


def _tokens(pattern: re.Pattern[str], text: str) -> Iterator[Token]:
    position, line = 0, 1
    while position < len(text):
        found = pattern.match(text, position)
        if found is None or found.end() == position:
            raise ConfigurationError(f"line {line}: {text[position : position + 20]!r} cannot be read")
        kind = str(found.lastgroup)
        value = found[0]
        if kind != "skip":
            yield Token(kind, value[1:-1] if kind == "text" else value, line)
        line += value.count("\n")
        position = found.end()


class _Reader:
    """
    A position among tokens.
    """

    def __init__(self, tokens: Iterator[Token]) -> None:
        self.tokens = list(tokens)
        self.at = 0

    @property
    def next(self) -> Token:
        if self.at >= len(self.tokens):
            last = self.tokens[-1].line if self.tokens else 1
            raise ConfigurationError(f"line {last}: the file ends within a block")
        return self.tokens[self.at]

    def more(self) -> bool:
        return self.at < len(self.tokens)

    def take(self) -> Token:
        token = self.next
        self.at += 1
        return token

    def skip_ends(self) -> None:
        while self.more() and self.next.kind == "end":
            self.at += 1


def _add(entries: dict[str, Node], name: str, node: Node) -> None:
    """
    Put a block under its name; the second of a name makes it a list.
    """
    old = entries.get(name)
    if old is None:
        entries[name] = Node(node.line, items=[node])
    else:
        entries[name] = Node(old.line, items=[*old.items, node])


def logstash_tree(text: str) -> Node:
    """
    Read a pipeline: ``input``, ``filter``, ``output`` -> plugin name -> list of plugins. Conditions are passed through.

    :raises ConfigurationError: it is no pipeline.
    """
    reader = _Reader(_tokens(_LOGSTASH, text))
    sections: dict[str, Node] = {}
    while reader.more():
        name = reader.take()
        if reader.take().value != "{":
            raise ConfigurationError(f"line {name.line}: expected `{name.value} {{`")
        plugins: dict[str, Node] = dict(sections[name.value].entries) if name.value in sections else {}
        _logstash_block(reader, plugins)
        sections[name.value] = Node(name.line, entries=plugins)
    return Node(1, entries=sections)


def _logstash_block(reader: _Reader, plugins: dict[str, Node]) -> None:
    while (token := reader.take()).value != "}":
        if token.value in {"if", "else"}:
            while reader.take().value != "{":
                pass
            _logstash_block(reader, plugins)
        elif reader.take().value == "{":
            _add(plugins, token.value, _logstash_options(reader, token.line))
        else:
            raise ConfigurationError(f"line {token.line}: expected `{token.value} {{`")


def _logstash_options(reader: _Reader, line: int) -> Node:
    entries: dict[str, Node] = {}
    while (key := reader.take()).value != "}":
        if reader.next.value == "=>":
            reader.take()
            entries[key.value] = _logstash_value(reader, key.line)
        elif reader.next.value == "{":
            reader.take()
            _add(entries, key.value, _logstash_options(reader, key.line))
    return Node(line, entries=entries)


def _logstash_value(reader: _Reader, line: int) -> Node:
    token = reader.take()
    if token.value == "{" and token.kind == "mark":
        return _logstash_options(reader, line)
    if token.value == "[" and token.kind == "mark":
        items = []
        while reader.next.value != "]":
            found = _logstash_value(reader, reader.next.line)
            if found.scalar != ",":
                items.append(found)
        reader.take()
        return Node(line, items=items)
    if token.kind == "word" and reader.more() and reader.next.value == "{":
        reader.take()
        return _logstash_options(reader, line)
    return Node(line, token.value)


def alloy_tree(text: str) -> Node:
    """
    Read an Alloy or Agent flow file: block name -> list of blocks; a block's label stands under ``label``.

    :raises ConfigurationError: it is none.
    """
    reader = _Reader(_tokens(_ALLOY, text))
    entries: dict[str, Node] = {}
    _alloy_body(reader, entries, top=True)
    return Node(1, entries=entries)


def _alloy_body(reader: _Reader, entries: dict[str, Node], *, top: bool) -> None:
    reader.skip_ends()
    while reader.more() and reader.next.value != "}":
        name = reader.take()
        label = reader.take() if reader.next.kind == "text" else None
        mark = reader.take()
        if mark.value == "{":
            inner: dict[str, Node] = {} if label is None else {"label": Node(label.line, label.value)}
            _alloy_body(reader, inner, top=False)
            _add(entries, name.value, Node(name.line, entries=inner))
        elif mark.value == "=":
            entries[name.value] = Node(name.line, _alloy_expression(reader))
        else:
            raise ConfigurationError(f"line {name.line}: expected `{name.value} =` or `{name.value} {{`")
        reader.skip_ends()
    if not top:
        reader.take()


def _alloy_expression(reader: _Reader) -> str:
    depth = 0
    parts = []
    while reader.more():
        token = reader.next
        if depth == 0 and (token.kind == "end" or token.value == "}"):
            break
        reader.take()
        if token.kind == "mark":
            depth += (token.value in "{[(") - (token.value in ")]}")
        parts.append(token.value)
        if depth == 0 and reader.more() and reader.next.kind == "word":
            break
    return " ".join(parts).strip()


def fluent_bit_tree(text: str) -> Node:
    """
    Read the classic format: section name in lower case -> list of sections, keys in lower case.

    :raises ConfigurationError: a line is neither a section nor a key with a value.
    """
    entries: dict[str, Node] = {}
    current: dict[str, Node] | None = None
    for number, line in enumerate(text.splitlines(), 1):
        stripped = line.strip()
        if not stripped or stripped.startswith(("#", "@")):
            continue
        if section := _SECTION.match(line):
            current = {}
            _add(entries, section[1].lower(), Node(number, entries=current))
            continue
        key, _, value = stripped.partition(" ")
        if current is None or not value.strip():
            raise ConfigurationError(f"line {number}: {stripped[:20]!r} is neither a section nor a key with a value")
        current[key.lower()] = Node(number, value.strip())
    return Node(1, entries=entries)
