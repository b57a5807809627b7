"""
Counters, gauges and tags become points, exactly.
"""

import math
from collections.abc import Callable
from typing import Any

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from meterline._proto.vector.vector_pb2 import Metric, PushEventsRequest
from meterline.testing.transcoded import Transcoded
from meterline.testing.vector_events import NOW, attributes, made, metrics, rejects, with_metric


def test_a_counter_with_an_interval_has_a_window() -> None:
    """
    Its timestamp is the start of what it counted, and the interval its length.
    """
    request = PushEventsRequest()
    with_metric(request, namespace="app", interval_ms=10_000).counter.value = 2.5
    (metric,) = metrics(made(request))
    (point,) = metric.sum.data_points

    assert (metric.name, metric.unit, metric.sum.aggregation_temporality, metric.sum.is_monotonic) == (
        "app.calls",
        "",
        1,
        True,
    )
    assert (point.start_time_unix_nano, point.time_unix_nano, point.as_double) == (NOW, NOW + 10**10, 2.5)


def test_an_absolute_counter_is_cumulative_without_start() -> None:
    """
    Nobody knows since when it counts.
    """
    request = PushEventsRequest()
    with_metric(request, kind=Metric.Absolute, interval_ms=10_000).counter.value = 7
    (metric,) = metrics(made(request))
    (point,) = metric.sum.data_points

    assert (metric.sum.aggregation_temporality, metric.sum.is_monotonic) == (2, True)
    assert (point.start_time_unix_nano, point.time_unix_nano, point.as_double) == (0, NOW, 7)


def test_a_negative_increment_is_not_monotonic() -> None:
    """
    As Vector's own OTLP encoder has it; one of zero is of the same stream as those above it.
    """
    request = PushEventsRequest()
    for value in (-1, 0):
        with_metric(request).counter.value = value

    assert [metric.sum.is_monotonic for metric in metrics(made(request))] == [False, True]


def test_no_tag_takes_the_place_of_the_tenant() -> None:
    """
    The tenant was checked against the key; what an event says of itself is nothing beside it.
    """
    request = PushEventsRequest()
    with_metric(request, tags_v1={"resource.tenant.id": "other", "resource.a": "x"}).counter.value = 1
    with_metric(request, tags_v1={"resource.a": "x"}).counter.value = 1
    found = Transcoded(made(request, tenant="t1"))

    assert found.resources == [{"a": "x", "tenant.id": "t1"}] * 2
    assert len(found.whole) == 1


def test_gauges() -> None:
    """
    An absolute gauge is one; an incremental one is a delta that may be negative.
    """
    request = PushEventsRequest()
    with_metric(request, kind=Metric.Absolute).gauge.value = 1.5
    with_metric(request).gauge.value = -2
    first, second = metrics(made(request))

    assert first.gauge.data_points[0].as_double == 1.5
    assert (second.sum.aggregation_temporality, second.sum.is_monotonic) == (1, False)
    assert second.sum.data_points[0].as_double == -2


def test_tags_of_both_forms() -> None:
    """
    One value is a text, several are a list, a bare tag has none; the old form counts where the new one is silent.
    """
    request = PushEventsRequest()
    metric = with_metric(request, tags_v1={"old": "o", "one": "last"})
    metric.counter.value = 1
    metric.tags_v2["one"].values.add(value="1")
    metric.tags_v2["two"].values.add(value="a")
    metric.tags_v2["two"].values.add(value="b")
    metric.tags_v2["bare"].values.add()
    metric.tags_v2["resource.service.name"].values.add(value="shop")
    metric.tags_v2["scope.name"].values.add(value="lib")
    bodies = made(request, tenant="t1")
    (point,) = metrics(bodies)[0].sum.data_points

    assert attributes(point) == {"bare": None, "old": "o", "one": "1", "two": ["a", "b"]}
    (resource,) = ExportMetricsServiceRequest.FromString(bodies[0].data).resource_metrics
    assert attributes(resource.resource) == {"service.name": "shop", "tenant.id": "t1"}
    assert resource.scope_metrics[0].scope.name == "lib"


def test_a_metric_without_time_has_none() -> None:
    """
    The kernel says what becomes of it.
    """
    request = PushEventsRequest()
    request.events.add().metric.MergeFrom(Metric(name="calls"))
    request.events[0].metric.counter.value = 1

    assert metrics(made(request))[0].sum.data_points[0].time_unix_nano == 0


def test_numbers_that_are_none_reach_the_kernel() -> None:
    """
    NaN and infinities are for the kernel to set aside, with the stream they are of.
    """
    request = PushEventsRequest()
    with_metric(request).counter.value = math.nan

    assert math.isnan(metrics(made(request))[0].sum.data_points[0].as_double)


@pytest.mark.parametrize("time", [(-1, 0), (2**40, 0), (1, -1), (1, 10**9)], ids=repr)
def test_impossible_times_are_set_aside(time: tuple[int, int]) -> None:
    """
    A metric's time that no point can have, or a nanosecond beyond its second, is a reject, never a wrong time.
    """
    request = PushEventsRequest()
    metric = with_metric(request)
    metric.counter.value = 1
    metric.timestamp.seconds, metric.timestamp.nanos = time

    assert [reason for reason, _ in rejects(made(request))] == ["undecodable_item"]


@pytest.mark.parametrize(
    "fill",
    [
        lambda metric: metric.set.values.append("bob"),
        lambda metric: metric.sketch.SetInParent(),
        lambda _: None,
    ],
    ids=["set", "sketch without content", "no value"],
)
def test_what_no_point_can_say_is_set_aside(fill: Callable[[Metric], Any]) -> None:
    """
    Sets, and values that are not known, are rejects with their bytes; their neighbours are points.
    """
    request = PushEventsRequest()
    with_metric(request).counter.value = 1
    fill(with_metric(request))
    bodies = made(request)

    assert len(metrics(bodies)) == 1
    assert rejects(bodies) == [("unsupported_item", request.events[1].SerializeToString())]
