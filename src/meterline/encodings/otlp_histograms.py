"""
Writing OTLP histograms and summaries (opentelemetry-proto 1.11), beside ``encodings.otlp``.
"""

import struct
from collections.abc import Iterable, Sequence

from meterline.encodings.otlp import metric, own_identity
from meterline.protobuf.write import double, fixed64, length_delimited, number


def histogram(name: str, point: bytes, *, temporality: int, unit: str = "") -> bytes:
    """
    Return a Metric with a Histogram of one point; ``temporality`` is DELTA or CUMULATIVE.
    """
    return metric(name, unit, 9, length_delimited(1, point) + number(2, temporality))


def histogram_point(
    *,
    time: int,
    count: int,
    total: float | None,
    start: int = 0,
    buckets: Sequence[int] = (),
    bounds: Sequence[float] = (),
    attributes: bytes = b"",
    point_id: bytes = b"",
) -> bytes:
    """
    Return a HistogramDataPoint. ``total``: its sum, None when it is not known. Counts fit into 64 bits.

    ``attributes``: made by ``key_values(9, ...)``. ``point_id``: see ``encodings.otlp.number_point``.
    """
    parts = [attributes, fixed64(2, start) if start else b"", fixed64(3, time), fixed64(4, count)]
    if total is not None:
        parts.append(double(5, total))
    if buckets:
        parts.append(length_delimited(6, struct.pack(f"<{len(buckets)}Q", *buckets)))
    if bounds:
        parts.append(length_delimited(7, struct.pack(f"<{len(bounds)}d", *bounds)))
    if point_id:
        parts.append(own_identity(9, point_id))
    return b"".join(parts)


def summary(name: str, point: bytes, *, unit: str = "") -> bytes:
    """
    Return a Metric with a Summary of one point; its count and sum are cumulative.
    """
    return metric(name, unit, 11, length_delimited(1, point))


def summary_point(
    *,
    time: int,
    count: int,
    total: float,
    quantiles: Iterable[tuple[float, float]] = (),
    start: int = 0,
    attributes: bytes = b"",
) -> bytes:
    """
    Return a SummaryDataPoint. ``quantiles``: pairs of quantile and value. ``attributes``: made by ``key_values(7, ...)``.
    """
    values = b"".join(length_delimited(6, double(1, at) + double(2, value)) for at, value in quantiles)
    parts = (attributes, fixed64(2, start) if start else b"", fixed64(3, time), fixed64(4, count), double(5, total))
    return b"".join(parts) + values
