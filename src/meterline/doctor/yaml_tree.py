"""
YAML and TOML as a tree with lines.
"""

import re
import tomllib
from typing import Any, Final

from meterline.config.source import Item, Span, compose
from meterline.doctor.tree import Node
from meterline.errors import ConfigurationError

_HEADER: Final = re.compile(r"\s*(\[\[?)\s*([^\]]+?)\s*\]\]?")
_TEXTS: Final = re.compile(
    r"""('{3}.*?'{3}|"{3}(?:[^"\\]|\\.|"(?!""))*"{3})|"(?:[^"\\\n]|\\.)*"|'[^'\n]*'|\#[^\n]*""", re.DOTALL
)
_KEY: Final = re.compile(r"""\s*((?:"[^"]*"|'[^']*'|[\w-]+)(?:\s*\.\s*(?:"[^"]*"|'[^']*'|[\w-]+))*)\s*=""")


def yaml_tree(text: str) -> Node:
    """
    Read YAML (or JSON). Raises ConfigurationError with the first problem.
    """
    problems: list[str] = []

    def report(span: Span, _code: str, message: str, _help: str) -> None:
        problems.append(f"line {span.line + 1}: {message}")

    root = compose(text, report)
    if root is None:
        raise ConfigurationError(problems[0] if problems else "it is empty")
    return _of(root, root.span)


def _of(item: Item, key: Span) -> Node:
    entries = {name: _of(value, item.keys.get(name, value.span)) for name, value in item.entries.items()}
    return Node(
        key.line + 1, item.data if item.kind == "scalar" else None, entries, [_of(i, i.span) for i in item.items]
    )


def toml_tree(text: str) -> Node:
    """
    Read TOML. Raises ConfigurationError.
    """
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(str(error)) from error
    return _toml(data, (), _lines(text))


def _lines(text: str) -> dict[tuple[str, ...], int]:
    """
    Return the line of each table and key; items of an array of tables are numbered.
    """
    found: dict[tuple[str, ...], int] = {}
    table: tuple[str, ...] = ()
    counts: dict[tuple[str, ...], int] = {}
    for number, line in enumerate(_without_texts(text).splitlines(), 1):
        if header := _HEADER.match(line):
            table = _path(header[2])
            found.setdefault(table, number)
            if header[1] == "[[":
                counts[table] = counts.get(table, -1) + 1
                table = (*table, str(counts[table]))
                found.setdefault(table, number)
        elif key := _KEY.match(line):
            path = _path(key[1])
            for size in range(1, len(path) + 1):
                found.setdefault((*table, *path[:size]), number)
    return found


def _without_texts(text: str) -> str:
    """
    Blank the inside of texts of several lines, where other things may stand that look like keys and tables.
    """
    return _TEXTS.sub(lambda found: "\n" * found[0].count("\n") if found[1] else found[0], text)


def _path(dotted: str) -> tuple[str, ...]:
    return tuple(part.strip().strip("\"'") for part in re.findall(r"""\s*("[^"]*"|'[^']*'|[^.]+)""", dotted))


def _toml(value: Any, way: tuple[str, ...], lines: dict[tuple[str, ...], int]) -> Node:
    line = next((lines[way[:size]] for size in range(len(way), 0, -1) if way[:size] in lines), 1)
    if isinstance(value, dict):
        return Node(line, entries={key: _toml(inner, (*way, key), lines) for key, inner in value.items()})
    if isinstance(value, list):
        return Node(line, items=[_toml(inner, (*way, str(number)), lines) for number, inner in enumerate(value)])
    return Node(line, value if isinstance(value, str | int | float | bool) else str(value))
