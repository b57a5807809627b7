"""
What becomes of points: every reason that the kernel gives, rights, activation, generations, repeats of requests.
"""

from collections.abc import Callable
from typing import Any

import pytest

from meterline.api.receiver import Format, Principal
from meterline.kernel.reasons import Reason
from meterline.kernel.seam import Charge, MeterOptions, PointView, Track
from meterline.testing.kernel import SECOND, KernelHarness
from meterline.testing.otlp import CUMULATIVE, DELTA, Metrics, Point, put_attributes
from meterline.testing.rules import SimpleRule

Make = Callable[..., KernelHarness]

ACME = {"customer.id": "acme"}
STALE = 0x7FF0000000000002


def charge(**fields: Any) -> Charge:
    """A template charge of a rule."""
    return Charge("", None, None, **fields)


def point(start: float, time: float, value: float | None = 5, **attributes: Any) -> Point:
    """A point of acme."""
    return Point(start, time, value, ACME | attributes)


def histogram(temporality: int = DELTA, **fields: Any) -> Metrics:
    """A request with one histogram point of acme."""
    request = Metrics()
    data = request.metric("h").histogram
    data.aggregation_temporality = temporality
    values = {"count": 3, "sum": 4.5, "bucket_counts": [1, 2], "explicit_bounds": [1.0]} | fields
    times = {"start_time_unix_nano": 100 * SECOND, "time_unix_nano": 110 * SECOND}
    put_attributes(
        data.data_points.add(**(times | {k: v for k, v in values.items() if v is not None})).attributes, ACME
    )
    return request


def reasons(h: KernelHarness) -> list[Reason]:
    """The reasons of all quarantine entries."""
    return [entry.reason for entry in h.quarantine]


RAW = {
    Reason.NO_VALUE: Metrics().sum([point(100, 110, None)]),
    Reason.NOT_A_NUMBER: Metrics().sum([point(100, 110, float("inf"))]),
    Reason.OUT_OF_RANGE: Metrics().sum([point(100, 110, 1e20)]),
    Reason.NEGATIVE_VALUE: Metrics().sum([point(100, 110, -1)], temporality=DELTA),
    Reason.TIME_MISSING: Metrics().sum([point(100, 0)]),
    Reason.START_AFTER_TIME: Metrics().sum([point(120, 110)]),
    Reason.TIME_IN_FUTURE: Metrics().sum([point(100, 1000 + 3601)]),
    Reason.TEMPORALITY_UNSPECIFIED: Metrics().sum([point(100, 110)], temporality=0),
    Reason.HISTOGRAM_INCONSISTENT: histogram(count=4),
    Reason.SDK_CARDINALITY_OVERFLOW: Metrics().sum([Point(100, 110, 5, {"otel.metric.overflow": True})]),
}


@pytest.mark.parametrize("reason", RAW, ids=lambda reason: reason.code)
def test_raw_reasons(harness: Make, reason: Reason) -> None:
    """An invalid point is quarantined raw with its reason; its resend is a duplicate, also after a restart."""
    h = harness()
    body = bytes(RAW[reason])
    assert h.send(body).quarantined == 1
    (entry,) = h.quarantine
    assert (entry.reason, entry.kind, len(entry.key), entry.quantity) == (reason, "raw", 16, None)
    assert h.send(body).duplicate == 1
    h.restart("frames")
    assert h.send(body).duplicate == 1
    assert h.records() == []


def test_time_in_past(harness: Make) -> None:
    """A point older than the limit is quarantined; the limit counts from reception."""
    h = harness(options=MeterOptions(max_past_ns=100 * SECOND))
    h.send(Metrics().sum([point(800, 899)]))
    h.send(Metrics().sum([point(800, 900)]))
    assert reasons(h) == [Reason.TIME_IN_PAST]
    assert h.values() == {"acme": "5"}


def test_a_raw_entry_is_a_whole_request(harness: Make) -> None:
    """The payload of a raw entry is a request of that point alone, which another ledger bills as the first would have."""
    h = harness()
    h.send(
        Metrics({"service.name": "x"}, "lib").sum([point(100, 5000, 7), point(100, 110, 3, pod=1)], name="n", unit="By")
    )
    from meterline.kernel.framing import decode_frame  # noqa: PLC0415 - what the Python kernel writes

    (row,) = decode_frame(h.frames[0].body).quarantine
    assert (row.reason, row.format) == (Reason.TIME_IN_FUTURE, "otlp_metrics")
    other = harness()
    other.received_at = 5000 * SECOND
    assert other.send(row.payload).recorded == 1
    same = harness()
    same.received_at = 5000 * SECOND
    same.send(Metrics({"service.name": "x"}, "lib").sum([point(100, 5000, 7)], name="n", unit="By"))
    assert [r.id for r in other.records()] == [r.id for r in same.records()]


def test_neighbours_of_a_bad_point_pass(harness: Make) -> None:
    """One bad point never costs its neighbours, in the same metric or another."""
    h = harness()
    applied = h.send(Metrics().sum([point(100, 110, 1, p=1), point(100, 110, None, p=2), point(100, 110, 2, p=3)]))
    assert (applied.recorded, applied.quarantined, dict(applied.reasons)) == (2, 1, {Reason.NO_VALUE: 1})


def test_no_recorded_value_and_stale_marker(harness: Make) -> None:
    """What a sender says is no value is no usage, and does not touch the stream."""
    import struct  # noqa: PLC0415 - only here

    stale = struct.unpack("<d", struct.pack("<Q", STALE))[0]
    h = harness()
    h.send(Metrics().sum([point(100, 110, 5)]))
    assert h.send(Metrics().sum([Point(100, 120, None, ACME, flags=1)])).no_usage == 1
    body = bytearray(bytes(Metrics().sum([point(100, 120, 1.5)])))
    at = body.index(struct.pack("<d", 1.5))
    body[at : at + 8] = struct.pack("<Q", STALE)
    assert stale != stale  # noqa: PLR0124 - a NaN
    assert h.send(bytes(body)).no_usage == 1
    h.send(Metrics().sum([point(100, 130, 9)]))
    assert h.values() == {"acme": "9"}


def test_bad_attributes_cost_their_point_only(harness: Make) -> None:
    """Bad UTF-8 and deep nesting, which upb alone would refuse the request for, quarantine one point."""
    deep: Any = 1
    for _ in range(70):
        deep = [deep]
    request = Metrics()
    request.sum([point(100, 110, 1, p="ok"), point(100, 110, 2, p="BAD!"), point(100, 110, 4, p=deep)])
    body = bytes(request).replace(b"BAD!", b"\xff\xfe!!")
    h = harness()
    applied = h.send(body)
    assert (applied.recorded, applied.quarantined) == (1, 2)
    assert reasons(h) == [Reason.BAD_UTF8, Reason.TOO_DEEP]


def test_broken_attribute_value(harness: Make) -> None:
    """Broken bytes inside a value are found when the canonical form reads it."""
    body = bytes(Metrics().sum([point(100, 110, 1, p="12345")])).replace(
        b"\x12\x07\x0a\x0512345", b"\x12\x07\x0a\x6612345"
    )
    h = harness()
    assert h.send(body).quarantined == 1
    assert reasons(h) == [Reason.UNDECODABLE_VALUE]


def test_a_doubled_key_that_a_rule_reads(harness: Make) -> None:
    """A key that stands twice refuses the point if a rule reads it; another one counts as its last value."""
    request = Metrics().sum([point(100, 110, 1, x=1), point(100, 120, 2, x=2)])
    points = request.message.resource_metrics[0].scope_metrics[0].metrics[0].sum.data_points
    points[0].attributes.add(key="customer.id").value.string_value = "other"
    points[1].attributes.add(key="x").value.int_value = 3
    h = harness()
    assert h.send(request).quarantined == 1
    assert reasons(h) == [Reason.DUPLICATE_KEY]
    assert h.send(Metrics().sum([point(100, 120, 2, x=3)])).duplicate == 1


def test_unmatched_keeps_nothing(harness: Make) -> None:
    """A point that no rule matches is counted, whatever else is wrong with it; no stream is kept."""
    h = harness(SimpleRule(metric="other"), SimpleRule("b", "b*", when=lambda values: False))
    applied = h.send(Metrics().sum([point(0, 0, None)]).sum([point(0, 0, None)], name="b1"))
    assert applied.unmatched == 2
    assert h.meter.counters()["resident_streams"] == 0


def test_claim_reasons(harness: Make) -> None:
    """Stage 4 quarantines the claim with its quantity and future record id; the stream has moved on."""
    h = harness()
    h.send(Metrics().sum([Point(100, 110, 5, {"x": 1})]))
    (entry,) = h.quarantine
    assert (entry.kind, entry.reason, entry.quantity) == ("claim", Reason.MISSING_CUSTOMER, 5 * 10**18)
    assert len(entry.record_id) == 32
    assert h.send(Metrics().sum([Point(100, 110, 5, {"x": 1})])).duplicate == 1


@pytest.mark.parametrize("reason", [Reason.UNIT_MISMATCH, Reason.MISSING_DIMENSION])
def test_failures_of_a_charge(harness: Make, reason: Reason) -> None:
    """A failure that the rules found is acted on in stage 4; a zero quantity is no usage before that."""
    h = harness(SimpleRule(charge=charge(failure=reason)))
    h.send(Metrics().sum([point(100, 110, 0)]))
    assert reasons(h) == []
    h.send(Metrics().sum([point(100, 120, 3)]))
    assert reasons(h) == [reason]


def test_ignored_missing_customer(harness: Make) -> None:
    """on_missing_customer: ignore is no usage."""
    h = harness(SimpleRule(ignore=True))
    assert h.send(Metrics().sum([Point(100, 110, 5, {"x": 1})])).no_usage == 1


def test_record_out_of_range(harness: Make) -> None:
    """A scaled quantity of 10^20 or more is a claim entry; the readings go on."""
    h = harness(SimpleRule(charge=charge(factor=10**12 * 10**10)))
    h.send(Metrics().sum([point(100, 110, 10**10)]))
    h.send(Metrics().sum([point(100, 120, 10**10 + 1)]))
    assert reasons(h) == [Reason.RECORD_OUT_OF_RANGE]
    assert h.values() == {"acme": "10000000000"}


def test_needs_conversion(harness: Make) -> None:
    """A charge that does not fit the type is raw for its claim alone; the others go on."""
    h = harness(SimpleRule("a"), SimpleRule("b", dimension="d", charge=charge(raw=Reason.NEEDS_CONVERSION)))
    body = Metrics().sum([point(100, 110, 5)])
    applied = h.send(body)
    assert (applied.recorded, reasons(h)) == (1, [Reason.NEEDS_CONVERSION])
    assert [h.balance(name) for name in ("claims", "claim_records", "claim_quarantined")] == [2, 1, 1]
    gauges = harness(SimpleRule("b", charge=charge(raw=Reason.NEEDS_CONVERSION)))
    assert gauges.send(Metrics().gauge([point(0, 110, 5)])).quarantined == 1
    assert gauges.meter.counters()["resident_streams"] == 0


def test_ambiguous_rules(harness: Make) -> None:
    """Two claims on one customer and dimension are both held, unless both rules say multi, or one does not hold."""
    both = harness(SimpleRule("a"), SimpleRule("b"))
    both.send(Metrics().sum([point(100, 110)]))
    assert reasons(both) == [Reason.AMBIGUOUS_RULES] * 2
    multi = harness(SimpleRule("a", multi=True), SimpleRule("b", multi=True))
    assert multi.send(Metrics().sum([point(100, 110)])).recorded == 1
    assert len(multi.records()) == 2
    late = harness(SimpleRule("a"), SimpleRule("b", charge=charge(since=105 * SECOND)))
    late.send(Metrics().sum([point(100, 110)]))
    assert [record.rule for record in late.records()] == ["a"]
    late.send(Metrics().sum([point(100, 120, 9)]))
    assert reasons(late) == [Reason.AMBIGUOUS_RULES] * 2


def large(view: PointView) -> bool:
    """A gate on the value; zero division when it is 13."""
    assert view.value is not None
    return view.value > 100 / (13 - view.value)


def test_gates(harness: Make) -> None:
    """A condition on the value is asked per point: no usage when it does not hold, rule_error when it errs."""
    h = harness(SimpleRule(gate=large))
    values = [1, 50, 13]
    for k, value in enumerate(values):
        h.send(Metrics().sum([point(100 + k, 101 + k, value)], temporality=DELTA))
    assert h.values() == {"acme": "50"}
    assert (h.balance("no_usage"), reasons(h)) == (1, [Reason.RULE_ERROR])


def test_rights(harness: Make) -> None:
    """A principal may write for its customers only; a forbidden claim leaves the stream untouched, and others' points pass."""
    h = harness()
    narrow = Principal("p", ("ac*",))
    body = Metrics().sum([point(100, 110, 5), Point(100, 110, 7, {"customer.id": "zeta"})])
    applied = h.send(body, principal=narrow)
    assert (applied.recorded, applied.quarantined, reasons(h)) == (1, 1, [Reason.FORBIDDEN_CUSTOMER])
    assert h.send(Metrics().sum([Point(100, 110, 7, {"customer.id": "zeta"})]), principal=narrow).duplicate == 1
    assert h.send(Metrics().sum([Point(100, 110, 7, {"customer.id": "zeta"})])).recorded == 1
    assert h.send(Metrics().sum([point(100, 120, 9)]), principal=narrow).recorded == 1
    assert h.send(Metrics().sum([Point(100, 120, 9, {"customer.id": "zeta"})]), principal=narrow).quarantined == 1
    assert h.values() == {"acme": "9", "zeta": "7"}


def test_an_open_entry_makes_a_duplicate(harness: Make) -> None:
    """While a raw entry is open its point is a duplicate, even once the point would be valid; other points pass."""
    h = harness()
    h.send(Metrics().sum([point(100, 110, 5)]))
    early = Metrics().sum([point(100, 5000, 9)])
    assert h.send(early).quarantined == 1
    h.received_at = 5000 * SECOND
    assert h.send(early).duplicate == 1
    assert h.send(Metrics().sum([point(100, 4000, 8)])).recorded == 1
    h.restart("snapshot")
    assert h.send(early).duplicate == 1
    assert h.values() == {"acme": "8"}


def test_repeated_requests(harness: Make) -> None:
    """A request with deltas that have no start is recognised whole by its digest; two equal points in it both count."""
    body = bytes(Metrics().sum([point(0, 110, 5), point(0, 110, 5), point(0, 110, None)], temporality=DELTA))
    h = harness()
    assert h.send(body).recorded == 2
    again = h.send(body)
    assert (again.duplicate, again.quarantined, again.answered) == (3, 0, 1)
    for how in ("frames", "snapshot"):
        h.restart(how)
        assert h.send(body).answered == 1
    assert h.send(body, principal=Principal("other")).duplicate == 2
    assert (
        h.send(Metrics().sum([point(0, 110, 5), point(0, 110, 5), point(0, 110, 5)], temporality=DELTA)).recorded == 1
    )
    assert h.values() == {"acme": "15"}
    assert len({record.id for record in h.records()}) == 3


def test_digest_waits_for_no_rollback(harness: Make) -> None:
    """A digest that was not committed is forgotten by the rollback."""
    body = bytes(Metrics().sum([point(0, 110, 5)], temporality=DELTA))
    h = harness()
    h.send(body, commit=False)
    assert h.send(body, commit=False).duplicate == 1
    h.meter.rollback(1)
    assert h.send(body).recorded == 1


def test_zero_width_delta(harness: Make) -> None:
    """A delta whose start is its time covers nothing: it counts, and its repeat does not."""
    h = harness()
    assert h.send(Metrics().sum([point(110, 110, 5)], temporality=DELTA)).recorded == 1
    assert h.send(Metrics().sum([point(110, 110, 5), point(110, 110, 6)], temporality=DELTA)).recorded == 1
    (first, _) = h.records()
    assert first.timestamp == 110 * SECOND


def test_beyond_the_horizon(harness: Make) -> None:
    """What is older than the cut-off of forgotten ids is not guessed about."""
    h = harness(options=MeterOptions(max_dedupe_ids=3))
    for k in range(5):
        h.send(Metrics().sum([point(0, 110 + k, 5)], temporality=DELTA))
    h.restart("frames")
    applied = h.send(Metrics().sum([point(0, 105, 5)], temporality=DELTA))
    assert (applied.quarantined, reasons(h)) == (1, [Reason.BEYOND_DEDUPE_HORIZON])


def test_conflicts_are_held_once(harness: Make) -> None:
    """A reading that contradicts the one before is disputed once; its resend is a duplicate."""
    for temporality in (CUMULATIVE, DELTA):
        h = harness()
        h.send(Metrics().sum([point(100, 110, 5)], temporality=temporality))
        assert h.send(Metrics().sum([point(100, 110, 6)], temporality=temporality)).quarantined == 1
        assert h.send(Metrics().sum([point(100, 110, 6)], temporality=temporality)).duplicate == 1
        h.restart("snapshot")
        assert h.send(Metrics().sum([point(100, 110, 6)], temporality=temporality)).duplicate == 1
        assert reasons(h) == [Reason.CONFLICT]


def test_late_above_last_is_told(harness: Make) -> None:
    """A late reading above the last one is an anomaly worth an event."""
    h = harness()
    h.send(Metrics().sum([point(100, 110, 5)]))
    h.send(Metrics().sum([point(100, 120, 9)]))
    h.send(Metrics().sum([point(100, 115, 50)]))
    assert "late_above_last" in [event.kind for event in h.events]


def test_one_request_in_any_order_of_time(harness: Make) -> None:
    """Points of one request are stepped by time, so that a request out of order bills every part."""
    h = harness()
    h.send(Metrics().sum([point(100, 130, 9), point(100, 110, 2), point(100, 120, 5)]))
    assert [str(record.value) for record in h.records()] == ["2", "3", "4"]


def test_the_same_stream_in_requests_of_different_sizes(harness: Make) -> None:
    """A stream is the same alone, among thousands, beside other metrics, and with its attributes in another order."""
    h = harness()
    others = [Point(100, 110 + k, 1, {"customer.id": "acme", "n": str(k) * 200}) for k in range(300)]
    mine = {"customer.id": "me", "route": "/"}
    h.send(Metrics().sum([Point(100, 110, 10, mine)]))
    h.send(Metrics().sum([*others, Point(100, 120, 15, mine)]))
    h.send(
        Metrics().gauge([point(0, 1)]).sum([Point(100, 130, 17, {"route": "/", "customer.id": "me"})]).sum([], name="z")
    )
    h.send(Metrics().sum([Point(100, 140, 18.5, mine)]))
    assert h.values()["me"] == "18.5"


def test_histograms(harness: Make) -> None:
    """Count and sum of a histogram are two tracks of one stream."""
    h = harness(
        SimpleRule("count", dimension="count", charge=charge(track=Track.COUNT)),
        SimpleRule("sum", dimension="sum", charge=charge(track=Track.SUM)),
    )
    h.send(histogram(CUMULATIVE))
    request = histogram(CUMULATIVE, count=5, sum=7.25, bucket_counts=[2, 3])
    request.message.resource_metrics[0].scope_metrics[0].metrics[0].histogram.data_points[0].time_unix_nano = (
        120 * SECOND
    )
    for how in ("frames", "snapshot"):
        h.restart(how)
    assert h.send(request).recorded == 1
    assert h.send(request).duplicate == 1
    assert h.values(lambda record: record.dimension_id) == {"count": "5", "sum": "7.25"}


def test_a_histogram_without_sum(harness: Make) -> None:
    """A rule that bills the sum of a histogram that has none holds up its claim alone."""
    h = harness(
        SimpleRule("count", dimension="count", charge=charge(track=Track.COUNT)),
        SimpleRule("sum", dimension="sum", charge=charge(track=Track.SUM)),
    )
    applied = h.send(histogram(sum=None))
    assert (applied.recorded, reasons(h), h.balance("claim_quarantined")) == (1, [Reason.NO_SUM], 1)


def test_summaries_and_exponential_histograms(harness: Make) -> None:
    """A summary is cumulative; an exponential histogram must add up."""
    h = harness(SimpleRule(charge=charge(track=Track.COUNT)))
    request = Metrics()
    times = {"start_time_unix_nano": 100 * SECOND, "time_unix_nano": 110 * SECOND}
    put_attributes(request.metric("q").summary.data_points.add(count=4, sum=2.0, **times).attributes, ACME)
    data = request.metric("e").exponential_histogram
    data.aggregation_temporality = DELTA
    good = data.data_points.add(count=3, zero_count=1, **times)
    good.positive.bucket_counts.extend([1, 1])
    put_attributes(good.attributes, ACME)
    bad = data.data_points.add(count=9, zero_count=1, **times)
    put_attributes(bad.attributes, ACME | {"p": 1})
    applied = h.send(request)
    assert (applied.recorded, reasons(h), h.values()) == (2, [Reason.HISTOGRAM_INCONSISTENT], {"acme": "7"})


def test_a_stream_from_int_to_double(harness: Make) -> None:
    """A stream may change between int and double; its increments stay exact, and so they do after restarts."""
    h = harness()
    for k, value in enumerate([1, 2, 2.1, 3, 2**53 + 1, float(2**54)]):
        h.restart(("frames", "snapshot")[k % 2])
        h.send(Metrics().sum([point(100, 110 + k, value)]))
    assert h.values() == {"acme": str(2**54)}


def test_quarantine_body(harness: Make) -> None:
    """A body that three attempts could not apply is quarantined whole, once."""
    h = harness()
    source = h.meter.source("otlp", Principal("p"))
    body = bytes(Metrics().sum([point(100, 110, 5), point(100, 120, 6)]))
    first = h.meter.quarantine_body(body, Format.OTLP_METRICS, h.received_at, source, "ValueError: x")
    h.commit()
    again = h.meter.quarantine_body(body, Format.OTLP_METRICS, h.received_at, source, "ValueError: x")
    h.commit()
    broken = h.meter.quarantine_body(b"\xff", Format.OTLP_METRICS, h.received_at, source, "x")
    h.commit()
    assert (first.quarantined, again.duplicate, broken.quarantined) == (2, 2, 1)
    assert reasons(h) == [Reason.INTERNAL_ERROR] * 2


def test_no_apply_of_what_is_not_resolved(harness: Make) -> None:
    """A batch with unknown streams, or of an older generation, is not applied, and nothing of it happens."""
    h = harness()
    source = h.meter.source("otlp", Principal("p"))
    batch = h.kernel.decode(bytes(Metrics().sum([point(100, 110)])), Format.OTLP_METRICS, h.plan)
    assert h.meter.apply(batch, h.received_at, source) is None
    old = h.learn(bytes(Metrics().sum([point(100, 110)])))
    h.new_rules(SimpleRule())
    h.send(Metrics().sum([point(100, 110)]))
    assert h.meter.apply(old, h.received_at, source) is None
    assert h.balance("received") == 1
