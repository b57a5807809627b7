"""
What ``match`` says of one value, compiled to predicates. Scalars compare by canonical text, ranges as exact decimals.
"""

from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from operator import ge, gt, le, lt
from typing import Final, TypeAlias

import re2

from meterline.globs import compile_glob, is_glob
from meterline.kernel.seam import ABSENT, Value
from meterline.rules.model import Condition, Match, Scalar
from meterline.rules.problems import Problem, ProblemError
from meterline.rules.text import canonical_text, checked, exact_number

Test: TypeAlias = Callable[[Value], bool]
TextTest: TypeAlias = Callable[[str], bool]

_RANGES: Final[Mapping[str, Callable[[Decimal, Decimal], bool]]] = {"gte": ge, "gt": gt, "lte": le, "lt": lt}


def compile_regex(pattern: str) -> TextTest:
    """
    Return an unanchored RE2 search. Raises ProblemError.
    """
    options = re2.Options()
    options.log_errors = False
    try:
        compiled = re2.compile(pattern, options)
    except re2.error as error:
        words = error.args[0].decode() if isinstance(error.args[0], bytes) else str(error.args[0])
        remedy = "expressions are RE2: no look-around and no back-references, in exchange for linear time"
        raise ProblemError(Problem((), "ML043", f"reading regular expression: {words}", words, remedy)) from error
    return lambda text: compiled.search(text) is not None


def compile_match(match: Match) -> Test:
    """
    Compile a scalar, list or mapping of conditions. A Bad value raises BadValueError when it has to be read.

    Raises ProblemError, with ``where`` relative to the match.
    """
    if isinstance(match, Condition):
        return _condition(match)
    return _on_text(_one_of(match if isinstance(match, tuple) else (match,)))


def _condition(condition: Condition) -> Test:
    tests: list[Test] = []
    if condition.exists is not None:
        tests.append(_exists if condition.exists else _absent)
    texts = list(_text_tests(condition))
    tests += [_on_text(test) for test in texts]
    bounds = [(_RANGES[name], bound) for name in _RANGES if (bound := getattr(condition, name)) is not None]
    if bounds:
        tests.append(_within(bounds))
    if not tests:
        known = ", ".join(field.alias or name for name, field in Condition.model_fields.items())
        raise ProblemError(Problem((), "ML047", "reading condition: it is empty", help=f"write one of: {known}"))
    if condition.exists is False and len(tests) > 1:
        problem = Problem(
            ("exists",), "ML047", "reading condition: `exists: false` and another one can never both hold"
        )
        raise ProblemError(problem)
    return tests[0] if len(tests) == 1 else lambda value: all(test(value) for test in tests)


def _text_tests(condition: Condition) -> Iterable[TextTest]:
    if condition.equals is not None:
        text = canonical_text(condition.equals)
        yield lambda found: found == text
    if condition.in_ is not None:
        yield _one_of(condition.in_)
    if condition.glob is not None:
        yield compile_glob(condition.glob)
    if condition.regex is not None:
        try:
            yield compile_regex(condition.regex)
        except ProblemError as error:
            raise ProblemError(error.problem.under("regex")) from error


def _one_of(scalars: Iterable[Scalar]) -> TextTest:
    texts = [text for scalar in scalars if (text := canonical_text(scalar)) is not None]
    exact = frozenset(text for text in texts if not is_glob(text))
    globs = tuple(compile_glob(text) for text in texts if is_glob(text))
    if not globs:
        return exact.__contains__
    return lambda text: text in exact or any(glob(text) for glob in globs)


def _on_text(test: TextTest) -> Test:
    def holds(value: Value) -> bool:
        text = canonical_text(checked(value))
        return text is not None and test(text)

    return holds


def _within(bounds: list[tuple[Callable[[Decimal, Decimal], bool], Decimal]]) -> Test:
    def holds(value: Value) -> bool:
        number = exact_number(checked(value))
        return number is not None and all(compare(number, bound) for compare, bound in bounds)

    return holds


def _exists(value: Value) -> bool:
    return value is not ABSENT


def _absent(value: Value) -> bool:
    return value is ABSENT
