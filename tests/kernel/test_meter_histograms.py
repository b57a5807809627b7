"""
Resets of cumulative histograms, exponential histograms and summaries: the count is the witness, for the sum too (otlp.md C5.3).
"""

from collections.abc import Callable
from typing import Any, Literal

import pytest

from meterline.kernel.reasons import Reason
from meterline.kernel.seam import Charge, Track
from meterline.kernel.steps import cumulative
from meterline.quantity import AMOUNT_ONE
from meterline.testing.kernel import SECOND, KernelHarness
from meterline.testing.otlp import CUMULATIVE, Metrics, put_attributes
from meterline.testing.rules import SimpleRule

Make = Callable[..., KernelHarness]
Kind = Literal["histogram", "exponential_histogram", "summary"]
Disturb = Callable[[KernelHarness, Metrics], Any]

KINDS: tuple[Kind, ...] = ("histogram", "exponential_histogram", "summary")
SUM = SimpleRule("sum", dimension="sum", charge=Charge("", None, None, track=Track.SUM))
COUNT = SimpleRule("count", dimension="count", charge=Charge("", None, None, track=Track.COUNT))


def request(kind: Kind, start: int, time: int, count: int, total: float) -> Metrics:
    """A request with one point of acme, without buckets."""
    made = Metrics()
    data = getattr(made.metric("h"), kind)
    if kind != "summary":
        data.aggregation_temporality = CUMULATIVE
    times = {"start_time_unix_nano": start * SECOND, "time_unix_nano": time * SECOND}
    point = data.data_points.add(count=count, sum=total, **times)
    if kind == "exponential_histogram":
        point.zero_count = count
    put_attributes(point.attributes, {"customer.id": "acme"})
    return made


def evicted(h: KernelHarness, _: Metrics) -> None:
    """Move all streams to the idle table."""
    h.evict(10**18 + len(h.frames) * 10**15)  # later than the return of any stream
    assert h.idle or not h.records()


def rolled_back(h: KernelHarness, body: Metrics) -> None:
    """Take the point, and take it back."""
    h.send(body, commit=False)
    h.meter.rollback(len(h.frames) + 1)


DISTURBANCES: dict[str, Disturb] = {
    "nothing": lambda _h, _: None,
    "frames": lambda h, _: h.restart("frames"),
    "snapshot": lambda h, _: h.restart("snapshot"),
    "idle": evicted,
    "rollback": rolled_back,
}


@pytest.fixture(params=DISTURBANCES)
def disturb(request: pytest.FixtureRequest) -> Disturb:
    """What comes before each point, and must change nothing."""
    return DISTURBANCES[request.param]


def play(h: KernelHarness, disturb: Disturb, kind: Kind, points: list[tuple[int, int, int, float]]) -> None:
    """Send points one by one."""
    for point in points:
        body = request(kind, *point)
        disturb(h, body)
        h.send(body)


def values(h: KernelHarness) -> dict[Any, str]:
    """What was billed, by track."""
    return h.values(lambda record: record.dimension_id)


@pytest.mark.parametrize("kind", KINDS)
def test_a_count_that_falls_without_start_is_a_reset_of_the_sum(harness: Make, disturb: Disturb, kind: Kind) -> None:
    """The sum passed its old value after the restart: all of it is usage, and what follows is an increment again."""
    h = harness(SUM, COUNT)
    play(h, disturb, kind, [(0, 110, 100, 10), (0, 120, 3, 50), (0, 130, 4, 50.5)])
    assert values(h) == {"sum": "50.5", "count": "4"}
    assert [event.kind for event in h.events].count("inferred_reset") == 2


@pytest.mark.parametrize("kind", KINDS)
def test_a_count_that_falls_under_its_start_disputes_the_sum(harness: Make, disturb: Disturb, kind: Kind) -> None:
    """Both increments are in dispute, and both baselines are new."""
    h = harness(SUM, COUNT)
    play(h, disturb, kind, [(100, 110, 100, 10), (100, 120, 3, 50), (100, 130, 4, 50.5)])
    assert values(h) == {"sum": "10.5", "count": "101"}
    assert [entry.reason for entry in h.quarantine] == [Reason.DECREASE] * 2
    assert sorted(entry.quantity for entry in h.quarantine) == [3 * AMOUNT_ONE, 50 * AMOUNT_ONE]


def test_the_sum_alone_has_its_witness(harness: Make, disturb: Disturb) -> None:
    """No rule bills the count: the sum knows it all the same."""
    h = harness(SUM)
    play(h, disturb, "histogram", [(0, 110, 100, 10), (0, 120, 3, 10), (0, 130, 2, 10)])
    assert values(h) == {"sum": "20"}


def test_a_late_point_is_no_reset(harness: Make, disturb: Disturb) -> None:
    """An older count is smaller, and says nothing; nor does it replace the witness."""
    h = harness(SUM)
    play(h, disturb, "histogram", [(100, 110, 10, 10), (100, 130, 30, 30), (100, 120, 2, 40), (100, 140, 29, 50)])
    assert values(h) == {"sum": "30"}
    assert [(entry.reason, entry.quantity) for entry in h.quarantine] == [(Reason.DECREASE, 50 * AMOUNT_ONE)]
    h.send(request("histogram", 100, 140, 29, 50))
    assert h.balance("duplicate") == 1


def test_a_true_reset_keeps_the_witness_of_each_epoch(harness: Make, disturb: Disturb) -> None:
    """A new start begins with a smaller count, and a late point of the old epoch with a larger one: neither is a decrease."""
    h = harness(SUM)
    play(h, disturb, "histogram", [(100, 110, 90, 10), (125, 130, 4, 50), (100, 120, 95, 12), (125, 140, 5, 51)])
    assert values(h) == {"sum": "63"}
    assert not h.quarantine


def test_a_sum_that_falls_alone_is_a_reset_too(harness: Make, disturb: Disturb) -> None:
    """So many observations came after the restart that the count passed its old value."""
    h = harness(SUM)
    play(h, disturb, "histogram", [(0, 110, 100, 1000), (0, 120, 150, 15)])
    assert values(h) == {"sum": "15"}


def test_a_state_without_witness_gets_one() -> None:
    """What an older version wrote is read as it is, and takes the witness of its next reading."""
    old = cumulative.State((cumulative.Epoch(0, 5, 5, 7),))
    assert cumulative.decode(cumulative.encode(old)) == old
    found, after = cumulative.step_witnessed(old, (0, 6, 9), 3)
    assert (found.quantity, after.epochs[0].witness) == (2, 3)
    assert cumulative.decode(cumulative.encode(after)) == after
    assert cumulative.to_fast(after) is None
