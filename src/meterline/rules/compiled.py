"""
One rule, compiled: a match that is three-valued where values cannot be read, and the charge it makes.
"""

from dataclasses import dataclass
from typing import Final, TypeAlias

from meterline.kernel.reasons import Reason
from meterline.kernel.seam import Charge, Context, Fields, LogIdentity, Path, PointType, Temporality, Track
from meterline.quantity import AMOUNT_ONE, UNIT_FACTOR, Amount
from meterline.rules.conditions import Test
from meterline.rules.predicate import RuleError
from meterline.rules.selectors import Reader, View
from meterline.rules.sources import Resolved
from meterline.rules.text import BadValueError
from meterline.rules.when import When

Clause: TypeAlias = tuple[Reader, Test]

_COUNTED: Final = frozenset({PointType.HISTOGRAM, PointType.EXPONENTIAL_HISTOGRAM, PointType.SUMMARY})


@dataclass(frozen=True, slots=True)
class CompiledRule:
    """
    ``names``: the exact metric names it can match, None when only ``constant`` can tell. ``constant`` clauses look at the
    context, ``varying`` ones at the point. ``fields``: what its verdict depends on. ``explicit``: ``value`` is written.
    """

    name: str
    log: bool
    names: frozenset[str] | None
    constant: tuple[Clause, ...]
    varying: tuple[Clause, ...]
    when: When | None
    customer: Resolved
    dimension: Resolved
    metadata: tuple[tuple[str, Resolved], ...]
    fields: tuple[Path, ...] | Fields
    unit: str | None = None
    track: Track = Track.NUMBER
    value: Path | None = None
    literal: Amount = AMOUNT_ONE
    identity: Path | LogIdentity | None = None
    factor: int = UNIT_FACTOR
    active_from: int | None = None
    ignore_missing: bool = False
    allow_negative: bool = False
    explicit: bool = False
    multi: bool = False

    def outlook(self, view: View) -> bool | None:
        """
        Say what a context decides: False, no point of it matches; True, the rest decides; None, it cannot be read.
        """
        try:
            if not _all_hold(self.constant, view):
                return False
            return self.when is None or self.when.stage != "context" or self.when.holds(view)
        except (BadValueError, RuleError):
            return None

    def charge(self, view: View, since: int, continuous: int, *, settled: bool) -> Charge | None:
        """
        Return what the rule makes of a shape, None when it does not match. Raises BadValueError.

        ``settled``: the outlook was True, so that what the context decides is not asked again.
        """
        if not _all_hold(self.varying if settled else (*self.constant, *self.varying), view):
            return None
        failure = None
        if self.when is not None and self.when.stage != "point" and not (settled and self.when.stage == "context"):
            try:
                if not self.when.holds(view):
                    return None
            except RuleError:
                failure = Reason.RULE_ERROR
        return self._build(view, failure, since, continuous)

    def _build(self, view: View, failure: Reason | None, since: int, continuous: int) -> Charge:
        customer, dimension = self.customer.resolve(view), self.dimension.resolve(view)
        texts = ((key, source.resolve(view)) for key, source in self.metadata)
        failure = failure or self._failure(view.context, customer, dimension)
        return Charge(
            rule=self.name,
            customer=customer,
            dimension=dimension,
            metadata=tuple((key, text) for key, text in texts if text is not None),
            track=self.track,
            factor=self.factor,
            since=since if self.active_from is None else self.active_from,
            active_from=self.active_from is not None,
            continuous_from_gen=continuous,
            gated=self.when is not None and self.when.stage == "point",
            allow_negative=self.allow_negative,
            explicit=self.explicit,
            failure=failure,
            ignore=self.ignore_missing and failure is Reason.MISSING_CUSTOMER,
            raw=self._raw(view.context, customer),
            value=self.value,
            literal=self.literal,
            identity=self.identity,
        )

    def _failure(self, context: Context, customer: str | None, dimension: str | None) -> Reason | None:
        if customer is None:
            return Reason.MISSING_CUSTOMER
        if dimension is None:
            return Reason.MISSING_DIMENSION
        return Reason.UNIT_MISMATCH if self.unit is not None and context.unit != self.unit else None

    def _raw(self, context: Context, customer: str | None) -> Reason | None:
        if self.log:
            selected = not isinstance(self.identity, LogIdentity)
            return (
                Reason.MISSING_IDENTITY_CUSTOMER if selected and customer is None and not self.ignore_missing else None
            )
        return None if _fits(self.track, context, allow_negative=self.allow_negative) else Reason.NEEDS_CONVERSION


def _fits(track: Track, context: Context, *, allow_negative: bool) -> bool:
    if track is not Track.NUMBER:
        return context.type in _COUNTED
    if context.type is not PointType.SUM:
        return False
    return context.monotonic or (allow_negative and context.temporality is not Temporality.CUMULATIVE)


def _all_hold(clauses: tuple[Clause, ...], view: View) -> bool:
    """
    Say whether all hold. A clause that is false decides, even beside one that cannot be read; else the unreadable raises.
    """
    unreadable: BadValueError | None = None
    for read, test in clauses:
        try:
            if not test(read(view)):
                return False
        except BadValueError as error:
            unreadable = error
    if unreadable is not None:
        raise unreadable
    return True
