"""
``${env:VAR}``, ``${env:VAR:-default}``, ``${file:PATH}`` and ``$$`` in the values of a config.

Any other ``${`` is left alone: rules have templates such as ``${attributes["x"]}``. There, ``$$`` is left to the template,
and what is substituted is escaped, so that neither the environment nor a file can smuggle in a selector.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from meterline.config.source import Item, Report, Span, is_unicode, walk

TOKEN: Final = re.compile(r"\$\$|\$\{(env|file):([^}]*)\}?")
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_TEMPLATES: Final = frozenset({"customer", "dimension", "metadata"})
MAX_FILE_BYTES: Final = 1_048_576


class _SubstitutionError(Exception):
    def __init__(self, code: str, message: str, remedy: str) -> None:
        super().__init__(message)
        self.code, self.message, self.remedy = code, message, remedy


@dataclass(frozen=True, slots=True)
class Substitution:
    """
    Where values come from: the environment, and files relative to the config's folder.
    """

    environ: Mapping[str, str]
    base_dir: Path
    report: Report

    def apply(self, root: Item) -> None:
        """
        Substitute in every scalar of the tree; ``substituted`` of each keeps what must not be shown.
        """
        seen: set[int] = set()
        for way, item in walk(root):
            if item.kind == "scalar" and "$" in item.text and id(item) not in seen:
                seen.add(id(item))
                self._scalar(item, template=_is_template(way))

    def _scalar(self, item: Item, *, template: bool) -> None:
        values: list[str] = []
        failed = False

        def replaced(token: re.Match[str]) -> str:
            nonlocal failed
            if token[0] == "$$":
                return "$$" if template else "$"
            try:
                value = self._value(token)
            except _SubstitutionError as error:
                failed = True
                self.report(_inside(item, token), error.code, error.message, error.remedy)
                return ""
            values.append(value)
            return value.replace("$", "$$") if template else value

        item.text = TOKEN.sub(replaced, item.text)
        item.data = item.text
        item.substituted = tuple(values)
        item.kind = "unknown" if failed else item.kind

    def _value(self, token: re.Match[str]) -> str:
        if not token[0].endswith("}"):
            raise _SubstitutionError("ML012", f"reading substitution `{token[0]}`: no closing `}}`", "")
        return self._env(token[2]) if token[1] == "env" else self._file(token[2])

    def _env(self, inner: str) -> str:
        name, dash, default = inner.partition(":-")
        if not _NAME.fullmatch(name):
            remedy = "write ${env:NAME} or ${env:NAME:-default}"
            raise _SubstitutionError("ML012", f"reading substitution: `{name}` cannot be a variable's name", remedy)
        value = self.environ.get(name)
        if dash and not value:
            return default
        if value is None:
            remedy = f"set it, or write ${{env:{name}:-default}}"
            raise _SubstitutionError("ML010", f"environment variable `{name}` is not set", remedy)
        if not is_unicode(value):
            raise _SubstitutionError("ML012", f"environment variable `{name}` is not UTF-8 text", "")
        return value

    def _file(self, inner: str) -> str:
        path = self.base_dir / inner
        try:
            with path.open("rb") as file:
                content = file.read(MAX_FILE_BYTES + 1)
            text = content.decode()
        except OSError as error:
            words = (error.strerror or str(error)).lower()
            raise _SubstitutionError("ML011", f"reading file '{inner}': {words}", f"looked for {path}") from error
        except ValueError as error:
            raise _SubstitutionError("ML011", f"reading file '{inner}': it is not UTF-8 text", "") from error
        if len(content) > MAX_FILE_BYTES:
            raise _SubstitutionError("ML011", f"reading file '{inner}': larger than {MAX_FILE_BYTES} bytes", "")
        return text.removesuffix("\n").removesuffix("\r")


def _is_template(way: tuple[str | int, ...]) -> bool:
    if len(way) < 3 or way[0] != "rules" or way[2] not in _TEMPLATES:  # rules, position, key
        return False
    return way[-2] != "lookup" or way[-1] in {"key", "default"}


def _inside(item: Item, token: re.Match[str]) -> Span:
    quote = 0 if item.plain else 1
    if item.style in ("|", ">") or item.span.length == 0:
        return item.span
    return Span(item.span.line, item.span.column + quote + token.start(), len(token[0]))
