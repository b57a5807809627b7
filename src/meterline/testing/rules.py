"""
A small stand-in for a bound rule set: enough to drive a kernel through its seam without the rules engine.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from meterline.globs import compile_glob
from meterline.kernel.reasons import Reason
from meterline.kernel.seam import (
    ABSENT,
    Bad,
    Charge,
    Context,
    ContextVerdict,
    Fields,
    LogIdentity,
    Path,
    PointType,
    PointView,
    Shape,
    Track,
    Unknown,
    Verdict,
)

Answers = tuple[Sequence[tuple[int, ContextVerdict | Verdict]], Sequence[tuple[int, int, int]]]


@dataclass(frozen=True)
class SimpleRule:
    """
    A rule of the stand-in. ``customer``: the key of an attribute. ``gate``: asked per point; True, False, or raises.

    ``metric`` None: it matches logs. ``when``: asked per shape, with the attributes that ``reads`` names besides the customer.
    """

    name: str = "calls"
    metric: str | None = "*"
    customer: str = "customer.id"
    dimension: str = "calls"
    reads: tuple[str, ...] = ()
    when: Callable[[dict[str, Any]], bool] = field(default=lambda _values: True)
    gate: Callable[[PointView], bool] | None = None
    multi: bool = False
    ignore: bool = False
    charge: Charge = field(default=Charge("", None, None))

    def matches(self, context: Context) -> bool:
        """
        Say whether a context is of this rule's kind and name.
        """
        if context.type is PointType.LOG:
            return self.metric is None
        return self.metric is not None and compile_glob(self.metric)(context.name)

    def paths(self) -> tuple[Path, ...]:
        """
        Return what the rule reads of a point.
        """
        return tuple(("attributes", key) for key in (self.customer, *self.reads))

    def made(self, values: dict[str, Any]) -> Charge:
        """
        Return the charge of a shape with these attribute values.
        """
        customer = values[self.customer]
        named = str(customer) if isinstance(customer, str | int) and customer != "" else None
        return replace(
            self.charge,
            rule=self.name,
            customer=named,
            dimension=self.dimension,
            failure=self.charge.failure or (Reason.MISSING_CUSTOMER if named is None and not self.ignore else None),
            ignore=self.ignore and named is None,
            gated=self.gate is not None,
        )


class SimpleRules:
    """
    Answers for a list of rules under one generation. ``asked`` counts shapes and contexts, for tests of caching.
    """

    def __init__(self, *rules: SimpleRule, gen: int = 1) -> None:
        """
        Take the rules; their order is the order of charges.
        """
        self.rules = rules
        self.gen = gen
        self.asked = 0

    def answer(self, unknown: Unknown) -> Answers:
        """
        Answer all that is unknown.
        """
        self.asked += len(unknown.contexts) + len(unknown.shapes)
        got: list[tuple[int, ContextVerdict | Verdict]] = [
            (id_, self._context(context)) for id_, context in unknown.contexts
        ]
        got += [(id_, self._shape(shape)) for id_, shape in unknown.shapes]
        return got, [(id_, *self._gates(point)) for id_, point in unknown.points]

    def _context(self, context: Context) -> ContextVerdict:
        rules = [rule for rule in self.rules if rule.matches(context)]
        if not rules:
            return ContextVerdict(self.gen, Fields.SKIP)
        return ContextVerdict(self.gen, self._paths(rules), overflow=len(rules))

    def _paths(self, rules: Sequence[SimpleRule]) -> tuple[Path, ...]:
        return tuple(dict.fromkeys(path for rule in rules for path in rule.paths()))

    def _shape(self, shape: Shape) -> Verdict:
        rules = [rule for rule in self.rules if rule.matches(shape.context)]
        values = dict(zip((path[1] for path in self._paths(rules)), shape.values, strict=True))
        bad = next((value.reason for value in values.values() if isinstance(value, Bad)), None)
        if bad is not None:
            return Verdict(self.gen, (), bad)
        matched = [rule for rule in rules if rule.when(values)]
        charges = [rule.made(values) for rule in matched]
        return Verdict(self.gen, tuple(_with_rivals(matched, charges)))

    def _gates(self, point: PointView) -> tuple[int, int]:
        holds = erred = 0
        by_name = {rule.name: rule for rule in self.rules}
        for place, charge in enumerate(point.charges):
            gate = by_name[charge.rule].gate
            try:
                holds |= bool(gate is None or gate(point)) << place
            except ArithmeticError:
                erred |= 1 << place
        return holds, erred


def _with_rivals(rules: Sequence[SimpleRule], charges: Sequence[Charge]) -> list[Charge]:
    """
    Mark the charges that come to the same customer and dimension while not all of their rules say multi.
    """
    masks: dict[tuple[str | None, str | None], int] = {}
    single: set[tuple[str | None, str | None]] = set()
    for place, (rule, charge) in enumerate(zip(rules, charges, strict=True)):
        target = (charge.customer, charge.dimension)
        masks[target] = masks.get(target, 0) | 1 << place
        if not rule.multi:
            single.add(target)
    return [
        replace(charge, rivals=masks[target] if masks[target].bit_count() > 1 and target in single else 0)
        for charge in charges
        for target in ((charge.customer, charge.dimension),)
    ]


__all__ = ["ABSENT", "LogIdentity", "SimpleRule", "SimpleRules", "Track"]
