"""
Rules under one generation: the answers to contexts, shapes and points that a kernel does not know yet.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from meterline.generations import Generation
from meterline.kernel.seam import (
    Charge,
    Context,
    ContextVerdict,
    Fields,
    Path,
    PointType,
    PointView,
    Shape,
    Unknown,
    Verdict,
)
from meterline.rules.compiled import CompiledRule
from meterline.rules.predicate import RuleError
from meterline.rules.selectors import View
from meterline.rules.text import BadValueError
from meterline.rules.views import ContextView, PointLook, ShapeView, WholeView

_MAX_CONTEXTS: Final = 4096


@dataclass(frozen=True, slots=True)
class _Candidates:
    """
    The rules that may match points of a context, each with whether its context clauses surely hold, and the projection.
    """

    context: Context
    rules: tuple[tuple[CompiledRule, bool], ...]
    fields: tuple[Path, ...] | Fields

    def view(self, shape: Shape) -> View:
        if isinstance(self.fields, Fields):
            return WholeView(shape.context, shape.values[0])
        return ShapeView(shape.context, dict(zip(self.fields, shape.values, strict=True)))


class BoundRules:
    """
    Answers under one generation. Any thread; equal questions get equal answers.
    """

    def __init__(self, rules: Sequence[CompiledRule], generation: Generation) -> None:
        self._generation = generation
        self._rules = {rule.name: rule for rule in rules}
        self._logs = tuple(rule for rule in rules if rule.log)
        self._anywhere = tuple((at, rule) for at, rule in enumerate(rules) if not rule.log and rule.names is None)
        self._by_name: dict[str, list[tuple[int, CompiledRule]]] = {}
        for at, rule in enumerate(rules):
            for name in () if rule.log else rule.names or ():
                self._by_name.setdefault(name, []).append((at, rule))
        self._known: dict[int, _Candidates] = {}

    @property
    def gen(self) -> int:
        """
        Return the generation that every answer carries.
        """
        return self._generation.gen

    def context(self, context: Context) -> ContextVerdict:
        """
        Say which values decide for points of this context; SKIP when no rule can match.
        """
        candidates = self._candidates(context)
        overflow = 0 if context.type is PointType.LOG else len(candidates.rules)
        return ContextVerdict(self.gen, candidates.fields, overflow)

    def shape(self, shape: Shape) -> Verdict:
        """
        Say what the rules make of a shape.
        """
        candidates = self._candidates(shape.context)
        try:
            charges = list(self._charges(candidates.rules, candidates.view(shape)))
        except BadValueError as error:
            return Verdict(self.gen, (), error.reason)
        return Verdict(self.gen, _with_rivals(charges))

    def _charges(self, rules: Sequence[tuple[CompiledRule, bool]], view: View) -> Iterator[tuple[Charge, bool]]:
        since, continuous = self._generation.since, self._generation.continuous_from_gen
        for rule, settled in rules:
            charge = rule.charge(view, since.get(rule.name, 0), continuous.get(rule.name, 0), settled=settled)
            if charge is not None:
                yield charge, rule.multi

    def gates(self, point: PointView) -> tuple[int, int]:
        """
        Answer the gated charges of one point: (mask of those that hold, mask of those that erred).
        """
        look = PointLook(point, self._candidates(point.shape.context).view(point.shape))
        held = erred = 0
        for position, charge in enumerate(point.charges):
            when = self._rules[charge.rule].when if charge.gated else None
            if when is None:
                continue
            try:
                held |= when.holds(look) << position
            except (RuleError, BadValueError):
                erred |= 1 << position
        return held, erred

    def answer(self, unknown: Unknown) -> tuple[list[tuple[int, ContextVerdict | Verdict]], list[tuple[int, int, int]]]:
        """
        Answer all that a batch needs: what ``Meter.learn`` takes, and what ``Meter.decide`` takes.
        """
        learned: list[tuple[int, ContextVerdict | Verdict]] = [
            (at, self.context(context)) for at, context in unknown.contexts
        ]
        learned += [(at, self.shape(shape)) for at, shape in unknown.shapes]
        return learned, [(at, *self.gates(point)) for at, point in unknown.points]

    def _candidates(self, context: Context) -> _Candidates:
        known = self._known.get(id(context))
        if known is not None and known.context is context:
            return known
        if len(self._known) >= _MAX_CONTEXTS:
            self._known.clear()
        found = self._known[id(context)] = self._find(context)
        return found

    def _find(self, context: Context) -> _Candidates:
        view = ContextView(context)
        outlooks = ((rule, rule.outlook(view)) for rule in self._possible(context))
        rules = tuple((rule, outlook is True) for rule, outlook in outlooks if outlook is not False)
        if not rules:
            return _Candidates(context, (), Fields.SKIP)
        if any(rule.fields is Fields.ALL for rule, _ in rules):
            return _Candidates(context, rules, Fields.ALL)
        paths = (path for rule, _ in rules if not isinstance(rule.fields, Fields) for path in rule.fields)
        return _Candidates(context, rules, tuple(dict.fromkeys(paths)))

    def _possible(self, context: Context) -> Sequence[CompiledRule]:
        if context.type is PointType.LOG:
            return self._logs
        named = self._by_name.get(context.name, [])
        return [rule for _, rule in sorted((*named, *self._anywhere), key=lambda entry: entry[0])]


def _with_rivals(charges: list[tuple[Charge, bool]]) -> tuple[Charge, ...]:
    """
    Mark the charges that come to one customer and dimension, unless both rules of a pair say ``multi``.
    """
    if len(charges) < 2:
        return tuple(charge for charge, _ in charges)
    rivals = [0] * len(charges)
    for later, (charge, multi) in enumerate(charges):
        for earlier, (other, other_multi) in enumerate(charges[:later]):
            if _same_claim(charge, other) and not (multi and other_multi):
                rivals[later] |= 1 << earlier
                rivals[earlier] |= 1 << later
    return tuple(
        replace(charge, rivals=mask) if mask else charge for (charge, _), mask in zip(charges, rivals, strict=True)
    )


def _same_claim(one: Charge, other: Charge) -> bool:
    if one.customer is None or one.dimension is None:
        return False
    return (one.customer, one.dimension) == (other.customer, other.dimension)
