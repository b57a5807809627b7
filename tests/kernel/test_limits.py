"""
Limits of a principal: attributes of what opens a stream, of log records, and new streams a day.
"""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meterline.api.receiver import Limits, Principal
from meterline.encodings.otlp import key_values
from meterline.kernel import canonical, limits
from meterline.kernel.framing import decode_frame
from meterline.kernel.project import attribute_entries
from meterline.kernel.reasons import Reason
from meterline.kernel.seam import Charge, Track
from meterline.testing.kernel import SECOND, KernelHarness, Restart
from meterline.testing.otlp import CUMULATIVE, Logs, Metrics, Point, put_attributes
from meterline.testing.rules import SimpleRule

Make = Callable[..., KernelHarness]

TIGHT = Limits(max_attributes=4, max_key_bytes=12, max_value_bytes=300, max_depth=2)
DAY = 86_400 * SECOND


def principal(allowed: Limits = TIGHT, name: str = "p") -> Principal:
    """A principal with these limits."""
    return Principal(name, limits=allowed)


def points(count: int, time: int = 100, **attributes: Any) -> Metrics:
    """One point of each of so many streams."""
    return Metrics().sum([_point(number, time, attributes) for number in range(count)])


def _point(number: int, time: int, attributes: dict[str, Any]) -> Point:
    return Point(1, time, 5, {"customer.id": "acme", "n": number} | attributes)


OVER = [
    ({"a": 1, "b": 2, "c": 3}, Reason.TOO_MANY_ATTRIBUTES),
    ({"k" * 13: 1}, Reason.KEY_TOO_LONG),
    ({"a": "x" * 301}, Reason.VALUE_TOO_LONG),
    ({"a": b"x" * 301}, Reason.VALUE_TOO_LONG),
    ({"a": ["x" * 150, "x" * 150]}, Reason.VALUE_TOO_LONG),
    ({"a": [[[1]]]}, Reason.TOO_DEEP),
]
FITS: list[dict[str, Any]] = [{"a": 1, "b": 2}, {"k" * 12: 1}, {"a": "x" * 300}, {"a": {"b": [1]}}]
IDS = [f"{number}-{reason.code}" for number, (_, reason) in enumerate(OVER)]


@pytest.mark.parametrize(("attributes", "reason"), OVER, ids=IDS)
def test_a_stream_beyond_a_limit_is_not_opened(harness: Make, attributes: dict[str, Any], reason: Reason) -> None:
    """Its points are raw entries, a resend is a duplicate, and its neighbours pass; others may open it."""
    h = harness()
    body = points(1).sum([_point(0, 100, attributes)], name="n")
    applied = h.send(body, principal=principal())
    assert (applied.recorded, applied.quarantined, applied.reasons) == (1, 1, {reason: 1})
    assert h.send(points(0).sum([_point(0, 100, attributes)], name="n"), principal=principal()).duplicate == 1
    assert h.send(points(0).sum([_point(0, 100, attributes)], name="n"), principal=Principal("q")).recorded == 1


@pytest.mark.parametrize("attributes", FITS, ids=range(len(FITS)))
def test_at_the_limit_it_passes(harness: Make, attributes: dict[str, Any]) -> None:
    """What is exactly as large as allowed is recorded."""
    assert harness().send(points(1, **attributes), principal=principal()).recorded == 1


@pytest.mark.parametrize(("attributes", "reason"), OVER, ids=IDS)
@pytest.mark.parametrize("where", ["resource", "scope"])
def test_resource_and_scope_count_too(harness: Make, where: str, attributes: dict[str, Any], reason: Reason) -> None:
    """A stream whose resource or scope is too large is not opened."""
    h = harness()
    large = attributes | {"d": 1, "e": 2} if reason is Reason.TOO_MANY_ATTRIBUTES else attributes
    body = Metrics(resource=large if where == "resource" else None)
    if where == "scope":
        put_attributes(body.message.resource_metrics[0].scope_metrics[0].scope.attributes, large)
    h.send(body.sum([_point(0, 100, {})]), principal=principal())
    assert [entry.reason for entry in h.quarantine] == [reason]


def test_a_known_stream_goes_on(harness: Make) -> None:
    """A stream that somebody opened is not looked at again."""
    h = harness()
    h.send(points(1, a="x" * 301))
    assert h.send(points(1, 200, a="x" * 301), principal=principal()).no_usage == 1


def rule() -> SimpleRule:
    """A rule on logs, told apart by event.id."""
    return SimpleRule("r", None, dimension="d", charge=Charge("", None, None, identity=("attributes", "event.id")))


@pytest.mark.parametrize(("attributes", "reason"), OVER, ids=IDS)
def test_log_records(harness: Make, attributes: dict[str, Any], reason: Reason) -> None:
    """A record whose attributes are too large is a raw entry; its neighbour passes."""
    h = harness(rule())
    fine = {"customer.id": "acme", "event.id": 1}
    body = Logs().record(100, "a", fine).record(100, "b", fine | {"event.id": 2} | attributes)
    applied = h.logs(body, principal=principal())
    assert (applied.recorded, applied.reasons) == (1, {reason: 1})


@pytest.mark.parametrize(("attributes", "reason"), OVER, ids=IDS)
@pytest.mark.parametrize("where", ["resource", "scope"])
def test_resource_and_scope_of_logs_count_too(
    harness: Make, where: str, attributes: dict[str, Any], reason: Reason
) -> None:
    """Records whose resource or scope is too large are raw entries, however small they are themselves."""
    h = harness(rule())
    body = Logs()
    around = body.message.resource_logs[0]
    large = attributes | {"d": 1, "e": 2} if reason is Reason.TOO_MANY_ATTRIBUTES else attributes
    put_attributes((around.resource if where == "resource" else around.scope_logs[0].scope).attributes, large)
    body.record(100, "a", {"customer.id": "acme", "event.id": 1})
    applied = h.logs(body, principal=principal())
    assert (applied.recorded, applied.reasons) == (0, {reason: 1})


def test_of_a_log_body_only_the_depth_counts(harness: Make) -> None:
    """A long body passes, a deep one does not."""
    h = harness(rule())
    body = Logs()
    for number, content in enumerate(["x" * 10_000, {"a": {"b": "x" * 9000}}, {"a": [[1]]}]):
        body.record(100, content, {"customer.id": "acme", "event.id": number})
    applied = h.logs(body, principal=principal())
    assert (applied.recorded, applied.reasons) == (2, {Reason.TOO_DEEP: 1})


def test_defaults_do_not_hinder_usual_senders(harness: Make) -> None:
    """128 attributes, keys of 256 bytes and values of 4,096 pass by default, one more does not."""
    many = {f"k{number}": number for number in range(126)}
    h = harness()
    assert h.send(points(1, **many)).recorded == 1
    assert h.send(points(1, **many, one=1)).reasons == {Reason.TOO_MANY_ATTRIBUTES: 1}
    assert h.send(points(1, **{"k" * 256: "v" * 4096})).recorded == 1
    assert h.send(points(1, **{"k" * 257: 1})).reasons == {Reason.KEY_TOO_LONG: 1}
    assert h.send(points(1, v="v" * 4097)).reasons == {Reason.VALUE_TOO_LONG: 1}


# New streams


def few(most: int = 5, name: str = "p") -> Principal:
    """A principal who may open so many streams a day."""
    return principal(Limits(max_streams=most), name)


@pytest.mark.parametrize("how", ["frames", "snapshot", None])
def test_new_streams_of_a_day(harness: Make, how: Restart | None) -> None:
    """Beyond the limit new streams are refused, known ones go on, a restart changes nothing, and the next day is free."""
    h = harness()
    assert h.send(points(3), principal=few()).recorded == 3
    if how:
        h.restart(how)
    applied = h.send(points(8), principal=few())
    assert (applied.recorded, applied.duplicate + applied.no_usage, applied.quarantined) == (2, 3, 3)
    assert applied.reasons == {Reason.TOO_MANY_STREAMS: 3}
    if how:
        h.restart(how)
    assert h.send(points(9, 101), principal=few()).quarantined == 4
    h.received_at += DAY
    assert h.send(points(9, 102), principal=few()).quarantined == 0


def test_keys_of_one_name_share_the_count(harness: Make) -> None:
    """The count is of the principal's name, not of its key; another name has its own."""
    h = harness()
    assert h.send(points(5), principal=few()).quarantined == 0
    renewed = Principal("p", customers=("acme",), limits=Limits(max_streams=5))
    assert h.send(points(6), principal=renewed).quarantined == 1
    assert h.send(points(6), principal=few(name="q")).recorded == 1


def test_histograms_count_once(harness: Make) -> None:
    """A stream of which count and sum are metered is one stream."""
    rules = [
        SimpleRule(track.name, dimension=track.name, charge=Charge("", None, None, track=track))
        for track in (Track.COUNT, Track.SUM)
    ]
    h = harness(*rules)
    body = Metrics()
    data = body.metric("h").histogram
    data.aggregation_temporality = CUMULATIVE
    for number in range(7):
        times = {"start_time_unix_nano": SECOND, "time_unix_nano": 100 * SECOND}
        point = data.data_points.add(count=1, sum=2.5, **times)
        put_attributes(point.attributes, {"customer.id": "acme", "n": number})
    applied = h.send(body, principal=few())
    assert (applied.recorded, applied.quarantined, _counts(h)) == (5, 2, {"p": 5})


def test_rollback_gives_room_again(harness: Make) -> None:
    """Streams of an undone frame are not counted."""
    h = harness()
    h.send(points(2), principal=few())
    h.send(points(5), principal=few(), commit=False)
    h.meter.rollback(2)
    assert _counts(h) == {"p": 2}
    assert h.send(points(5), principal=few()).recorded == 3


def test_one_by_one(harness: Make) -> None:
    """Streams that take the slow way are counted and refused likewise."""
    h = harness()
    body = Metrics().sum([Point(0, 100, 5, {"customer.id": "acme", "n": number}) for number in range(7)])
    applied = h.send(body, principal=few())
    assert (applied.no_usage, applied.quarantined) == (5, 2)
    assert _counts(h) == {"p": 5}
    assert sum(count for frame in h.frames for _, count in decode_frame(frame.body).streams) == 5


def test_streams_that_come_back_are_not_new(harness: Make) -> None:
    """What returns from the idle table needs no room."""
    h = harness()
    h.send(points(5), principal=few())
    assert h.evict(10 * DAY) == 5
    assert h.send(points(5, 101), principal=few()).quarantined == 0
    assert _counts(h) == {"p": 5}


def _counts(h: KernelHarness) -> dict[str, int]:
    meter: Any = h.meter
    return {name: count for name, (_, count) in meter._core.new_streams.counts.items()}


@given(
    counts=st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), max_size=5), st.integers(0, 2**40)),
    day=st.integers(0, 30_000),
)
def test_counts_survive_as_bytes(counts: dict[str, int], day: int) -> None:
    """What is encoded is restored; days before the latest are dropped."""
    kept, again = limits.NewStreams(), limits.NewStreams()
    for name, count in counts.items():
        kept.add(name, day * DAY, count)
    kept.add("yesterday's", (day - 1) * DAY, 1) if day and counts else None
    again.restore(kept.encode())
    assert again.counts == {name: (day, count) for name, count in counts.items()}


_VALUES: Any = st.recursive(
    st.text(max_size=8) | st.integers(-5, 5) | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@given(
    attributes=st.dictionaries(st.text(max_size=6), _VALUES, max_size=6),
    allowed=st.builds(
        Limits,
        max_attributes=st.integers(1, 8),
        max_key_bytes=st.integers(1, 40),
        max_value_bytes=st.integers(1, 60),
        max_depth=st.integers(1, 5),
    ),
)
def test_what_is_small_exceeds_nothing(attributes: dict[str, Any], allowed: Limits) -> None:
    """The shortcut by the size of entries says what the careful look says."""
    entries = attribute_entries(key_values(7, attributes))
    assert limits.over(entries, allowed, limits.small(allowed)) == limits.extent(entries).over(allowed)


@pytest.mark.parametrize(("value", "depth"), [(1, 0), ([], 1), ({"a": [1]}, 2), ([[], [[1]]], 3)])
def test_nesting(value: Any, depth: int) -> None:
    """The deepest way down counts."""
    assert limits.nesting(value) == depth
    assert canonical.MAX_DEPTH == 64
