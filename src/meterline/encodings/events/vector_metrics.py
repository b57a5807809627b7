"""
Vector's metrics as OTLP, the way Vector's own OTLP encoder does it, whatever protocol they came by.

A counter's ``timestamp`` is the start of what it counted and ``interval_ms`` its length, so its window is (timestamp,
timestamp + interval]; without an interval it is a delta without start. Absolute ones are cumulative without start.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Context, Decimal, Inexact, InvalidOperation, Overflow, Subnormal
from typing import Any, Final, NamedTuple, TypeAlias

from meterline.encodings.events.items import UNSUPPORTED_ITEM, ItemError, Origin, wrong
from meterline.encodings.otlp import CUMULATIVE, DELTA, INT64, MAX_TIME, counter, gauge, key_values, number_point
from meterline.encodings.otlp_histograms import histogram, histogram_point, summary, summary_point

Number: TypeAlias = int | float | Decimal

_UINT64: Final = range(2**64)
_NS_PER_MS: Final = 10**6
_INFINITY: Final = float("inf")
_EXACT: Final = Context(prec=1000, traps=[Inexact, InvalidOperation, Overflow, Subnormal])
"""Any sum of doubles fits; what is beyond them is an error, never a rounded number."""


class VectorMetric(NamedTuple):
    """
    What all metrics of Vector have. ``time``: ns, 0 = none; ``interval_ms``: 0 = none; tags: text, None or several of them.
    """

    name: str
    incremental: bool
    time: int = 0
    interval_ms: int = 0
    namespace: str = ""
    tags: Mapping[str, Any] = {}

    @property
    def full_name(self) -> str:
        """
        Return the name with its namespace.
        """
        return f"{self.namespace}.{self.name}" if self.namespace else self.name

    @property
    def window(self) -> tuple[int, int]:
        """
        Return start (0: not known) and time of what an incremental one counted. Raises ItemError: beyond all times.
        """
        if not self.incremental or not self.time or not self.interval_ms:
            return 0, self.time
        end = self.time + self.interval_ms * _NS_PER_MS
        if end > MAX_TIME:
            raise wrong("its interval ends beyond all times")
        return self.time, end


@dataclass(frozen=True, slots=True)
class Tally:
    """
    A histogram: count, exact sum (None: not known), counts per bucket, and the buckets' upper bounds but for the last.
    """

    count: int
    total: Number | None
    buckets: Sequence[int] = ()
    bounds: Sequence[float] = ()


def counter_of(metric: VectorMetric, value: Number, point_id: bytes = b"") -> bytes:
    """
    Return a counter's Metric. Raises ItemError as all of these do: no OTLP point holds it exactly.
    """
    start, time = metric.window
    point = number_point(_reading(value), time=time, start=start, attributes=_tags(metric, 7), point_id=point_id)
    temporality = DELTA if metric.incremental else CUMULATIVE
    return counter(metric.full_name, [point], temporality=temporality, monotonic=not (metric.incremental and value < 0))


def gauge_of(metric: VectorMetric, value: Number, point_id: bytes = b"") -> bytes:
    """
    Return a gauge's Metric; an incremental one is a delta that may be negative.
    """
    start, time = metric.window
    point = number_point(_reading(value), time=time, start=start, attributes=_tags(metric, 7), point_id=point_id)
    if metric.incremental:
        return counter(metric.full_name, [point], temporality=DELTA, monotonic=False)
    return gauge(metric.full_name, [point])


def histogram_of(metric: VectorMetric, tally: Tally, point_id: bytes = b"") -> bytes:
    """
    Return the Metric of a histogram, a distribution or a sketch. A sum that no double holds exactly is left out.
    """
    start, time = metric.window
    if tally.count not in _UINT64 or any(count not in _UINT64 for count in tally.buckets):
        raise wrong("a count is negative or has more than 64 bits")
    point = histogram_point(
        time=time,
        start=start,
        count=tally.count,
        total=None if tally.total is None else exact_double(tally.total),
        buckets=tally.buckets,
        bounds=tally.bounds,
        attributes=_tags(metric, 9),
        point_id=point_id,
    )
    return histogram(metric.full_name, point, temporality=DELTA if metric.incremental else CUMULATIVE)


def summary_of(metric: VectorMetric, count: int, total: Number, quantiles: Iterable[tuple[Number, Number]]) -> bytes:
    """
    Return a summary's Metric; OTLP knows cumulative ones only.
    """
    exact = exact_double(total)
    if metric.incremental or exact is None:
        raise ItemError(UNSUPPORTED_ITEM, "OTLP has no incremental summary, and none whose sum is no double")
    if count not in _UINT64:
        raise wrong("a count is negative or has more than 64 bits")
    shown = [(float(at), float(value)) for at, value in quantiles]
    point = summary_point(time=metric.time, count=count, total=exact, quantiles=shown, attributes=_tags(metric, 7))
    return summary(metric.full_name, point)


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


def origin_of(metric: VectorMetric) -> Origin:
    """
    Return where it is from: tags ``resource.*``, ``scope.name``, ``scope.version`` and ``scope.*``.
    """
    tags = {key: _tag(value) for key, value in metric.tags.items()}
    scope = _below(tags, "scope.")
    name, version = (_text(scope.pop(key, None)) for key in ("name", "version"))
    return Origin(_below(tags, "resource."), name, version, scope)


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


def _tags(metric: VectorMetric, field: int) -> bytes:
    own = {key: value for key, value in metric.tags.items() if not key.startswith(("resource.", "scope."))}
    return key_values(field, {key: _tag(value) for key, value in own.items()})


def _tag(value: Any) -> Any:
    """
    Return a list of one as that one, so that a tag is the same however Vector is set to write tags.
    """
    return value[0] if isinstance(value, list | tuple) and len(value) == 1 else value


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _below(tags: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    return {key.removeprefix(prefix): value for key, value in tags.items() if key.startswith(prefix)}
