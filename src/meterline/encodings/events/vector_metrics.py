"""
Vector's metrics as OTLP, the way Vector's own OTLP encoder does it, whatever protocol they came by.

A counter's ``timestamp`` is the start of what it counted and ``interval_ms`` its length, so its window is (timestamp,
timestamp + interval]; without an interval it is a delta without start. Absolute ones are cumulative without start.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Context, Decimal, Inexact, InvalidOperation, Overflow, Subnormal
from typing import Any, Final, NamedTuple, TypeAlias

from meterline.encodings.events.items import NOWHERE, UNSUPPORTED_ITEM, Family, ItemError, Origin, Point, wrong
from meterline.encodings.otlp import CUMULATIVE, DELTA, INT64, MAX_TIME, key_values, number_point
from meterline.encodings.otlp_histograms import histogram_point, summary_point
from meterline.protobuf.write import number

Number: TypeAlias = int | float | Decimal

_UINT64: Final = range(2**64)
_NS_PER_MS: Final = 10**6
_INFINITY: Final = float("inf")
_EXACT: Final = Context(prec=1000, traps=[Inexact, InvalidOperation, Overflow, Subnormal])
"""Any sum of doubles fits; what is beyond them is an error, never a rounded number."""

_ELSEWHERE: Final = ("resource.", "scope.")
_MONOTONIC: Final = number(3, 1)
_INCREMENTS: Final = Family(7, number(2, DELTA) + _MONOTONIC)
_CHANGES: Final = Family(7, number(2, DELTA))
_READINGS: Final = Family(7, number(2, CUMULATIVE) + _MONOTONIC)
_GAUGE: Final = Family(5)
_HISTOGRAMS: Final = {True: Family(9, number(2, DELTA)), False: Family(9, number(2, CUMULATIVE))}
_SUMMARY: Final = Family(11)


class VectorMetric(NamedTuple):
    """
    What all metrics of Vector have. ``name``: with its namespace; ``time``: ns, 0 = none; ``start``: 0 = not known.

    ``tags``: those that are the point's own: text, None or several of them.
    """

    name: str
    incremental: bool
    time: int = 0
    start: int = 0
    tags: Mapping[str, Any] = {}
    origin: Origin = NOWHERE

    @property
    def instant(self) -> bool:
        """
        Say whether it is an increment that covers no time, so that nothing tells it from its repeat but an identity.
        """
        return self.incremental and not self.start


def vector_metric(
    name: str, *, namespace: str, incremental: bool, time: int, interval_ms: int, tags: Mapping[str, Any]
) -> VectorMetric:
    """
    Return what a metric's fields say. ``interval_ms``: 0 = none. Raises ItemError: it ends beyond all times.
    """
    start = 0
    if incremental and time and interval_ms:
        start, time = time, time + interval_ms * _NS_PER_MS
        if time > MAX_TIME:
            raise wrong("its interval ends beyond all times")
    own: dict[str, Any] = {}
    elsewhere: dict[str, Any] = {}
    for key, value in tags.items():
        (elsewhere if key.startswith(_ELSEWHERE) else own)[key] = _tag(value)
    origin = _origin(elsewhere) if elsewhere else NOWHERE
    return VectorMetric(f"{namespace}.{name}" if namespace else name, incremental, time, start, own, origin)


@dataclass(frozen=True, slots=True)
class Tally:
    """
    A histogram: count, exact sum (None: not known), counts per bucket, and the buckets' upper bounds but for the last.
    """

    count: int
    total: Number | None
    buckets: Sequence[int] = ()
    bounds: Sequence[float] = ()


def counter_of(metric: VectorMetric, value: Number) -> Point:
    """
    Return a counter's point. Raises ItemError as all of these do: no OTLP point holds it exactly.
    """
    if not metric.incremental:
        return _number(metric, value, _READINGS)
    return _number(metric, value, _CHANGES if value < 0 else _INCREMENTS)


def gauge_of(metric: VectorMetric, value: Number) -> Point:
    """
    Return a gauge's point; an incremental one is a delta that may be negative.
    """
    return _number(metric, value, _CHANGES if metric.incremental else _GAUGE)


def _number(metric: VectorMetric, value: Number, family: Family) -> Point:
    attributes = key_values(7, metric.tags)
    return Point(family, number_point(_reading(value), time=metric.time, start=metric.start, attributes=attributes))


def histogram_of(metric: VectorMetric, tally: Tally) -> Point:
    """
    Return the point of a histogram, a distribution or a sketch. A sum that no double holds exactly is left out.
    """
    if tally.count not in _UINT64 or any(count not in _UINT64 for count in tally.buckets):
        raise wrong("a count is negative or has more than 64 bits")
    point = histogram_point(
        time=metric.time,
        start=metric.start,
        count=tally.count,
        total=None if tally.total is None else exact_double(tally.total),
        buckets=tally.buckets,
        bounds=tally.bounds,
        attributes=key_values(9, metric.tags),
    )
    return Point(_HISTOGRAMS[metric.incremental], point)


def summary_of(metric: VectorMetric, count: int, total: Number, quantiles: Iterable[tuple[Number, Number]]) -> Point:
    """
    Return a summary's point; OTLP knows cumulative ones only.
    """
    exact = exact_double(total)
    if metric.incremental or exact is None:
        raise ItemError(UNSUPPORTED_ITEM, "OTLP has no incremental summary, and none whose sum is no double")
    if count not in _UINT64:
        raise wrong("a count is negative or has more than 64 bits")
    shown = [(float(at), float(value)) for at, value in quantiles]
    attributes = key_values(7, metric.tags)
    return Point(
        _SUMMARY, summary_point(time=metric.time, count=count, total=exact, quantiles=shown, attributes=attributes)
    )


def tally_of_samples(samples: Iterable[tuple[Number, int]]) -> Tally:
    """
    Return count and exact sum of a distribution's samples, pairs of value and rate.
    """
    count, total = 0, Decimal(0)
    exact: Number | None = 0
    for value, rate in samples:
        count += rate
        try:
            total = _EXACT.add(total, _EXACT.multiply(_decimal(value), Decimal(rate)))
        except ArithmeticError:
            exact = None
    return Tally(count, total if exact is not None else None)


def tally_of_buckets(buckets: Sequence[tuple[float, int]], count: int, total: Number) -> Tally:
    """
    Return a histogram of buckets that each have their upper limit, the last one's infinity or left out.
    """
    *finite, last = [*buckets] or [(_INFINITY, count)]
    if last[0] != _INFINITY:
        finite, last = [*buckets], (_INFINITY, max(0, count - sum(n for _, n in buckets)))
    return Tally(count, total, [*(n for _, n in finite), last[1]], [limit for limit, _ in finite])


def exact_double(value: Number) -> float | None:
    """
    Return the double whose shortest form is this number; None when there is none. NaN and infinities are themselves.
    """
    if isinstance(value, float):
        return value
    try:
        nearest = float(value)
    except OverflowError:
        return None
    return nearest if nearest - nearest == 0 and Decimal(repr(nearest)) == value else None


def _reading(value: Number) -> int | float:
    if isinstance(value, int) and value in INT64:
        return value
    reading = exact_double(value)
    if reading is None:
        raise ItemError(UNSUPPORTED_ITEM, "no double and no 64-bit integer holds its value exactly")
    return reading


def _decimal(value: Number) -> Decimal:
    return Decimal(repr(value)) if isinstance(value, float) else Decimal(value)


def _tag(value: Any) -> Any:
    """
    Return a list of one as that one, so that a tag is the same however Vector is set to write tags.
    """
    return value[0] if isinstance(value, list | tuple) and len(value) == 1 else value


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _origin(tags: Mapping[str, Any]) -> Origin:
    """
    Return where a metric is from: tags ``resource.*``, ``scope.name``, ``scope.version`` and ``scope.*``.

    In the order of their names, so that all points of a stream are in one metric however their tags are ordered.
    """
    scope = _below(tags, "scope.")
    name, version = (_text(scope.pop(key, None)) for key in ("name", "version"))
    return Origin(_below(tags, "resource."), name, version, scope)


def _below(tags: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    return {key.removeprefix(prefix): tags[key] for key in sorted(tags) if key.startswith(prefix)}
