"""
Metrics of Vector's native protocol, in all the forms that its versions have written.
"""

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Final

from meterline._proto.vector.vector_pb2 import Metric, TaggedEvent
from meterline.encodings.events import vector_metrics as otlp
from meterline.encodings.events.items import UNSUPPORTED_ITEM, ItemError, Point, wrong
from meterline.encodings.events.vector_metrics import Tally, VectorMetric
from meterline.encodings.otlp import MAX_TIME

_PER_SECOND: Final = 10**9


def point_of(event: bytes, metric: Metric) -> tuple[VectorMetric, Point]:
    """
    Return the point of a metric, which this event holds, and what is known of it beside.

    Raises ItemError: no OTLP point says the same.
    """
    common = otlp.vector_metric(
        metric.name,
        incremental=metric.kind == Metric.Incremental,
        time=_time(metric),
        interval_ms=metric.interval_ms,
        namespace=metric.namespace,
        tags=_tags(event),
    )
    make = _MAKERS.get(metric.WhichOneof("value") or "")
    if make is None:
        raise ItemError(UNSUPPORTED_ITEM, "a metric whose value is a set, or of a kind that is not known")
    return common, make(common, metric)


def _time(metric: Metric) -> int:
    if not metric.HasField("timestamp"):
        return 0
    time = metric.timestamp.seconds * _PER_SECOND + metric.timestamp.nanos
    if not 0 <= time <= MAX_TIME or not 0 <= metric.timestamp.nanos < _PER_SECOND:
        raise wrong("its time is before 1970 or after 2554, or its nanoseconds are more than a second")
    return time


def _tags(event: bytes) -> dict[str, Any]:
    """
    Return the tags in order. ``tags_v2`` has all values of each, ``tags_v1`` what versions before 0.26 understand.
    """
    found = TaggedEvent.FromString(event).metric
    tags = dict(map(_tag_v1, found.tags_v1))
    tags.update(map(_tag_v2, found.tags_v2))
    return dict(sorted(tags.items()))


def _tag_v1(entry: bytes) -> tuple[str, Any]:
    return _cached_v1(entry) if len(entry) <= _CACHED_SIZE else _read_v1(entry)


def _tag_v2(entry: bytes) -> tuple[str, Any]:
    return _cached_v2(entry) if len(entry) <= _CACHED_SIZE else _read_v2(entry)


def _read_v1(entry: bytes) -> tuple[str, Any]:
    tag = Metric.TagsV1Entry.FromString(entry)
    return tag.key, tag.value


def _read_v2(entry: bytes) -> tuple[str, Any]:
    tag = Metric.TagsV2Entry.FromString(entry)
    values = tuple(item.value if item.HasField("value") else None for item in tag.value.values)
    return tag.key, values[0] if len(values) == 1 else values


_CACHED_SIZE: Final = 256
_cached_v1 = lru_cache(maxsize=8192)(_read_v1)
_cached_v2 = lru_cache(maxsize=8192)(_read_v2)
"""Senders say the same tags again and again, and to read maps and messages costs five times as much."""


def _counter(common: VectorMetric, metric: Metric) -> Point:
    return otlp.counter_of(common, metric.counter.value)


def _gauge(common: VectorMetric, metric: Metric) -> Point:
    return otlp.gauge_of(common, metric.gauge.value)


def _distribution1(common: VectorMetric, metric: Metric) -> Point:
    found = metric.distribution1
    if len(found.values) != len(found.sample_rates):
        raise wrong("it has not as many sample rates as values")
    samples = zip(found.values, found.sample_rates, strict=True)
    return otlp.histogram_of(common, otlp.tally_of_samples(samples))


def _distribution2(common: VectorMetric, metric: Metric) -> Point:
    samples = ((sample.value, sample.rate) for sample in metric.distribution2.samples)
    return otlp.histogram_of(common, otlp.tally_of_samples(samples))


def _histogram1(common: VectorMetric, metric: Metric) -> Point:
    found = metric.aggregated_histogram1
    if len(found.buckets) != len(found.counts):
        raise wrong("it has not as many counts as buckets")
    buckets = list(zip(found.buckets, found.counts, strict=True))
    return otlp.histogram_of(common, otlp.tally_of_buckets(buckets, found.count, found.sum))


def _histogram(field: str) -> Callable[[VectorMetric, Metric], Point]:
    def make(common: VectorMetric, metric: Metric) -> Point:
        found = getattr(metric, field)
        buckets = [(bucket.upper_limit, bucket.count) for bucket in found.buckets]
        return otlp.histogram_of(common, otlp.tally_of_buckets(buckets, found.count, found.sum))

    return make


def _summary1(common: VectorMetric, metric: Metric) -> Point:
    found = metric.aggregated_summary1
    if len(found.quantiles) != len(found.values):
        raise wrong("it has not as many values as quantiles")
    pairs = zip(found.quantiles, found.values, strict=True)
    return otlp.summary_of(common, found.count, found.sum, pairs)


def _summary(field: str) -> Callable[[VectorMetric, Metric], Point]:
    def make(common: VectorMetric, metric: Metric) -> Point:
        found = getattr(metric, field)
        pairs = ((at.quantile, at.value) for at in found.quantiles)
        return otlp.summary_of(common, found.count, found.sum, pairs)

    return make


def _sketch(common: VectorMetric, metric: Metric) -> Point:
    if not metric.sketch.HasField("agent_dd_sketch"):
        raise ItemError(UNSUPPORTED_ITEM, "a sketch of a kind that is not known")
    found = metric.sketch.agent_dd_sketch
    return otlp.histogram_of(common, Tally(found.count, found.sum))


_MAKERS: Final[Mapping[str, Callable[[VectorMetric, Metric], Point]]] = {
    "counter": _counter,
    "gauge": _gauge,
    "distribution1": _distribution1,
    "distribution2": _distribution2,
    "aggregated_histogram1": _histogram1,
    "aggregated_histogram2": _histogram("aggregated_histogram2"),
    "aggregated_histogram3": _histogram("aggregated_histogram3"),
    "aggregated_summary1": _summary1,
    "aggregated_summary2": _summary("aggregated_summary2"),
    "aggregated_summary3": _summary("aggregated_summary3"),
    "sketch": _sketch,
}
