"""
Histograms, summaries, distributions and sketches, in the forms of every version.
"""

import math
from collections.abc import Callable

import pytest

from meterline._proto.vector.vector_pb2 import Metric, PushEventsRequest
from meterline.testing.vector_events import made, metrics, rejects, with_metric


def histogram1(metric: Metric) -> None:
    """
    Fill in the oldest form.
    """
    found = metric.aggregated_histogram1
    found.buckets.extend([1.0, 2.0])
    found.counts.extend([2, 3])
    found.count, found.sum = 6, 9.5


def histogram2(metric: Metric) -> None:
    """
    Fill in the second form.
    """
    found = metric.aggregated_histogram2
    found.buckets.add(upper_limit=1.0, count=2)
    found.buckets.add(upper_limit=2.0, count=3)
    found.count, found.sum = 6, 9.5


def histogram3(metric: Metric) -> None:
    """
    Fill in the form of today.
    """
    found = metric.aggregated_histogram3
    found.buckets.add(upper_limit=1.0, count=2)
    found.buckets.add(upper_limit=2.0, count=3)
    found.buckets.add(upper_limit=math.inf, count=1)
    found.count, found.sum = 6, 9.5


@pytest.mark.parametrize("fill", [histogram1, histogram2, histogram3])
def test_histograms_of_every_version(fill: Callable[[Metric], None]) -> None:
    """
    Buckets with their upper limits, the last one written or not, are the same histogram.
    """
    request = PushEventsRequest()
    fill(with_metric(request, kind=Metric.Absolute))
    (metric,) = metrics(made(request))
    (point,) = metric.histogram.data_points

    assert metric.histogram.aggregation_temporality == 2
    assert (point.count, point.sum) == (6, 9.5)
    assert (list(point.bucket_counts), list(point.explicit_bounds)) == ([2, 3, 1], [1.0, 2.0])


def test_summaries_of_every_version() -> None:
    """
    Absolute ones are summaries; an incremental one is set aside, since OTLP has none.
    """
    request = PushEventsRequest()
    one = with_metric(request, kind=Metric.Absolute).aggregated_summary1
    one.quantiles.append(0.5)
    one.values.append(3.0)
    two = with_metric(request, kind=Metric.Absolute).aggregated_summary2
    three = with_metric(request, kind=Metric.Absolute).aggregated_summary3
    for found in (two, three):
        found.quantiles.add(quantile=0.5, value=3.0)
    for found in (one, two, three):
        found.count, found.sum = 2, 5.5
    with_metric(request).aggregated_summary3.count = 1
    bodies = made(request)

    for metric in metrics(bodies):
        (point,) = metric.summary.data_points
        assert (point.count, point.sum, point.quantile_values[0].value) == (2, 5.5, 3.0)
    assert len(metrics(bodies)) == 3
    assert [reason for reason, _ in rejects(bodies)] == ["unsupported_item"]


def test_distributions_and_sketches_have_count_and_sum() -> None:
    """
    Their samples add up exactly; how they were spread is not kept.
    """
    request = PushEventsRequest()
    one = with_metric(request).distribution1
    one.values.extend([0.1, 0.2])
    one.sample_rates.extend([1, 2])
    two = with_metric(request).distribution2
    two.samples.add(value=0.1, rate=1)
    two.samples.add(value=0.2, rate=2)
    sketch = with_metric(request).sketch.agent_dd_sketch
    sketch.count, sketch.sum = 3, 0.5

    found = [metric.histogram.data_points[0] for metric in metrics(made(request))]
    assert [(point.count, point.sum) for point in found] == [(3, 0.5)] * 3


@pytest.mark.parametrize("field", ["distribution1", "aggregated_histogram1", "aggregated_summary1"])
def test_lists_of_different_lengths_are_set_aside(field: str) -> None:
    """
    The oldest forms had two lists; when they do not fit together nobody knows what was meant.
    """
    request = PushEventsRequest()
    found = getattr(with_metric(request, kind=Metric.Absolute), field)
    (found.quantiles if field.endswith("summary1") else found.values if field[0] == "d" else found.buckets).append(1.0)

    assert [reason for reason, _ in rejects(made(request))] == ["undecodable_item"]
