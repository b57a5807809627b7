"""
Native histograms as the two series of a classic one that can be billed.
"""

from typing import Any

import pytest

from meterline.encodings.prometheus import Verdict
from meterline.encodings.prometheus_series import Shape
from meterline.testing.remote_write import (
    STALE_BITS,
    Written,
    double,
    histogram,
    varint,
)

MS = 1_795_346_017_935
NS = MS * 1_000_000


def attributes(point: Any) -> dict[str, str]:
    """
    Return the attributes of a point.
    """
    return {pair.key: pair.value.string_value for pair in point.attributes}


def test_a_native_histogram_is_count_and_sum_of_a_classic_one(read: Any) -> None:
    """
    The streams are those that the same histogram would have as a classic one; one that may fall is a gauge.
    """
    asked: list[Shape] = []

    def choose(shape: Shape) -> Verdict:
        asked.append(shape)
        return Verdict("counter")

    labels = {"__name__": "d_seconds", "customer": "acme"}
    found = read([Written(labels, histograms=[histogram(4, 2.5, MS), histogram(3, 1.5, MS + 1, hint=3)])], choose)

    assert [(point.as_int, point.time_unix_nano) for point in found.points("d_seconds_count")] == [
        (4, NS),
        (3, NS + 1_000_000),
    ]
    assert [point.as_double for point in found.points("d_seconds_sum")] == [2.5, 1.5]
    assert {attributes(point)["customer"] for point in found.points("d_seconds_sum")} == {"acme"}
    assert [(shape.name, shape.metric_type) for shape in asked] == [
        ("d_seconds_count", 3),
        ("d_seconds_sum", 3),
        ("d_seconds_count", 4),
        ("d_seconds_sum", 4),
    ]
    assert (found.made.samples, found.made.histograms) == (0, 2)


@pytest.mark.parametrize(
    ("hint", "metric_type"), [(0, 3), (1, 3), (2, 3), (3, 4)], ids=["unknown", "yes", "no", "gauge"]
)
def test_only_the_hint_gauge_makes_a_gauge(read: Any, hint: int, metric_type: int) -> None:
    """
    The other hints say whether it began again, which the count shows.
    """
    asked: list[int] = []

    def choose(shape: Shape) -> Verdict:
        asked.append(shape.metric_type)
        return Verdict("counter")

    read([Written({"__name__": "d"}, histograms=[histogram(4, 2.5, MS, hint=hint)])], choose)

    assert asked == [metric_type] * 2


@pytest.mark.parametrize("stale", [histogram(0, STALE_BITS, MS), double(3, STALE_BITS) + varint(15 << 3) + varint(MS)])
def test_a_stale_native_histogram_ends_both_series(read: Any, stale: bytes) -> None:
    """
    Its sum carries the marker; whether it has a count says nothing.
    """
    found = read([Written({"__name__": "d"}, histograms=[stale])])

    assert [
        (point.flags, point.WhichOneof("value")) for metric in found.metrics for point in metric.sum.data_points
    ] == [
        (1, None),
        (1, None),
    ]


def test_counts_of_native_histograms_that_are_no_int64(read: Any) -> None:
    """
    A float histogram's count is a double; so is one beyond 63 bits, which no point could hold as it is.
    """
    tail = double(3, 2.5) + varint(15 << 3) + varint(MS)
    counts = (histogram(2**63 - 1, 2.5, MS), histogram(2**63, 2.5, MS), double(2, 4.5) + tail)

    points = read([Written({"__name__": "d"}, histograms=counts)]).points("d_count")

    assert [point.WhichOneof("value") for point in points] == ["as_int", "as_double", "as_double"]
    assert [points[0].as_int, points[1].as_double, points[2].as_double] == [2**63 - 1, float(2**63), 4.5]


def test_a_native_histogram_without_count_is_rejected(read: Any) -> None:
    """
    Counting it as 0 would look like a reset.
    """
    found = read([Written({"__name__": "d"}, histograms=[varint(15 << 3) + varint(MS)])])

    assert found.rejects == [
        (
            "undecodable_item",
            {"labels": [["__name__", "d"]], "samples": [{"timestamp": MS, "count": "", "sum": "0.0"}]},
        )
    ]
    assert found.made.histograms == 1
