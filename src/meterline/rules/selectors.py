"""
Selectors and templates: how a rule names a value of a point, and texts made of such values.

A selector begins with ``resource``, ``scope``, ``attributes`` or ``body``, followed by ``[`` or ``.``; ``metric.name``,
``metric.unit``, ``scope.name``, ``scope.version`` and ``severity`` are selectors too. All else is literal text.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, NoReturn, Protocol, TypeAlias

from meterline.kernel.seam import ABSENT, Bad, Context, Path, Value
from meterline.rules.problems import Problem, ProblemError
from meterline.rules.suggest import closest

ROOTS: Final = ("resource", "scope", "attributes", "body")
NAMED: Final = ("metric.name", "metric.unit", "scope.name", "scope.version", "severity")
_OPENS: Final = re.compile(r"(resource|scope|attributes|body)(?=[.\[])")
_MISSPELT: Final = re.compile(r"""([A-Za-z_]+)\[\s*["']""")
_DOTTED: Final = re.compile(r"""[^\s\[\]{}"'$.]+(?:\.[^\s\[\]{}"'$.]+)*""")
_SEGMENT: Final = re.compile(r"""[^\s\[\]{}"'$.]+""")
_BRACKET: Final = re.compile(r"""\[\s*("(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')\s*\]""")


class View(Protocol):
    """
    What a rule may look at.
    """

    @property
    def context(self) -> Context:
        """
        Return what is constant for the metric, or for the logs of one scope.
        """

    def read(self, path: Path) -> Value:
        """
        Return a value of the point; ABSENT or Bad where that is so.
        """


Reader: TypeAlias = Callable[[View], Value]


@dataclass(frozen=True, slots=True)
class Selector:
    """
    A way to one value. ``path`` is set when it stands in the point, None when it is constant for the context.
    """

    text: str
    root: str
    keys: Path
    read: Reader

    @property
    def path(self) -> Path | None:
        """
        Return the path to read of the point, if it is one.
        """
        return self.keys if self.root in {"attributes", "body", "severity"} else None


def dig(value: Value, keys: Path) -> Value:
    """
    Follow keys into nested mappings; ABSENT where one is not there, the Bad that stands in the way.
    """
    for key in keys:
        if isinstance(value, Bad):
            return value
        if not isinstance(value, Mapping):
            return ABSENT
        value = value.get(key, ABSENT)
    return value


def is_selector(text: str) -> bool:
    """
    Say whether the text is meant as a selector.
    """
    return text in NAMED or _OPENS.match(text) is not None


def parse_selector(text: str, *, json_body: bool = False) -> Selector:
    """
    Read a selector. ``json_body``: the body is a text to be read as JSON. Raises ProblemError.
    """
    if text in NAMED:
        return Selector(text, text, (text,), _NAMED_READERS[text])
    opening = _OPENS.match(text)
    if opening is None:
        _refuse(text, 0, len(text), "expected a selector", _root_help(text))
    root = opening[1]
    keys = _keys(text, opening.end(), nested=root == "body")
    if root in {"resource", "scope"}:
        return Selector(text, root, keys, _resource_reader(keys) if root == "resource" else _scope_reader(keys))
    return _of_point(text, root, ("body_json" if root == "body" and json_body else root, *keys))


def whole_body(*, json_body: bool) -> Selector:
    """
    Return the selector of the body itself, which only templates can name.
    """
    return _of_point("body", "body", ("body_json" if json_body else "body",))


def _of_point(text: str, root: str, path: Path) -> Selector:
    return Selector(text, root, path, lambda view: view.read(path))


def _keys(text: str, at: int, *, nested: bool) -> Path:
    keys: list[str] = []
    while at < len(text):
        bracket = _BRACKET.match(text, at)
        if bracket is not None:
            keys.append(_unquoted(bracket[1]))
            at = bracket.end()
        elif text[at] == ".":
            dotted = (_SEGMENT if nested or keys else _DOTTED).match(text, at + 1)
            if dotted is None or (dotted.end() < len(text) and text[dotted.end()] not in ".["):
                _refuse(text, at, len(text) - at, "expected a plain name after the dot", _quoting_help(text, at))
            keys.append(dotted[0])
            at = dotted.end()
        else:
            _refuse(text, at, len(text) - at, 'expected ["key"] or the end', _bracket_help(text, at))
    return tuple(keys)


def _unquoted(quoted: str) -> str:
    return re.sub(r"\\(.)", r"\1", quoted[1:-1])


def _refuse(text: str, offset: int, length: int, label: str, remedy: str) -> NoReturn:
    message = f"reading selector `{text}`"
    raise ProblemError(Problem((), "ML041", message, label, remedy, offset, max(length, 1)))


def _quoting_help(text: str, at: int) -> str:
    return f'write {text[:at]}["{text[at + 1 :]}"]' if at + 1 < len(text) and '"' not in text[at:] else ""


def _bracket_help(text: str, at: int) -> str:
    inner = text[at + 1 :].split("]", maxsplit=1)[0].strip("\"' ")
    if inner.isdigit():
        return "list elements cannot be selected by position"
    return f'write {text[:at]}["{inner}"]' if text[at] == "[" and inner else ""


def _root_help(text: str) -> str:
    head = re.split(r"[.\[]", text, maxsplit=1)[0]
    close = closest(head, ROOTS) or closest(text, NAMED)
    names = ", ".join([f"{root}[...]" for root in ROOTS] + list(NAMED))
    return f"did you mean `{close}`?" if close else f"selectors are: {names}"


def misspelt_selector(text: str) -> Problem | None:
    """
    Return the problem of a literal that is surely a mistyped selector: ``resources["customer.id"]``.
    """
    found = _MISSPELT.match(text)
    close = closest(found[1], ROOTS) if found else None
    if found is None or close is None or found[1] == close:
        return None
    message = f"unknown selector root `{found[1]}`"
    label = f"expected one of: {', '.join(ROOTS)}"
    return Problem((), "ML041", message, label, f"did you mean `{close}`?", 0, len(found[1]))


def _resource_reader(keys: Path) -> Reader:
    return lambda view: dig(view.context.resource, keys)


def _scope_reader(keys: Path) -> Reader:
    return lambda view: dig(view.context.scope, keys)


def _severity(view: View) -> Value:
    return view.read(("severity",))


_NAMED_READERS: Final[Mapping[str, Reader]] = {
    "metric.name": lambda view: view.context.name,
    "metric.unit": lambda view: view.context.unit,
    "scope.name": lambda view: view.context.scope_name,
    "scope.version": lambda view: view.context.scope_version,
    "severity": _severity,
}


@dataclass(frozen=True, slots=True)
class Template:
    """
    Literal texts and selectors in turn.
    """

    parts: tuple[str | Selector, ...]


def is_template(text: str) -> bool:
    """
    Say whether the text has ``${`` that is not written ``$${``.
    """
    return "${" in text.replace("$$", "")


def unescaped(text: str) -> str:
    """
    Return literal text: ``$$`` is one dollar sign.
    """
    return text.replace("$$", "$")


def parse_template(text: str, *, json_body: bool = False) -> Template:
    """
    Read a text with ``${selector}`` in it; ``$$`` is a dollar sign. Raises ProblemError.
    """
    parts: list[str | Selector] = []
    literal, at = "", 0
    while at < len(text):
        if text.startswith("$$", at):
            literal, at = literal + "$", at + 2
        elif text.startswith("${", at):
            end = _closing(text, at)
            parts += [literal, _inner(text, at + 2, end, json_body=json_body)]
            literal, at = "", end + 1
        else:
            literal, at = literal + text[at], at + 1
    return Template(tuple(part for part in (*parts, literal) if part != ""))


def _inner(text: str, start: int, end: int, *, json_body: bool) -> Selector:
    inner = text[start:end]
    if inner == "body":
        return whole_body(json_body=json_body)
    try:
        return parse_selector(inner, json_body=json_body)
    except ProblemError as error:
        problem = error.problem
        moved = Problem(
            (),
            "ML042",
            f"reading template `{text}`",
            problem.label,
            problem.help,
            start + problem.offset,
            problem.length,
        )
        raise ProblemError(moved) from error


def _closing(text: str, at: int) -> int:
    quote = ""
    for position in range(at + 2, len(text)):
        char = text[position]
        if quote:
            quote = "" if char == quote and text[position - 1] != "\\" else quote
        elif char in "\"'":
            quote = char
        elif char == "}":
            return position
    problem = Problem((), "ML042", f"reading template `{text}`", "expected a closing `}`", "", at, len(text) - at)
    raise ProblemError(problem)
