"""
Remote write as transcoded metrics: identities, bits, starts, what cannot be a point; both versions of the protocol.
"""

import struct
from typing import Any

import pytest
from opentelemetry.proto.metrics.v1.metrics_pb2 import AggregationTemporality

from meterline.api import TooLargeError
from meterline.encodings.prometheus import Verdict, transcode
from meterline.encodings.prometheus_read import read_v1
from meterline.encodings.prometheus_series import SeriesReader, Shape
from meterline.testing.remote_write import (
    NAN_BITS,
    STALE_BITS,
    Written,
    histogram,
    request_v1,
    sample,
)

MS = 1_795_346_017_935
NS = MS * 1_000_000
LABELS = {"__name__": "calls_total", "customer": "acme", "instance": "h:1", "job": "api"}


def attributes(point: Any) -> dict[str, str]:
    """
    Return the attributes of a point.
    """
    return {pair.key: pair.value.string_value for pair in point.attributes}


def test_a_series_is_a_cumulative_monotonic_sum_by_its_labels(read: Any) -> None:
    """
    Name, unit, temporality and attributes are the identity of the series; the name is no attribute, the cluster is one.
    """
    found = read([Written({**LABELS, "cluster": "eu"}, [sample(3.0, MS)])], tenant="t1")

    (metric,) = found.metrics
    (point,) = metric.sum.data_points
    assert (metric.name, metric.unit) == ("calls_total", "")
    assert metric.sum.is_monotonic
    assert metric.sum.aggregation_temporality == AggregationTemporality.AGGREGATION_TEMPORALITY_CUMULATIVE
    assert attributes(point) == {"customer": "acme", "instance": "h:1", "job": "api", "cluster": "eu"}
    assert (point.time_unix_nano, point.start_time_unix_nano, point.as_double) == (NS, 0, 3.0)
    assert found.resource == {"tenant.id": "t1"}
    assert (found.made.samples, found.made.histograms, found.made.dropped) == (1, 0, 0)


def test_without_a_tenant_the_resource_is_empty(read: Any) -> None:
    """
    No tenant header, no attribute for it.
    """
    assert read([Written(LABELS, [sample(3.0, MS)])]).resource == {}


def test_points_of_one_name_stand_in_one_metric(read: Any) -> None:
    """
    Samples are grouped by name, in the order of their first appearance.
    """
    series = [Written({**LABELS, "__name__": name, "n": str(n)}, [sample(1.0, MS)]) for n in range(3) for name in "ab"]

    found = read(series)

    assert [(metric.name, len(metric.sum.data_points)) for metric in found.metrics] == [("a", 3), ("b", 3)]


def test_what_a_series_is_and_its_term_stand_in_the_metric_s_metadata(read: Any) -> None:
    """
    Type and term are metadata, never identity; a metric for each.
    """
    series = [Written({**LABELS, "__name__": name}, [sample(1.0, MS)]) for name in ("a", "b")]

    found = read(series, lambda shape: Verdict("gauge") if shape.name == "a" else Verdict("unknown", 7))

    said = [{pair.key: pair.value for pair in metric.metadata} for metric in found.metrics]
    assert said[0]["prometheus.type"].string_value == "gauge"
    assert "meterline.term" not in said[0]
    assert said[1]["prometheus.type"].string_value == "unknown"
    assert said[1]["meterline.term"].int_value == 7


@pytest.mark.parametrize(
    "bits", [STALE_BITS, NAN_BITS, STALE_BITS + 1, struct.unpack("<Q", struct.pack("<d", -0.1))[0]]
)
def test_a_staleness_marker_is_known_by_its_bits_alone(read: Any, bits: int) -> None:
    """
    0x7ff0000000000002 becomes a point without a value; every other double, NaNs too, arrives bit by bit.
    """
    found = read([Written(LABELS, [sample(bits, MS)])])

    (point,) = found.points("calls_total")
    if bits == STALE_BITS:
        assert point.flags == 1
        assert point.WhichOneof("value") is None
    else:
        assert point.flags == 0
        assert struct.pack("<Q", bits) in found.made.bodies[0].data


def test_zero_is_left_out_by_senders_and_is_a_value(read: Any) -> None:
    """
    A sample of 0 has no value on the wire; one without time has 0 for it, which the kernel quarantines.
    """
    found = read([Written(LABELS, [sample(0.0, MS), sample(1.0, 0)])])

    first, second = found.points("calls_total")
    assert (first.WhichOneof("value"), first.as_double, first.time_unix_nano) == ("as_double", 0.0, NS)
    assert (second.as_double, second.time_unix_nano) == (1.0, 0)


def test_the_same_series_twice_and_samples_in_any_order(read: Any) -> None:
    """
    All samples of a request are kept as they came; the kernel puts them in order.
    """
    found = read([Written(LABELS, [sample(5.0, MS), sample(4.0, MS - 1)]), Written(LABELS, [sample(6.0, MS + 1)])])

    assert [point.as_double for point in found.points("calls_total")] == [5.0, 4.0, 6.0]


def test_a_torn_histogram_is_counters_of_their_own(read: Any) -> None:
    """
    Buckets, sum and count of a classic histogram need not come together.
    """
    found = read(
        [
            Written({"__name__": "d_bucket", "le": "0.5"}, [sample(2.0, MS)]),
            Written({"__name__": "d_count"}, [sample(3.0, MS)]),
        ]
    )

    assert attributes(found.points("d_bucket")[0]) == {"le": "0.5"}
    assert found.points("d_count")[0].as_double == 3.0


def test_exemplars_are_skipped(read: Any) -> None:
    """
    What exemplars say is in the totals; a series that has nothing else has no points.
    """
    found = read([Written(LABELS, exemplars=2), Written(LABELS, [sample(1.0, MS)], exemplars=1)])

    assert len(found.points("calls_total")) == 1


def test_a_request_without_samples_makes_no_body(read: Any) -> None:
    """
    Nothing to submit, nothing refused.
    """
    assert read([]).made.bodies == []
    assert read([Written(LABELS)]).made.bodies == []


def test_the_replica_is_never_part_of_the_identity(read: Any) -> None:
    """
    Series that differ in the replica label alone are the same stream.
    """
    one, two = (
        read([Written({**LABELS, "cluster": "eu", "__replica__": name}, [sample(1.0, MS)])]).made.bodies
        for name in ("a", "b")
    )

    assert one == two


def test_a_replica_that_does_not_count_is_dropped_and_counted(read: Any) -> None:
    """
    A request may mix clusters and replicas; each series is judged by itself, and one without a replica passes.
    """
    asked: list[Shape] = []

    def choose(shape: Shape) -> Verdict | None:
        asked.append(shape)
        return None if shape.replica == "b" else Verdict("counter", 4 if shape.replica else 0)

    series = [Written({**LABELS, "cluster": "eu", "__replica__": name}, [sample(1.0, MS)] * 2) for name in ("a", "b")]
    native = Written({"__name__": "d", "__replica__": "b"}, histograms=[histogram(1, 1.0, MS)])
    found = read([*series, Written(LABELS, [sample(9.0, MS)]), native], choose)

    assert [point.as_double for point in found.points("calls_total")] == [1.0, 1.0, 9.0]
    assert (found.made.samples, found.made.histograms, found.made.dropped) == (5, 1, 3)
    assert [(shape.cluster, shape.replica) for shape in asked[:3]] == [("eu", "a"), ("eu", "b"), ("", "")]


def test_metadata_in_labels_is_no_identity_either(read: Any) -> None:
    """
    ``__type__`` and ``__unit__`` (feature type-and-unit-labels) say the type and are left out; an empty label is none.
    """
    asked: list[Shape] = []

    def choose(shape: Shape) -> Verdict:
        asked.append(shape)
        return Verdict("counter")

    plain = read([Written(LABELS, [sample(1.0, MS)])], choose)
    typed = read([Written({**LABELS, "__type__": "gauge", "__unit__": "s", "zone": ""}, [sample(1.0, MS)])], choose)

    assert plain.made.bodies == typed.made.bodies
    assert [shape.metric_type for shape in asked] == [0, 2]


@pytest.mark.parametrize(
    "labels",
    [
        {"customer": "acme"},
        {"__name__": "", "customer": "acme"},
        [("__name__", "a"), ("customer", "x"), ("customer", "y")],
        [("__name__", "a"), ("__name__", "b")],
        [("__name__", "a"), ("", "b")],
    ],
    ids=["no-name", "empty-name", "twice", "two-names", "nameless"],
)
def test_labels_that_are_no_series_reject_their_samples_alone(read: Any, labels: Any) -> None:
    """
    The series becomes a reject that shows labels and values; the neighbours are points, and all count as written.
    """
    found = read([Written(labels, [sample(1.5, MS), sample(2.0, MS + 1)]), Written(LABELS, [sample(1.0, MS)])])

    pairs = sorted(labels.items()) if isinstance(labels, dict) else labels
    shown = [{"timestamp": MS, "value": "1.5"}, {"timestamp": MS + 1, "value": "2.0"}]
    assert found.rejects == [("undecodable_item", {"labels": [list(pair) for pair in pairs], "samples": shown})]
    assert len(found.points("calls_total")) == 1
    assert found.made.samples == 3


def test_times_that_no_point_can_have_are_rejected(read: Any) -> None:
    """
    Before 1970 and after 2554; the series' other samples pass.
    """
    found = read([Written(LABELS, [sample(1.0, -5), sample(2.0, 2**62), sample(3.0, MS)])])

    assert [reason for reason, _ in found.rejects] == ["time_in_past", "time_in_future"]
    assert [point.as_double for point in found.points("calls_total")] == [3.0]


def test_the_same_bytes_make_the_same_bodies_however_often(read: Any) -> None:
    """
    The second time the label sets are known, which changes nothing.
    """
    series = [Written({**LABELS, "n": str(n % 7)}, [sample(n / 8, MS + n)]) for n in range(50)]

    assert read(series).made.bodies == read(series).made.bodies


def test_more_labels_than_anybody_has_reject_their_series_alone(read: Any) -> None:
    """
    However many there are, little of them is kept.
    """
    many = {f"l{n}": "x" for n in range(5_000)}

    found = read([Written({**LABELS, **many}, [sample(1.0, MS)]), Written(LABELS, [sample(1.0, MS)])])

    assert [reason for reason, _ in found.rejects] == ["too_many_attributes"]
    assert len(found.points("calls_total")) == 1


@pytest.mark.parametrize("label", ["cluster", "__replica__"])
def test_names_of_pairs_that_are_too_long_to_remember_reject_their_series_alone(read: Any, label: str) -> None:
    """
    Each election keeps them, on disk too.
    """
    pair = {**LABELS, "cluster": "eu", "__replica__": "a"}
    series = [Written({**pair, label: "\u00e9" * size}, [sample(1.0, MS)]) for size in (512, 513)]
    alone = Written({**LABELS, "cluster": "x" * 2_000}, [sample(1.0, MS)])

    found = read([*series, alone])

    assert [reason for reason, _ in found.rejects] == ["value_too_long"]
    assert len(found.points("calls_total")) == 2


def test_tiny_parts_and_labels_that_multiply_are_too_large() -> None:
    """
    What would take far more memory than the request itself is refused.
    """
    tiny = request_v1([Written(LABELS, [sample(0.0, 1)] * 250_001)])
    with pytest.raises(TooLargeError, match="parts"):
        read_v1(tiny, SeriesReader(None))

    heavy = request_v1([Written({**LABELS, "note": "x" * 60_000}, [sample(1.0, n) for n in range(1, 2_000)])])
    with pytest.raises(TooLargeError, match="labels"):
        transcode(read_v1(heavy, SeriesReader(None)), "", lambda _: Verdict("counter"))

    nameless = read_v1(request_v1([Written({"job": "a"}, [sample(1.0, MS)])] * 100), SeriesReader(None))
    assert len(transcode(nameless, "", lambda _: Verdict("counter"), limit=20_000).bodies) == 1
    with pytest.raises(TooLargeError, match="labels"):
        transcode(nameless, "", lambda _: Verdict("counter"), limit=2_000)
