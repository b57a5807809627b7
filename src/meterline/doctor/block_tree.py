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
    rf"""(?P<skip>\s+|\#[^\n]*)|{_TEXT}|(?P<pattern>[=!]~\s*/(?:[^/\\\n]|\\.)*/)"""
    r"""|(?P<mark>=>|[{}\[\](),!<>=~])|(?P<word>[^\s{}\[\](),"'=>#!<~]+)""",
    re.DOTALL,
)
_ALLOY: Final = re.compile(
    rf"""(?P<skip>[ \t\r]+|//[^\n]*|/\*.*?\*/)|{_TEXT}|(?P<end>\n)|(?P<mark>[{{}}\[\](),=;])"""
    r"""|(?P<word>[^\s{}\[\](),"'`=;]+)""",
    re.DOTALL,
)
_SECTION: Final = re.compile(r"\s*\[\s*(\w+)\s*\]\s*$")
_SECTIONS: Final = frozenset(
    {"service", "input", "filter", "output", "parser", "multiline_parser", "plugins", "custom"}
)
_OPERATOR: Final = re.compile(r"[-+*/%!<>&|?^]+$")


class Token(NamedTuple):
    """
    ``kind``: text, pattern, mark, word or end.
    """

    kind: str
    value: str
    line: int

    def is_mark(self, mark: str) -> bool:
        """
        Say whether it is this mark, and no text that looks like it.
        """
        return self.kind == "mark" and self.value == mark


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

    def at_mark(self, mark: str) -> bool:
        return self.next.is_mark(mark)

    def take_mark(self, mark: str, before: Token) -> None:
        if not self.take().is_mark(mark):
            raise ConfigurationError(f"line {before.line}: expected `{before.value} {mark}`")

    def skip_ends(self) -> None:
        while self.more() and self.next.kind == "end":
            self.at += 1


def _add(entries: dict[str, Node], name: str, node: Node) -> None:
    """
    Put a block under its name; the second of a name makes it a list.
    """
    old = entries.setdefault(name, Node(node.line, items=[]))
    if isinstance(old.items, list):  # else an attribute has a block's name, and is what counts
        old.items.append(node)


def logstash_tree(text: str) -> Node:
    """
    Read a pipeline: ``input``, ``filter``, ``output`` -> plugin name -> list of plugins. Conditions are passed through.

    :raises ConfigurationError: it is no pipeline.
    """
    reader = _Reader(_tokens(_LOGSTASH, text))
    sections: dict[str, Node] = {}
    while reader.more():
        name = reader.take()
        reader.take_mark("{", name)
        plugins: dict[str, Node] = dict(sections[name.value].entries) if name.value in sections else {}
        _logstash_block(reader, plugins)
        sections[name.value] = Node(name.line, entries=plugins)
    return Node(1, entries=sections)


def _logstash_block(reader: _Reader, plugins: dict[str, Node]) -> None:
    while not (token := reader.take()).is_mark("}"):
        if token.kind == "word" and token.value in {"if", "else"}:
            while not reader.take().is_mark("{"):
                pass
            _logstash_block(reader, plugins)
        else:
            reader.take_mark("{", token)
            _add(plugins, token.value, _logstash_options(reader, token.line))


def _logstash_options(reader: _Reader, line: int) -> Node:
    entries: dict[str, Node] = {}
    while not (key := reader.take()).is_mark("}"):
        if reader.at_mark("=>"):
            reader.take()
            entries[key.value] = _logstash_value(reader, key.line)
        elif reader.at_mark("{"):
            reader.take()
            _add(entries, key.value, _logstash_options(reader, key.line))
    return Node(line, entries=entries)


def _logstash_value(reader: _Reader, line: int) -> Node:
    token = reader.take()
    if token.is_mark("{"):
        return _logstash_options(reader, line)
    if token.is_mark("["):
        items = []
        while not reader.at_mark("]"):
            if reader.at_mark(","):
                reader.take()
            else:
                items.append(_logstash_value(reader, reader.next.line))
        reader.take()
        return Node(line, items=items)
    if token.kind == "word" and reader.more() and reader.at_mark("{"):
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
    while reader.more() and not reader.at_mark("}"):
        name = reader.take()
        label = reader.take() if reader.next.kind == "text" else None
        mark = reader.take()
        if mark.is_mark("{"):
            inner: dict[str, Node] = {} if label is None else {"label": Node(label.line, label.value)}
            _alloy_body(reader, inner, top=False)
            _add(entries, name.value, Node(name.line, entries=inner))
        elif mark.is_mark("="):
            entries[name.value] = Node(name.line, _alloy_expression(reader))
        else:
            raise ConfigurationError(f"line {name.line}: expected `{name.value} =` or `{name.value} {{`")
        reader.skip_ends()
    if not top:
        reader.take()


def _alloy_expression(reader: _Reader) -> str:
    """
    Take an expression as text: to the end of its line, of its block, or to the next name where a block stands on one line.
    """
    depth = 0
    parts: list[Token] = []
    while reader.more():
        token = reader.next
        ends = token.kind == "end" or token.is_mark("}") or token.is_mark(";")
        if depth == 0 and (ends or (parts and _begins_another(parts[-1], token))):
            break
        reader.take()
        if token.kind == "mark":
            depth += (token.value in "{[(") - (token.value in ")]}")
        parts.append(token)
    return " ".join(part.value for part in parts).strip()


def _begins_another(before: Token, token: Token) -> bool:
    """
    Say whether a word is the next attribute's name: it stands behind an operand, and is no operator.
    """
    operand = before.kind != "mark" or before.value in ")]}"
    return token.kind == "word" and operand and not (_OPERATOR.match(before.value) or _OPERATOR.match(token.value))


def fluent_bit_tree(text: str) -> Node:
    """
    Read the classic format: section name in lower case -> list of sections, keys in lower case.

    :raises ConfigurationError: a line stands before the first section.
    """
    sections: dict[str, list[Node]] = {}
    current: dict[str, Node] | None = None
    for number, line in enumerate(text.splitlines(), 1):
        stripped = line.strip()
        if not stripped or stripped.startswith(("#", "@")):
            continue
        if section := _SECTION.match(line):
            current = {}
            sections.setdefault(section[1].lower(), []).append(Node(number, entries=current))
            continue
        if current is None:
            raise ConfigurationError(f"line {number}: {stripped[:20]!r} stands before the first section")
        key, *value = stripped.split(None, 1)
        current[key.lower()] = Node(number, "".join(value))
    return Node(1, entries={name: Node(found[0].line, items=found) for name, found in sections.items()})


def is_fluent_bit(text: str) -> bool:
    """
    Say whether a file is in the classic format: it has a section that Fluent Bit knows.
    """
    headers = (_SECTION.match(line) for line in text.splitlines())
    return any(header is not None and header[1].lower() in _SECTIONS for header in headers)
