"""
Where a customer, dimension or metadata text comes from: a literal, selector, template or lookup, or the first that is there.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TypeAlias

from meterline.kernel.seam import ABSENT, Value
from meterline.rules.model import LookupConfig, LookupSource, Source
from meterline.rules.problems import Problem, ProblemError
from meterline.rules.selectors import (
    Selector,
    Template,
    View,
    is_selector,
    is_template,
    misspelt_selector,
    parse_selector,
    parse_template,
    unescaped,
)
from meterline.rules.text import canonical_text, checked

ToText: TypeAlias = Callable[[Value], str | None]
Resolver: TypeAlias = Callable[[View], str | None]
Tables: TypeAlias = Callable[[LookupConfig], Mapping[str, str]]


@dataclass(frozen=True, slots=True)
class Resolved:
    """
    A compiled source: what it reads, and how it answers (None: missing). ``literal``: it always answers this.
    """

    resolve: Resolver
    selectors: tuple[Selector, ...]
    literal: str | None = None


@dataclass(frozen=True, slots=True)
class SourceCompiler:
    """
    Compiles the sources of one rule. ``to_text``: which values count as there (identifiers and metadata differ).

    Problems are collected into ``problems``, with ``where`` relative to the rule.
    """

    to_text: ToText
    tables: Tables
    log: bool
    json_body: bool
    problems: list[Problem]

    def compile(self, source: Source, *where: str | int) -> Resolved:
        """
        Compile a source; what is wrong with it goes to ``problems`` and leaves a source that answers None.
        """
        if isinstance(source, tuple):
            return _first_of([self.compile(part, *where, position) for position, part in enumerate(source)])
        if isinstance(source, LookupSource):
            return self._lookup(source.lookup, *where, "lookup")
        return self._text(source, *where)

    def _text(self, text: str, *where: str | int) -> Resolved:
        try:
            if is_selector(text):
                selector = parse_selector(text, json_body=self.json_body)
                return Resolved(self._reading(self._fitting(selector)), (selector,))
            if is_template(text):
                return self._template(parse_template(text, json_body=self.json_body))
        except ProblemError as error:
            self.problems.append(error.problem.under(*where))
            return _NOTHING
        misspelt = misspelt_selector(text)
        if misspelt is not None:
            self.problems.append(misspelt.under(*where))
        literal = unescaped(text)
        return Resolved(lambda _view: literal, (), literal)

    def _fitting(self, selector: Selector) -> Selector:
        refuse_selector(selector, log=self.log)
        return selector

    def _reading(self, selector: Selector) -> Resolver:
        read, to_text = selector.read, self.to_text
        return lambda view: to_text(checked(read(view)))

    def _template(self, template: Template) -> Resolved:
        selectors = tuple(self._fitting(part) for part in template.parts if isinstance(part, Selector))
        parts = [_constant(part) if isinstance(part, str) else self._reading(part) for part in template.parts]

        def resolve(view: View) -> str | None:
            texts = [part(view) for part in parts]
            return None if None in texts else "".join(text for text in texts if text is not None)

        return Resolved(resolve, selectors)

    def _lookup(self, lookup: LookupConfig, *where: str | int) -> Resolved:
        key = replace(self, to_text=_key_text).compile(lookup.key, *where, "key")
        default = _NOTHING if lookup.default is None else self.compile(lookup.default, *where, "default")
        if key.literal is not None:
            words = f"reading lookup key `{lookup.key}`: it is literal text, so every point gets the same answer"
            remedy = 'write a selector such as attributes["key"]'
            self.problems.append(Problem((*where, "key"), "ML041", words, "expected a selector or template", remedy))
        try:
            table = self.tables(lookup)
        except ProblemError as error:
            self.problems.append(error.problem.under(*where))
            table = {}

        def resolve(view: View) -> str | None:
            found = key.resolve(view)
            return (table.get(found) or default.resolve(view)) if found is not None else default.resolve(view)

        return Resolved(resolve, (*key.selectors, *default.selectors))


def refuse_selector(selector: Selector, *, log: bool) -> None:
    """
    Raise ProblemError for a selector that points of this kind cannot have.
    """
    if not log and selector.root in {"body", "severity"}:
        words = f"reading selector `{selector.text}`: metric points have no {selector.root}"
        raise ProblemError(Problem((), "ML041", words, "there for logs only"))
    if log and selector.root.startswith("metric."):
        words = f"reading selector `{selector.text}`: logs have no metric"
        raise ProblemError(Problem((), "ML041", words, "there for metrics only"))


def _constant(text: str) -> Resolver:
    return lambda _view: text


def _key_text(value: Value) -> str | None:
    return None if value is ABSENT else canonical_text(value)


def _first_of(parts: list[Resolved]) -> Resolved:
    def resolve(view: View) -> str | None:
        for part in parts:
            text = part.resolve(view)
            if text is not None:
                return text
        return None

    return Resolved(resolve, tuple(selector for part in parts for selector in part.selectors), parts[0].literal)


_NOTHING = Resolved(lambda _view: None, ())
