"""
Metric events as Vector's JSON codec writes them.
"""

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, Final

from meterline.encodings.events import vector_metrics as otlp
from meterline.encodings.events.items import TOO_DEEP, UNSUPPORTED_ITEM, Collector, ItemError, Point, wrong
from meterline.encodings.events.vector_metrics import Number, Tally, VectorMetric, vector_metric
from meterline.encodings.times import TimestampFormat, nanoseconds
from meterline.errors import UndecodableError

_KINDS: Final = {"incremental": True, "absolute": False}
_CONSTANTS: Final = {"inf": float("inf"), "-inf": float("-inf"), "nan": float("nan")}


def value_of(event: Mapping[Any, Any]) -> str | None:
    """
    Return the key of an event's value; None when it is a log and no metric.
    """
    kind = event.get("kind")
    if not isinstance(kind, str) or kind not in _KINDS or not isinstance(event.get("name"), str):
        return None
    return next((key for key in _VALUES if isinstance(event.get(key), dict)), None)


def add_metric(collector: Collector, event: Mapping[Any, Any], key: str, time_format: TimestampFormat) -> None:
    """
    Add a metric event whose value is at this key. Raises ItemError.
    """
    metric = vector_metric(
        event["name"],
        incremental=_KINDS[event["kind"]],
        time=nanoseconds(event.get("timestamp"), time_format),
        interval_ms=_whole(event.get("interval_ms") or 0, "its interval"),
        namespace=_optional(event, "namespace", str) or "",
        tags=_optional(event, "tags", dict) or {},
    )
    try:
        point = _VALUES[key](metric, event[key])
        collector.point(metric.name, point, metric.origin)
    except UndecodableError as error:
        raise ItemError(TOO_DEEP, str(error)) from error


def _optional(event: Mapping[Any, Any], key: str, kind: type) -> Any:
    value = event.get(key)
    if value is not None and not isinstance(value, kind):
        raise wrong(f"its {key} is of another type")
    return value


def _number(value: Any, what: str) -> Number:
    if isinstance(value, str) and value.lower() in _CONSTANTS:
        return _CONSTANTS[value.lower()]
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        raise wrong(f"{what} is no number")
    return value


def _whole(value: Any, what: str) -> int:
    number = _number(value, what)
    if not 0 <= number < 2**64 or number != int(number):  # NaN is neither
        raise wrong(f"{what} is no whole number of 64 bits")
    return int(number)


def _list(value: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    found = value.get(key)
    if not isinstance(found, list) or not all(isinstance(item, Mapping) for item in found):
        raise wrong(f"its {key} are no list of objects")
    return found


def _counter(metric: VectorMetric, value: Mapping[str, Any]) -> Point:
    return otlp.counter_of(metric, _number(value.get("value"), "its value"))


def _gauge(metric: VectorMetric, value: Mapping[str, Any]) -> Point:
    return otlp.gauge_of(metric, _number(value.get("value"), "its value"))


def _distribution(metric: VectorMetric, value: Mapping[str, Any]) -> Point:
    samples = _list(value, "samples")
    pairs = [(_number(s.get("value"), "a sample's value"), _whole(s.get("rate"), "a sample's rate")) for s in samples]
    return otlp.histogram_of(metric, otlp.tally_of_samples(pairs))


def _histogram(metric: VectorMetric, value: Mapping[str, Any]) -> Point:
    buckets = [
        (float(_number(bucket.get("upper_limit"), "a bucket's limit")), _whole(bucket.get("count"), "a bucket's count"))
        for bucket in _list(value, "buckets")
    ]
    count, total = _whole(value.get("count"), "its count"), _number(value.get("sum"), "its sum")
    return otlp.histogram_of(metric, otlp.tally_of_buckets(buckets, count, total))


def _summary(metric: VectorMetric, value: Mapping[str, Any]) -> Point:
    quantiles = [
        (_number(at.get("quantile"), "a quantile"), _number(at.get("value"), "a quantile's value"))
        for at in _list(value, "quantiles")
    ]
    count, total = _whole(value.get("count"), "its count"), _number(value.get("sum"), "its sum")
    return otlp.summary_of(metric, count, total, quantiles)


def _sketch(metric: VectorMetric, value: Mapping[str, Any]) -> Point:
    inner = value.get("sketch")
    found = inner.get("AgentDDSketch") if isinstance(inner, Mapping) else None
    if not isinstance(found, Mapping):
        raise ItemError(UNSUPPORTED_ITEM, "a sketch of a kind that is not known")
    count, total = _whole(found.get("count"), "its count"), _number(found.get("sum"), "its sum")
    return otlp.histogram_of(metric, Tally(count, total))


def _set(_: VectorMetric, __: Mapping[str, Any]) -> Point:
    raise ItemError(UNSUPPORTED_ITEM, "a set has no quantity that can be added up; count its values in Vector")


_VALUES: Final[Mapping[str, Callable[[VectorMetric, Mapping[str, Any]], Point]]] = {
    "counter": _counter,
    "gauge": _gauge,
    "set": _set,
    "distribution": _distribution,
    "aggregated_histogram": _histogram,
    "aggregated_summary": _summary,
    "sketch": _sketch,
}
