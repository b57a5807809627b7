"""
``when``: CEL behind one Predicate that never lets an error count as true.

cel-expr-python returns errors as values whose ``value()`` is a non-empty, hence truthy, text; so a result counts only when its
type is BOOL, and everything else raises. Quantities never pass through here.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import cache
from typing import Any, Final

from cel_expr_python import cel

from meterline.errors import MeterlineError
from meterline.kernel.seam import ABSENT, Value
from meterline.rules.cel_reads import reads_of
from meterline.rules.problems import Problem, ProblemError
from meterline.rules.suggest import closest
from meterline.rules.text import checked

METRIC_KEYS: Final = ("name", "unit", "type", "temporality", "monotonic")
READING: Final = frozenset({"value", "count", "time"})
"""Variables that differ from point to point: a `when` that reads one is answered per point."""

_ATTRIBUTES: Final = cel.Type.Map(cel.Type.STRING, cel.Type.DYN)
_COMMON: Final = {"attributes": _ATTRIBUTES, "resource": _ATTRIBUTES, "scope": _ATTRIBUTES, "time": cel.Type.TIMESTAMP}
_METRIC: Final = {"metric": _ATTRIBUTES, "value": cel.Type.DYN, "count": cel.Type.DYN}
_LOG: Final = {
    "body": cel.Type.DYN,
    "severity": cel.Type.STRING,
    "severity_number": cel.Type.INT,
    "event_name": cel.Type.STRING,
}
_ERROR: Final = re.compile(r"ERROR: <input>:(\d+):(\d+): (.*)")
_UNDECLARED: Final = re.compile(r"undeclared reference to '\.?([^'.]+)")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_INT64: Final = 2**63


class RuleError(MeterlineError):
    """
    A condition could not be evaluated for a point; never true, never false.
    """


@cache
def _environment(*, log: bool) -> Any:
    return cel.NewEnv(variables=_COMMON | (_LOG if log else _METRIC))


class Predicate:
    """
    One compiled condition. ``reads``: which variables and keys it looks at.
    """

    __slots__ = ("_expression", "reads", "source")

    def __init__(self, source: str, *, log: bool) -> None:
        """
        Compile and check. Raises ProblemError for a syntax or type error, and unless the result is a BOOL.
        """
        self.source = source
        try:
            self._expression = _environment(log=log).compile(source)
        except RuntimeError as error:
            raise ProblemError(_compile_problem(source, str(error), log=log)) from error
        kind = self._expression.return_type()
        if kind != cel.Type.BOOL:
            remedy = "compare it with something, as in `... == true`"
            raise ProblemError(Problem((), "ML045", f"reading `when`: it gives {kind.name()}, not BOOL", help=remedy))
        self.reads = reads_of(self._expression.serialize())
        self._check_reads()

    def _check_reads(self) -> None:
        for chain in sorted(self.reads.chains):
            root, _, key = chain.partition(".")
            if root in {"attributes", "resource", "scope"}:
                first, _, rest = key.partition(".")
                remedy = f'write {root}["{key}"] for the key with dots, or {root}["{first}"]["{rest}"] for a nested one'
                raise ProblemError(self._at(f"{root}.{key}", f"`{chain}` reads a nested mapping", remedy))
        for variable, key in sorted(self.reads.keys):
            if variable == "metric" and key not in METRIC_KEYS:
                close = closest(key, METRIC_KEYS)
                remedy = f"did you mean `{close}`?" if close else f"known: {', '.join(METRIC_KEYS)}"
                raise ProblemError(self._at(f"metric.{key}", f"unknown field `metric.{key}`", remedy))

    def _at(self, text: str, message: str, remedy: str) -> Problem:
        offset = max(self.source.find(text), 0)
        length = len(text) if self.source.startswith(text, offset) else 0
        return Problem((), "ML044", f"reading `when`: {message}", help=remedy, offset=offset, length=length)

    def holds(self, data: Mapping[str, Any]) -> bool:
        """
        Evaluate with these variables. Raises RuleError when the result is anything but true or false.
        """
        try:
            result = self._expression.eval(data=data)
        except RuntimeError as error:
            raise RuleError(f"evaluating `{self.source}`: {error}") from error
        if result.type() != cel.Type.BOOL:
            raise RuleError(f"evaluating `{self.source}`: {result.value()}")
        return bool(result.value())


def _compile_problem(source: str, words: str, *, log: bool) -> Problem:
    found = _ERROR.search(words)
    if found is None:
        return Problem((), "ML044", f"reading `when`: {words.splitlines()[0]}")
    line, column, message = int(found[1]), int(found[2]), found[3].removesuffix(" (in container '')")
    offset = sum(len(part) + 1 for part in source.split("\n")[: line - 1]) + column - 1
    name = _UNDECLARED.search(message)
    length = len(name[1]) if name else 1
    short = message.split(" expecting ")[0]
    return Problem((), "ML044", f"reading `when`: {short}", "", _variable_help(name, log=log), offset, length)


def _variable_help(name: re.Match[str] | None, *, log: bool) -> str:
    if name is None:
        return ""
    if not log and name[1] in _LOG:
        return f"`{name[1]}` is there for logs only"
    if log and name[1] in _METRIC:
        return f"`{name[1]}` is there for metrics only"
    known = sorted(_COMMON | (_LOG if log else _METRIC))
    close = closest(name[1], known)
    return f"did you mean `{close}`?" if close else f"variables: {', '.join(known)}"


def to_cel(value: Value) -> Any:
    """
    Return the value as CEL takes it: Decimals become int or double (this is a condition, not a quantity).

    Raises BadValueError for a value that could not be read.
    """
    value = checked(value)
    if isinstance(value, Mapping):
        return {key: to_cel(item) for key, item in value.items() if item is not ABSENT}
    if isinstance(value, list | tuple):
        return [to_cel(item) for item in value]
    if isinstance(value, Decimal):
        whole = value.adjusted() < 19 and value == value.to_integral_value()
        return int(value) if whole and -_INT64 <= value < _INT64 else float(value)
    return value


def timestamp(nanos: int) -> datetime:
    """
    Return the time as CEL takes it, cut to whole microseconds.
    """
    return _EPOCH + timedelta(microseconds=nanos // 1000)
