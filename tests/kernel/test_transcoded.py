"""
What a receiver of our own may say beside OTLP: types that are no part of identity, and points with identities of their own.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from meterline.api.receiver import Format, Principal
from meterline.generations import Generation
from meterline.kernel import record_ids
from meterline.kernel.framing import decode_frame
from meterline.kernel.reasons import Reason
from meterline.kernel.seam import Charge, MeterOptions, Track
from meterline.rules.model import RuleConfig
from meterline.rules.ruleset import RuleSet
from meterline.testing.kernel import SECOND, KernelHarness
from meterline.testing.otlp import CUMULATIVE, DELTA, Metrics, Point, put_attributes
from meterline.testing.rules import SimpleRule

Make = Callable[..., KernelHarness]
FMT = Format.TRANSCODED_METRICS
PLAIN = SimpleRule()
WRITTEN = SimpleRule("written", dimension="written", charge=Charge("", None, None, explicit=True))
ONE, TWO = bytes(15) + b"\1", bytes(15) + b"\2"


def series(hint: str | None, *readings: tuple[int, float], **more: Any) -> Metrics:
    """A request with readings (time, value) of one Prometheus series, told to be of this type."""
    metadata = {"prometheus.type": hint} if hint else {}
    return Metrics().sum([Point(0, *reading) for reading in readings], metadata=metadata, **more)


def events(*points: tuple[bytes, float, float]) -> Metrics:
    """A request with increments (id, time, value) that have no start."""
    made = [Point(0, time, value, point_id=name) for name, time, value in points]
    return Metrics().sum(made, temporality=DELTA)


def held(h: KernelHarness) -> list[tuple[str, int]]:
    """Reason and quantity of all claims in quarantine."""
    return [(entry.reason.code, (entry.quantity or 0) // 10**18) for entry in h.quarantine]


@pytest.mark.parametrize("restart", [None, "frames", "snapshot"])
def test_a_series_that_turns_out_to_be_a_counter_goes_on(harness: Make, restart: Any) -> None:
    """The increments while nobody knew are held as claims, the later ones count; not one is lost, doubled or rebased."""
    h = harness()
    h.send(series("unknown", (110, 100.0), (120, 107.0)), FMT)
    h.send(series("unknown", (130, 110.5)), FMT)
    if restart:
        h.restart(restart)
    h.send(series("counter", (140, 112.0)), FMT)
    h.send(series(None, (150, 113.0)), FMT)
    h.send(series(None, (160, 120.0)))
    assert h.values() == {"acme": "9.5"}
    assert [(entry.reason, entry.kind, entry.quantity) for entry in h.quarantine] == [
        (Reason.TYPE_UNKNOWN, "claim", 7 * 10**18),
        (Reason.TYPE_UNKNOWN, "claim", 35 * 10**17),
    ]
    assert len({record.source.stream for record in h.records()}) == 1


def test_a_held_claim_has_its_window_and_the_id_of_its_record(harness: Make) -> None:
    """A release makes the record that the rule would have made."""
    h = harness()
    h.send(series("unknown", (110, 100), (120, 107)), FMT)
    (entry,) = h.quarantine
    window = record_ids.cumulative_window(0, 110 * SECOND, 120 * SECOND)
    assert entry.record_id == record_ids.record_id("calls", entry.stream, window).hex()
    (row,) = decode_frame(h.frames[-1].body).quarantine
    assert (row.start, row.time) == (110 * SECOND, 120 * SECOND)


def test_a_rule_that_says_delta_counts_what_nobody_knows(harness: Make) -> None:
    """Of two rules on one series of unknown type, the one that writes ``value: delta`` bills it, the other is held."""
    h = harness(PLAIN, WRITTEN)
    h.send(series("unknown", (110, 100), (120, 107)), FMT)
    h.send(series("unknown", (130, 109)), FMT)
    assert h.values(lambda record: record.rule) == {"written": "9"}
    assert held(h) == [("type_unknown", 7), ("type_unknown", 2)]
    assert h.balance("recorded") == 2


@pytest.mark.parametrize("hints", [("counter", "unknown"), ("unknown", "counter")])
def test_two_hints_of_one_series_are_told_apart_point_by_point(harness: Make, hints: Sequence[str]) -> None:
    """Whichever context bound the stream last, each point has its own type, before and after undo and restart."""
    h = harness()
    bodies = [series(hints[turn % 2], (110 + turn, 100 + turn)) for turn in range(12)]
    for turn, body in enumerate(bodies):
        if turn == 4:
            h.send(bodies[4], FMT, commit=False)
            h.send(bodies[5], FMT, commit=False)
            h.meter.rollback(len(h.frames) + 1)
        if turn in {6, 9}:
            h.restart("frames" if turn == 6 else "snapshot")
        h.send(body, FMT)
    counted = {turn for turn in range(1, 12) if hints[turn % 2] == "counter"}
    assert h.values() == {"acme": str(len(counted))}
    assert {record.timestamp // SECOND - 110 for record in h.records()} == counted
    assert len(held(h)) == 11 - len(counted)


def test_both_hints_in_one_request(harness: Make) -> None:
    """Two metrics of one request that are one stream keep their own types."""
    h = harness()
    request = series("counter", (110, 100), (120, 101))
    request.sum([Point(0, 130, 103)], metadata={"prometheus.type": "unknown"})
    request.sum([Point(0, 140, 106)], metadata={"prometheus.type": "counter"})
    h.send(request, FMT)
    assert (h.values(), held(h)) == ({"acme": "4"}, [("type_unknown", 2)])


def test_a_gauge_does_not_touch_the_stream(harness: Make) -> None:
    """It is quarantined raw for each claim; the counter that it was before goes on from its own last reading."""
    h = harness(PLAIN, WRITTEN)
    h.send(series("counter", (110, 100)), FMT)
    assert h.send(series("gauge", (120, 5)), FMT).quarantined == 1
    assert h.send(series("gauge", (120, 5)), FMT).duplicate == 1
    h.send(series("counter", (130, 101)), FMT)
    assert h.values(lambda record: record.rule) == {"calls": "1", "written": "1"}
    (entry,) = h.quarantine
    assert (entry.reason, entry.kind, entry.quantity) == (Reason.NEEDS_CONVERSION, "raw", None)
    assert h.balance("claim_quarantined") == 2


def test_a_gauge_first_and_a_counter_later(harness: Make) -> None:
    """The first reading as a counter is the baseline: what came as a gauge is not counted from."""
    h = harness()
    h.send(series("gauge", (110, 100)), FMT)
    h.send(series("counter", (120, 500), (130, 501)), FMT)
    assert h.values() == {"acme": "1"}


@pytest.mark.parametrize("value", ["histogram", "", 7, True, None, b"counter"])
def test_another_type_is_not_known(harness: Make, value: Any) -> None:
    """What is none of the three words is no licence to bill."""
    h = harness()
    h.send(Metrics().sum([Point(0, 110, 1), Point(0, 120, 3)], metadata={"prometheus.type": value}), FMT)
    assert held(h) == [("type_unknown", 2)]


def test_types_are_said_of_counters_alone(harness: Make) -> None:
    """Of a delta, or a sum that may fall, the metadata say nothing."""
    h = harness()
    told = {"prometheus.type": "gauge"}
    h.send(Metrics().sum([Point(100, 110, 5)], temporality=DELTA, metadata=told), FMT)
    assert h.values() == {"acme": "5"}
    request = Metrics().sum([Point(100, 110, 5)], monotonic=False, temporality=DELTA, name="n", metadata=told)
    assert h.send(request, FMT).recorded == 1


def test_otlp_says_nothing_of_it(harness: Make) -> None:
    """In plain OTLP the same fields are ignored: a point's identity, type and writer are what they were."""
    h = harness()
    said = {"prometheus.type": "gauge", "meterline.term": 7}
    h.send(Metrics().sum([Point(0, 110, 100), Point(0, 120, 107)], metadata=said))
    h.send(Metrics().sum([Point(0, 130, 5)], metadata=said | {"meterline.term": 8}))
    assert h.values() == {"acme": "12"}
    h.send(events((ONE, 150, 1), (ONE, 150, 1)))
    assert h.values() == {"acme": "14"}


def test_a_retry_of_a_raw_entry_says_the_same_again(harness: Make) -> None:
    """The entry's body has format, type, term and identity: taken in again it is what it was."""
    h = harness(options=MeterOptions(max_future_ns=0))
    request = series("unknown", (2000, 5), name="late")
    request.message.resource_metrics[0].scope_metrics[0].metrics[0].metadata.add(
        key="meterline.term"
    ).value.int_value = 3
    request.sum([Point(0, 2000, 5, point_id=ONE)], name="event", temporality=DELTA)
    request.gauge([Point(0, 2000, 5)])
    h.send(request, FMT)
    rows = decode_frame(h.frames[0].body).quarantine
    assert {row.format for row in rows} == {"transcoded_metrics"}
    late, event, gauge = (Metrics.message_of(row.payload) for row in rows)
    assert late.metadata == request.message.resource_metrics[0].scope_metrics[0].metrics[0].metadata
    assert late.sum.data_points == request.message.resource_metrics[0].scope_metrics[0].metrics[0].sum.data_points
    assert event.sum.data_points[0].exemplars[0].trace_id == ONE
    assert gauge.gauge.data_points[0].as_int == 5
    again = harness()
    again.received_at = 2000 * SECOND
    for row in rows[:2]:
        again.send(row.payload, Format(row.format))
    again.send(series("unknown", (2010, 8), name="late"), FMT)
    again.send(events((ONE, 2000, 5)).message.SerializeToString(), FMT)
    assert held(again) == [("type_unknown", 3)]


def test_distributions_and_logs_pass_as_in_otlp(harness: Make) -> None:
    """Nothing is told of a histogram; its own identity and tracks are those of OTLP."""
    h = harness(SimpleRule(charge=Charge("", None, None, track=Track.COUNT)))
    for fmt, time in ((FMT, 110), (Format.OTLP_METRICS, 120)):
        request = Metrics()
        metric = request.metric("h")
        put_attributes(metric.metadata, {"prometheus.type": "gauge"})
        metric.histogram.aggregation_temporality = CUMULATIVE
        point = metric.histogram.data_points.add(start_time_unix_nano=100, time_unix_nano=time * SECOND, count=time)
        put_attributes(point.attributes, {"customer.id": "acme"})
        h.send(request, fmt)
    assert h.values() == {"acme": "120"}


# Points with identities of their own


@pytest.mark.parametrize("restart", [None, "frames", "snapshot"])
def test_the_id_is_the_identity(harness: Make, restart: Any) -> None:
    """Two ids with equal time and value both count; the same id again, in another request, does not."""
    h = harness()
    assert h.send(events((ONE, 110, 5), (TWO, 110, 5)), FMT).recorded == 2
    if restart:
        h.restart(restart)
    assert h.send(events((TWO, 110, 5)), FMT).duplicate == 1
    assert h.send(events((ONE, 110, 5.0), (b"3" * 16, 110, 5)), FMT).duplicate == 1
    assert h.values() == {"acme": "15"}


@pytest.mark.parametrize("other", [(ONE, 110, 6), (ONE, 111, 5), (ONE, 109, 5)])
@pytest.mark.parametrize("restart", [None, "frames", "snapshot"])
def test_the_same_id_with_another_value_or_time_is_a_conflict(harness: Make, other: Any, restart: Any) -> None:
    """It is disputed once, under the record id of what was counted first; its resend is a duplicate."""
    h = harness()
    h.send(events((ONE, 110, 5)), FMT)
    assert h.send(events(other), FMT).quarantined == 1
    if restart:
        h.restart(restart)
    assert h.send(events(other), FMT).duplicate == 1
    assert h.send(events((ONE, 110, 5)), FMT).duplicate == 1
    (entry,) = h.quarantine
    (record,) = h.records()
    assert (entry.reason, entry.kind, entry.record_id) == (Reason.CONFLICT, "disputed", record.id)


def test_the_record_id_is_the_documented_one(harness: Make) -> None:
    """The window of such a point is its id alone."""
    h = harness()
    h.send(events((TWO, 110, 5)), FMT)
    (record,) = h.records()
    expected = record_ids.record_id("calls", bytes.fromhex(record.source.stream or ""), b"n" + TWO)
    assert record.id == expected.hex()
    assert record.start_timestamp is None


def test_points_with_ids_need_no_digest(harness: Make) -> None:
    """Only a request with a point that could be anyone's keeps its digest."""
    h = harness()
    h.send(events((ONE, 110, 5), (TWO, 110, 5)), FMT)
    assert h.meter.counters()["digests"] == 0
    body = events((b"3" * 16, 110, 5), (b"", 110, 5))
    h.send(body, FMT)
    assert h.meter.counters()["digests"] == 1
    assert h.send(body, FMT).duplicate == 2


@pytest.mark.parametrize("kind", ["histogram", "exponential_histogram"])
def test_histograms_have_ids_too(harness: Make, kind: str) -> None:
    """Count and sum of one point are told apart from those of another by its id, each on its track."""
    rules = (Track.COUNT, "counts"), (Track.SUM, "sums")
    h = harness(
        *(SimpleRule(name, dimension=name, charge=Charge("", None, None, track=track)) for track, name in rules)
    )
    for names in ((ONE, TWO), (TWO,)):
        request = Metrics()
        data = getattr(request.metric("h"), kind)
        data.aggregation_temporality = DELTA
        for name in names:
            point = data.data_points.add(time_unix_nano=110 * SECOND, count=3, sum=1.5)
            if kind == "exponential_histogram":
                point.zero_count = 3
            point.exemplars.add(trace_id=name)
            put_attributes(point.attributes, {"customer.id": "acme"})
        h.send(request, FMT)
    assert h.values(lambda record: record.rule) == {"counts": "6", "sums": "3"}
    assert h.balance("duplicate") == 1
    assert h.meter.counters()["digests"] == 0


def test_an_id_is_one_streams_own(harness: Make) -> None:
    """The same id on two streams is two points."""
    h = harness()
    request = events((ONE, 110, 5))
    request.sum([Point(0, 110, 5, point_id=ONE)], name="other", temporality=DELTA)
    h.send(request, FMT)
    assert h.values() == {"acme": "10"}


def test_a_window_or_a_counter_needs_no_id(harness: Make) -> None:
    """With a start before its time a delta is told by its window; a reading by its time."""
    h = harness()
    windows = [Point(100, 110, 5, point_id=ONE), Point(110, 120, 5, point_id=ONE)]
    h.send(Metrics().sum(windows, temporality=DELTA), FMT)
    h.send(Metrics().sum([Point(100, 110, 5, point_id=ONE), Point(100, 120, 6, point_id=ONE)], name="c"), FMT)
    assert h.values() == {"acme": "16"}


def test_start_equal_to_time_is_an_instant(harness: Make) -> None:
    """It covers no time either, so its id tells it apart."""
    h = harness()
    for name in (ONE, TWO, ONE):
        h.send(Metrics().sum([Point(110, 110, 5, point_id=name)], temporality=DELTA), FMT)
    assert h.values() == {"acme": "10"}


@pytest.mark.parametrize("name", [b"short", bytes(17), b""])
def test_other_trace_ids_are_no_identities(harness: Make, name: bytes) -> None:
    """An identity has 16 bytes; anything else is an exemplar like any other."""
    h = harness()
    request = Metrics().sum([Point(0, 110, 5)], temporality=DELTA)
    point = request.message.resource_metrics[0].scope_metrics[0].metrics[0].sum.data_points[0]
    point.exemplars.add(trace_id=name)
    point.exemplars.add(trace_id=TWO)
    h.send(request, FMT)
    (record,) = h.records()
    window = record_ids.instant_window(110 * SECOND, 5 * 10**18, 0)
    assert record.id == record_ids.record_id("calls", bytes.fromhex(record.source.stream or ""), window).hex()


def test_an_id_beyond_the_horizon_is_not_guessed_about(harness: Make) -> None:
    """What may have been counted and forgotten is quarantined raw."""
    h = harness(options=MeterOptions(max_dedupe_ids=1))
    h.send(events((ONE, 110, 5), (TWO, 120, 5)), FMT)
    assert h.send(events((b"3" * 16, 105, 5)), FMT).quarantined == 1
    assert h.quarantine[0].reason is Reason.BEYOND_DEDUPE_HORIZON


def test_the_right_to_a_customer_is_asked_first(harness: Make) -> None:
    """A forbidden point is raw, whatever it is told to be, and leaves nothing behind."""
    h = harness()
    other = Principal("other", customers=("globex",))
    for body in (events((ONE, 110, 5)), series("unknown", (110, 1))):
        assert h.send(body, FMT, principal=other).quarantined == 1
    assert h.send(events((ONE, 110, 5)), FMT).recorded == 1


# Rules


def bound(*rules: dict[str, Any]) -> Any:
    """Real rules, as a config has them."""
    made = [RuleConfig.model_validate({"customer": "acme", "dimension": rule["name"], **rule}) for rule in rules]
    names = dict.fromkeys((rule.name for rule in made), 0)
    return RuleSet.compile(made, Path()).bind(Generation(1, names, names))


def test_rules_see_counters_as_sums_and_gauges_as_gauges(harness: Make) -> None:
    """``match: {type: sum}`` leaves alone what is known to be a gauge; only a written ``value`` bills what is not known."""
    h = harness()
    h.rules = bound(
        {"name": "sums", "match": {"metric": "*", "type": "sum"}},
        {"name": "gauges", "match": {"metric": "*", "type": "gauge"}},
        {"name": "written", "match": {"metric": "*"}, "value": "delta"},
    )
    for hint in ("counter", "unknown", "gauge"):
        h.send(series(hint, (110, 1), (120, 3), name=hint), FMT)
    made = {(record.rule, record.value) for record in h.records()}
    assert {rule for rule, _ in made} == {"sums", "written"}
    assert len(h.records()) == 3
    claims = [(entry.rule, entry.reason.code) for entry in h.quarantine]
    assert claims == [("sums", "type_unknown"), ("gauges", "needs_conversion"), ("gauges", "needs_conversion")]
    assert h.balance("claim_quarantined") == 5


def test_a_known_gauge_is_unmatched_by_rules_for_sums(harness: Make) -> None:
    """A rule for every sum of a Prometheus server does not fill the quarantine with its gauges."""
    h = harness()
    h.rules = bound({"name": "sums", "match": {"metric": "*", "type": "sum"}})
    assert h.send(series("gauge", (110, 1)), FMT).unmatched == 1
