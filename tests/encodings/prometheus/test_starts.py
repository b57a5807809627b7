"""
Start timestamps of both forms: readings of zero, and what is made of those that are made up or ahead.
"""

import struct
from typing import Any

import pytest

from meterline.encodings.prometheus import MAX_AHEAD_MS, OLDEST_START_MS, Verdict, transcode
from meterline.encodings.prometheus_read import read_v2
from meterline.encodings.prometheus_series import SeriesReader
from meterline.testing.remote_write import (
    Written,
    histogram,
    request_v2,
    sample,
)

MS = 1_795_346_017_935
NS = MS * 1_000_000
LABELS = {"__name__": "calls_total", "customer": "acme"}


COUNTER = Verdict("counter")


def _transcoded(body: bytes, verdict: Verdict = COUNTER) -> Any:
    return transcode(read_v2(body, SeriesReader(None)), "", lambda _: verdict)


@pytest.mark.parametrize("where", ["sample", "series"])
def test_a_start_is_a_reading_of_zero_just_after_it(where: str, back: Any) -> None:
    """
    The start of each sample (2.0) or of the series (before 2.0-rc.4): a counter that is new counts from its beginning.
    """
    start = MS - 5_000
    of_sample, of_series = (start, 0) if where == "sample" else (0, start)
    body = request_v2(
        [Written(LABELS, [sample(7.0, MS, of_sample), sample(9.0, MS + 10, of_sample)], created=of_series)]
    )

    points = back(_transcoded(body)).points("calls_total")

    zero = (start * 1_000_000 + 1, 0.0)
    assert [(point.time_unix_nano, point.as_double) for point in points] == [
        zero,
        (NS, 7.0),
        zero,
        (NS + 10_000_000, 9.0),
    ]
    assert all(point.start_time_unix_nano == 0 for point in points)


def test_the_start_of_a_sample_holds_against_the_series_one(back: Any) -> None:
    """
    It is the newer form, and closer to the value.
    """
    body = request_v2([Written(LABELS, [sample(7.0, MS, MS - 5), sample(9.0, MS + 10)], created=MS - 1_000)])

    points = back(_transcoded(body)).points("calls_total")

    zeros = [point.time_unix_nano for point in points if not point.as_double]
    assert zeros == [(MS - 5) * 1_000_000 + 1, (MS - 1_000) * 1_000_000 + 1]


def test_a_start_that_says_nothing_makes_no_reading(back: Any) -> None:
    """
    Negative, so long ago that the series is not new, or so far ahead that no clock is so wrong; and never of a gauge.
    """
    starts = [-1, MS - OLDEST_START_MS, MS + MAX_AHEAD_MS + 1]
    body = request_v2([Written(LABELS, [sample(7.0, MS, start) for start in starts])])
    gauge = request_v2([Written(LABELS, [sample(7.0, MS, MS + by) for by in (-5, 5)])])

    for made, count in ((_transcoded(body), len(starts)), (_transcoded(gauge, Verdict("gauge")), 2)):
        points = back(made).points("calls_total")
        assert [(point.time_unix_nano, point.as_double) for point in points] == [(NS, 7.0)] * count


@pytest.mark.parametrize("where", ["sample", "series"])
def test_a_sample_at_its_own_start_stands_behind_the_reading_of_zero(where: str, back: Any) -> None:
    """
    Such a start is made up: the counter has a value already, which the next sample must not bill from 0.
    """
    of_sample, of_series = (MS, 0) if where == "sample" else (0, MS)
    samples = [sample(7.0, MS, of_sample), sample(9.0, MS + 10, of_sample)]

    points = back(_transcoded(request_v2([Written(LABELS, samples, created=of_series)]))).points("calls_total")

    assert [(point.time_unix_nano, point.as_double) for point in points] == [
        (NS + 2, 7.0),
        (NS + 1, 0.0),
        (NS + 10_000_000, 9.0),
    ]


@pytest.mark.parametrize("ahead", [1, MAX_AHEAD_MS])
def test_a_sample_before_its_start_has_no_value(ahead: int, back: Any) -> None:
    """
    The target's clock is ahead of the server's: what it reads is in the total of the first sample after the start.
    """
    native = histogram(4, 2.5, MS, start=MS + ahead)
    body = request_v2([Written(LABELS, [sample(7.0, MS, MS + ahead)]), Written({"__name__": "d"}, histograms=[native])])

    found = back(_transcoded(body))

    points = [point for metric in found.metrics for point in metric.sum.data_points]
    assert [(point.time_unix_nano, point.flags, point.WhichOneof("value")) for point in points] == [(NS, 1, None)] * 3


def test_the_start_of_a_native_histogram_counts() -> None:
    """
    Both of its series begin at 0 there.
    """
    body = request_v2([Written({"__name__": "d"}, histograms=[histogram(4, 2.5, MS, start=MS - 9)])])

    data = _transcoded(body).bodies[0].data

    assert data.count(struct.pack("<Q", (MS - 9) * 1_000_000 + 1)) == 2
