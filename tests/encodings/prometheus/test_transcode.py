"""
Remote write as transcoded metrics: identities, bits, starts, what cannot be a point; both versions of the protocol.
"""

import struct
from typing import Any

import pytest
from opentelemetry.proto.metrics.v1.metrics_pb2 import AggregationTemporality

from meterline.api import TooLargeError, UndecodableError
from meterline.encodings.prometheus import MAX_AHEAD_MS, OLDEST_START_MS, Verdict, transcode
from meterline.encodings.prometheus_read import read_v1, read_v2
from meterline.encodings.prometheus_series import SeriesReader, Shape
from meterline.testing.remote_write import (
    NAN_BITS,
    STALE_BITS,
    Written,
    double,
    field,
    histogram,
    request_v1,
    request_v2,
    sample,
    varint,
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


def test_text_that_is_not_utf8_rejects_its_sample_alone() -> None:
    """
    Go's senders do not check their bytes; one bad label must not cost the others.
    """
    broken = request_v1([Written({**LABELS, "customer": "@@"}, [sample(1.0, MS)])]).replace(b"@@", b"\xff\xfe")

    request = read_v1(broken + request_v1([Written(LABELS, [sample(2.0, MS)])]), SeriesReader(None))

    faults = [entry.series.fault and entry.series.fault.reason for entry in request.entries]
    assert faults == ["bad_utf8", None]


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


COUNTER = Verdict("counter")


def _transcoded(body: bytes, verdict: Verdict = COUNTER) -> Any:
    return transcode(read_v2(body, SeriesReader(None)), "", lambda _: verdict)


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


def test_the_start_of_a_native_histogram_counts() -> None:
    """
    Both of its series begin at 0 there.
    """
    body = request_v2([Written({"__name__": "d"}, histograms=[histogram(4, 2.5, MS, start=MS - 9)])])

    data = _transcoded(body).bodies[0].data

    assert data.count(struct.pack("<Q", (MS - 9) * 1_000_000 + 1)) == 2


def test_fields_in_any_order_and_unknown_ones() -> None:
    """
    Labels after samples, a value after its time, fields that we do not know: the same series.
    """
    label = field(1, field(1, "__name__") + field(2, "a_total"))
    value = b"\x09" + struct.pack("<d", 2.0)
    turned = varint(2 << 3) + varint(MS) + value
    body = field(1, field(2, turned) + label + field(9, "x") + varint(15 << 3 | 5) + b"1234") + field(2, "x")

    (entry,) = read_v1(body, SeriesReader(None)).entries

    assert entry.series.shape.name == "a_total"
    assert [(item.value, item.moment.ms) for item in entry.samples] == [(struct.pack("<d", 2.0), MS)]


def test_samples_are_read_by_themselves_whatever_their_neighbours_look_like() -> None:
    """
    Fields in another order, a sample without time, one without anything; and one that ends within its value is broken.
    """
    turned = varint(2 << 3) + varint(MS) + b"\x09" + struct.pack("<d", 2.0)
    series = Written({"__name__": "a_total"}, [sample(1.0, MS), turned, sample(3.0, 0), b"", sample(4.0, MS)])

    (entry,) = read_v1(request_v1([series]), SeriesReader(None)).entries

    assert [(struct.unpack("<d", item.value)[0], item.moment.ms) for item in entry.samples] == [
        (1.0, MS),
        (2.0, MS),
        (3.0, 0),
        (0.0, 0),
        (4.0, MS),
    ]
    cut = Written({"__name__": "a_total"}, [sample(3.0, 0), b"\x09\x01\x02", sample(4.0, MS)])
    with pytest.raises(UndecodableError):
        read_v1(request_v1([cut]), SeriesReader(None))


def test_references_that_are_not_packed() -> None:
    """
    A list of single references is the same as a packed one.
    """
    symbols = b"".join(field(4, text) for text in ("", "__name__", "a_total"))
    refs = varint(1 << 3) + varint(1) + varint(1 << 3) + varint(2)

    (entry,) = read_v2(field(5, refs + field(2, sample(1.0, MS))) + symbols, SeriesReader(None)).entries

    assert entry.series.shape.name == "a_total"


@pytest.mark.parametrize("refs", [[1, 9], [1, 2, 1], [2**40, 2]])
def test_references_to_nothing_reject_their_series_alone(refs: list[int]) -> None:
    """
    Beyond the symbols, or odd in number.
    """
    symbols = b"".join(field(4, text) for text in ("", "__name__", "a_total"))
    good = field(5, field(1, varint(1) + varint(2)) + field(2, sample(1.0, MS)))
    bad = field(5, field(1, b"".join(map(varint, refs))) + field(2, sample(1.0, MS)))

    entries = read_v2(symbols + bad + good, SeriesReader(None)).entries

    assert [entry.series.fault is None for entry in entries] == [False, True]


def test_a_request_of_the_other_version_is_refused() -> None:
    """
    It would look like an empty one and be lost.
    """
    series = [Written(LABELS, [sample(1.0, MS)])]

    with pytest.raises(UndecodableError, match=r"2\.0 request"):
        read_v1(request_v2(series), SeriesReader(None))
    with pytest.raises(UndecodableError, match=r"1\.0 request"):
        read_v2(request_v1(series), SeriesReader(None))


@pytest.mark.parametrize("reading", [(read_v1, request_v1), (read_v2, request_v2)], ids=["v1", "v2"])
def test_a_body_that_is_cut_off_is_refused_or_shorter(reading: Any) -> None:
    """
    Cut at any byte, it is broken, or it ends between two fields of the message itself.
    """
    read, write = reading
    series = [Written({**LABELS, "n": str(n)}, [sample(1.0, MS)], [histogram(1, 1.0, MS)]) for n in range(3)]
    body = write(series)
    whole = 0
    for end in range(len(body)):
        try:
            entries = read(body[:end], SeriesReader(None)).entries
        except UndecodableError:
            continue
        whole += 1
        assert all(len(entry.samples) == 1 for entry in entries)
    assert whole < 60


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

    found = read(series)

    assert [reason for reason, _ in found.rejects] == ["value_too_long"]
    assert len(found.points("calls_total")) == 1


def test_tiny_parts_and_labels_that_multiply_are_too_large() -> None:
    """
    What would take far more memory than the request itself is refused.
    """
    tiny = request_v1([Written(LABELS, [sample(0.0, 1)] * 250_001)])
    with pytest.raises(TooLargeError, match="parts"):
        read_v1(tiny, SeriesReader(None))

    heavy = request_v1([Written({**LABELS, "note": "x" * 60_000}, [sample(1.0, n) for n in range(1, 2_000)])])
    with pytest.raises(TooLargeError, match="labels"):
        transcode(read_v1(heavy, SeriesReader(None)), "", lambda _: COUNTER)

    nameless = read_v1(request_v1([Written({"job": "a"}, [sample(1.0, MS)])] * 100), SeriesReader(None))
    assert len(transcode(nameless, "", lambda _: COUNTER, limit=20_000).bodies) == 1
    with pytest.raises(TooLargeError, match="labels"):
        transcode(nameless, "", lambda _: COUNTER, limit=2_000)
