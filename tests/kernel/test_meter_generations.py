"""
Rules that change: state goes on, nothing is billed twice, activation is kept where a rule matched without interruption.
"""

from collections.abc import Callable
from typing import Any

import pytest

from meterline.errors import ConfigurationError
from meterline.kernel import load_kernel
from meterline.kernel.seam import Charge
from meterline.testing.kernel import SECOND, KernelHarness
from meterline.testing.otlp import DELTA, Metrics, Point
from meterline.testing.rules import SimpleRule

Make = Callable[..., KernelHarness]
RESTARTS = (None, "frames", "snapshot")


def rule(name: str = "calls", dimension: str = "calls", **fields: Any) -> SimpleRule:
    """A rule with fields of its charge."""
    return SimpleRule(name, dimension=dimension, charge=Charge("", None, None, **fields))


def send(h: KernelHarness, time: float, value: float, **more: Any) -> None:
    """Send one reading of one counter that began at 100."""
    h.send(Metrics().sum([Point(100, time, value)], **more))


def by_dimension(h: KernelHarness) -> dict[str, str]:
    """Sums by dimension."""
    return h.values(lambda record: record.dimension_id)


@pytest.mark.parametrize("how", RESTARTS)
def test_an_edit_bills_nothing_again(harness: Make, how: str | None) -> None:
    """A new dimension takes the stream over where it stands; the old records keep theirs."""
    h = harness(rule())
    send(h, 110, 10)
    h.new_rules(rule(dimension="renamed", since=500 * SECOND))
    if how:
        h.restart(how)
    send(h, 120, 15)
    send(h, 120, 15)
    if how:
        h.restart(how)
    send(h, 130, 17)
    assert by_dimension(h) == {"calls": "10", "renamed": "7"}
    assert h.balance("duplicate") == 1


@pytest.mark.parametrize("how", RESTARTS)
def test_an_interrupted_rule_begins_anew(harness: Make, how: str | None) -> None:
    """A rule whose match changed since the stream was last seen counts from the new instant on; another one goes on."""
    h = harness(rule("a", "a"), rule("b", "b"))
    send(h, 110, 10)
    h.new_rules(
        rule("a", "a", since=125 * SECOND, continuous_from_gen=2),
        rule("b", "b", since=125 * SECOND, continuous_from_gen=1),
    )
    for time, value in ((120, 12), (130, 15), (140, 19)):
        if how:
            h.restart(how)
        send(h, time, value)
    assert by_dimension(h) == {"a": "14", "b": "19"}
    assert [event.detail["quantity"] for event in h.events if event.kind == "before_activation"] == ["2", "3"]


def test_a_new_rule_on_a_known_stream(harness: Make) -> None:
    """A rule that is new on a known stream counts increments whose window begins after it."""
    h = harness(rule("a", "a"))
    send(h, 110, 10)
    h.new_rules(rule("a", "a"), rule("b", "b", since=115 * SECOND, continuous_from_gen=2))
    send(h, 120, 12)
    send(h, 130, 15)
    assert by_dimension(h) == {"a": "15", "b": "3"}


def test_active_from_wins(harness: Make) -> None:
    """A written instant holds for known streams and for deltas too."""
    h = harness(rule())
    send(h, 110, 10)
    h.new_rules(rule(since=120 * SECOND, active_from=True, continuous_from_gen=1))
    send(h, 120, 12)
    send(h, 130, 15)
    assert by_dimension(h) == {"calls": "13"}
    deltas = harness(rule(since=120 * SECOND, active_from=True))
    for time in (119, 120, 121):
        deltas.send(Metrics().sum([Point(time - 1, time, 1)], temporality=DELTA))
    assert by_dimension(deltas) == {"calls": "1"}


def test_ids_of_records_outlive_generations(harness: Make) -> None:
    """The id of a record is of its rule's name and window alone, so an edit of a dimension cannot count a window twice."""
    one, two = harness(rule()), harness(rule(dimension="renamed"))
    send(one, 110, 10)
    send(two, 110, 10)
    assert [record.id for record in one.records()] == [record.id for record in two.records()]


def test_an_unmatched_stream_comes_back(harness: Make) -> None:
    """A stream that no rule matches for a while goes on where it stood."""
    h = harness(rule())
    send(h, 110, 10)
    h.new_rules(SimpleRule("other", "other.*"))
    send(h, 120, 12)
    assert h.balance("unmatched") == 1
    h.new_rules(rule(continuous_from_gen=1))
    send(h, 130, 15)
    assert by_dimension(h) == {"calls": "15"}


def test_meters_are_declared_once(harness: Make) -> None:
    """A hot stream declares one meter a generation, and its rows cost a few bytes."""
    h = harness(rule())
    for k in range(5):
        send(h, 110 + k, 10 + k)
    assert [frame.meters for frame in h.frames] == [1, 0, 0, 0, 0]
    assert not h.frames[1].definitions


def test_only_known_kernels_load(monkeypatch: pytest.MonkeyPatch) -> None:
    """An unknown kernel is an error, never silently another one."""
    monkeypatch.setenv("METERLINE_KERNEL", "natvie")
    with pytest.raises(ConfigurationError, match=r"'natvie'.*python"):
        load_kernel()
    monkeypatch.setenv("METERLINE_KERNEL", "python")
    assert load_kernel().implementation == "python"
