"""
A small kernel stand-in: it asks rules about contexts and shapes as the seam says, with a projection of its own.
"""

import json
from collections.abc import Callable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from meterline.generations import Generation
from meterline.kernel.seam import (
    ABSENT,
    Charge,
    Context,
    ContextVerdict,
    Fields,
    PointType,
    PointView,
    Shape,
    Temporality,
    Verdict,
)
from meterline.rules import BoundRules, RuleConfig, RuleSet

COUNTER: Mapping[str, Any] = {
    "type": PointType.SUM,
    "name": "requests",
    "unit": "1",
    "temporality": Temporality.DELTA,
    "monotonic": True,
    "resource": {},
    "scope_name": "",
    "scope_version": "",
    "scope": {},
}
LOGS: Mapping[str, Any] = {
    **COUNTER,
    "type": PointType.LOG,
    "name": "",
    "unit": "",
    "temporality": Temporality.UNSPECIFIED,
    "monotonic": False,
}


class Asking:
    """
    Compiles rules, and asks them about one point.
    """

    def __init__(self, *rules: Mapping[str, Any], base_dir: Path, since: Mapping[str, int], gen: int) -> None:
        self.rule_set = compiled(*rules, base_dir=base_dir)
        self.bound: BoundRules = self.rule_set.bind(Generation(gen, since, dict.fromkeys(since, gen)))

    def context(self, **changes: Any) -> ContextVerdict:
        """
        Ask about a counter's context.
        """
        return self.bound.context(Context(**{**COUNTER, **changes}))

    def verdict(self, point: Mapping[str, Any] | None = None, /, **changes: Any) -> Verdict:
        """
        Ask about a counter's point with these attributes.
        """
        return self._verdict(Context(**{**COUNTER, **changes}), {"attributes": point or {}})

    def log(self, attributes: Mapping[str, Any] | None = None, /, **parts: Any) -> Verdict:
        """
        Ask about a log record; ``parts`` are ``body``, ``severity`` and the like, or fields of the context.
        """
        mine = {key: parts.pop(key) for key in list(parts) if key in LOGS}
        return self._verdict(Context(**{**LOGS, **mine}), {"attributes": attributes or {}, **parts})

    def charge(self, point: Mapping[str, Any] | None = None, /, **changes: Any) -> Charge:
        """
        Ask about a counter's point that one rule matches.
        """
        (charge,) = self.verdict(point, **changes).charges
        return charge

    def gates(
        self, point: Mapping[str, Any], /, *, value: Any = 0, count: int | None = None, time: int = 0
    ) -> tuple[int, int]:
        """
        Ask the gates of a counter's point.
        """
        shape = self._shape(Context(**COUNTER), {"attributes": point})
        assert shape is not None
        charges = self.bound.shape(shape).charges
        return self.bound.gates(PointView(shape, charges, point, ABSENT, value, count, time, 0))

    def _verdict(self, context: Context, point: Mapping[str, Any]) -> Verdict:
        shape = self._shape(context, point)
        return Verdict(self.bound.gen, ()) if shape is None else self.bound.shape(shape)

    def _shape(self, context: Context, point: Mapping[str, Any]) -> Shape | None:
        fields = self.bound.context(context).fields
        if fields is Fields.SKIP:
            return None
        if fields is Fields.ALL:
            return Shape(context, ({"attributes": point["attributes"], "body": point.get("body", ABSENT)},))
        assert isinstance(fields, tuple)
        return Shape(context, tuple(_at(_with_json(point), path) for path in fields))


def _with_json(point: Mapping[str, Any]) -> Mapping[str, Any]:
    body = point.get("body")
    return (
        {**point, "body_json": json.loads(body, parse_float=Decimal)}
        if isinstance(body, str) and body[:1] in "{["
        else point
    )


def _at(value: Any, path: tuple[str, ...]) -> Any:
    for step in path:
        if not isinstance(value, Mapping) or step not in value:
            return ABSENT
        value = value[step]
    return value


def compiled(*rules: Mapping[str, Any], base_dir: Path) -> RuleSet:
    """
    Compile rules given as plain data; a name, customer, dimension and match are filled in where they are missing.
    """
    defaults = {"match": {"metric": "requests"}, "customer": "acme", "dimension": "calls"}
    full = [{"name": f"rule-{at}", **defaults, **rule} for at, rule in enumerate(rules)]
    models = [RuleConfig.model_validate_json(json.dumps(rule), strict=True) for rule in full]
    return RuleSet.compile(models, base_dir)


@pytest.fixture
def asking(tmp_path: Path) -> Callable[..., Asking]:
    """
    Return a maker of rules that can be asked: ``asking({"match": ...}, ..., since={...}, gen=1)``.
    """

    def make(*rules: Mapping[str, Any], since: Mapping[str, int] | None = None, gen: int = 1) -> Asking:
        return Asking(*rules, base_dir=tmp_path, since=since or {}, gen=gen)

    return make


@pytest.fixture
def problems(tmp_path: Path) -> Callable[..., list[Any]]:
    """
    Return a function that compiles rules and gives back what is wrong with them.
    """
    from meterline.rules import RuleSetError  # noqa: PLC0415 - kept beside its one use

    def find(*rules: Mapping[str, Any]) -> list[Any]:
        try:
            compiled(*rules, base_dir=tmp_path)
        except RuleSetError as error:
            return list(error.problems)
        return []

    return find
