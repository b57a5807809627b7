"""
The vectors T1-T14 of otlp.md C9 through the seam, also with a restart before every point. Times are in seconds.
"""

from collections.abc import Callable

import pytest

from meterline.kernel.reasons import Reason
from meterline.kernel.seam import Charge
from meterline.testing.kernel import SECOND, KernelHarness
from meterline.testing.otlp import Metrics, Point
from meterline.testing.rules import SimpleRule

Make = Callable[..., KernelHarness]

VECTORS = {
    "T1": (50, [(100, 110, 5), (100, 120, 9), (100, 130, 9)], [5, 4, 0], {}),
    "T2": (200, [(100, 210, 500), (100, 220, 507)], [0, 7], {}),
    "T3 retry": (50, [(100, 110, 5), (100, 110, 5), (100, 120, 9)], [5, 0, 4], {}),
    "T4 late": (50, [(100, 110, 10), (100, 130, 30), (100, 120, 20), (100, 140, 40)], [10, 20, 0, 10], {}),
    "T5 reset": (50, [(100, 110, 10), (100, 120, 30), (125, 130, 4), (125, 140, 6)], [10, 20, 4, 2], {}),
    "T6 cron": (50, [(100, 101, 1), (200, 201, 1), (300, 301, 1)], [1, 1, 1], {}),
    "T7 late after reset": (50, [(100, 110, 10), (125, 130, 4), (100, 120, 30)], [10, 4, 20], {}),
    "T8 no start": (50, [(0, 110, 1000), (0, 120, 1010), (0, 130, 3), (0, 140, 5)], [0, 10, 3, 2], {}),
    "T9 zero-width first": (50, [(100, 100, 500), (100, 110, 510)], [0, 10], {}),
    "T10 decrease": (50, [(100, 110, 100), (100, 120, 40), (100, 130, 45)], [100, 0, 5], {Reason.DECREASE: 40}),
    "T11 overlap": (50, [(100, 110, 10), (105, 111, 3)], [10, 0], {Reason.OVERLAP: 3}),
    "T11 goes on": (
        50,
        [(100, 110, 10), (105, 111, 3), (100, 120, 15)],
        [10, 0, 5],
        {Reason.OVERLAP: 3},
    ),
    "T12 old epoch late": (50, [(200, 210, 5), (100, 150, 7)], [5, 7], {}),
    "T14 gap": (50, [(100, 110, 5), (100, 150, 25)], [5, 20], {}),
}
RESTARTS = (None, "frames", "snapshot")


def run(harness: KernelHarness, points: list[tuple[int, int, float]], restart: str | None) -> list[str]:
    """Send the points one by one; return what each was billed."""
    billed = []
    for start, time, value in points:
        if restart and harness.frames:
            harness.restart(restart)
        before = harness.values().get("acme", "0")
        harness.send(Metrics().sum([Point(start, time, value)]))
        after = harness.values().get("acme", "0")
        billed.append(float(after) - float(before))
    return billed


@pytest.mark.parametrize("restart", RESTARTS)
@pytest.mark.parametrize("kind", [int, float])
@pytest.mark.parametrize("name", VECTORS)
def test_vector(harness: Make, name: str, kind: type, restart: str | None) -> None:
    """Each vector bills what otlp.md says, int or double, whenever the process restarts."""
    since, points, usage, disputed = VECTORS[name]
    h = harness(SimpleRule(charge=Charge("", None, None, since=since * SECOND)))
    assert run(h, [(s, t, kind(v)) for s, t, v in points], restart) == usage
    assert {e.reason: e.quantity // 10**18 for e in h.quarantine} == disputed


@pytest.mark.parametrize("restart", RESTARTS)
def test_t13(harness: Make, restart: str | None) -> None:
    """T13: four invalid points, four reasons, and the stream is not touched."""
    h = harness()
    points = [(120, 110, 5), (100, 0, 5), (100, 110, float("nan")), (100, 110, -1)]
    assert run(h, points, restart) == [0, 0, 0, 0]
    assert [e.reason for e in h.quarantine] == [
        Reason.START_AFTER_TIME,
        Reason.TIME_MISSING,
        Reason.NOT_A_NUMBER,
        Reason.NEGATIVE_VALUE,
    ]
    assert run(h, [(100, 110, 7)], restart) == [7]


def test_t8_flags_the_reset(harness: Make) -> None:
    """A reset that had to be inferred is an event."""
    h = harness()
    run(h, VECTORS["T8 no start"][1], None)
    assert "inferred_reset" in [event.kind for event in h.events]
    assert "baseline" in [event.kind for event in h.events]


def test_t2_tells_what_it_skipped(harness: Make) -> None:
    """What lies before the activation is an event with its quantity."""
    h = harness(SimpleRule(charge=Charge("", None, None, since=200 * SECOND)))
    run(h, VECTORS["T2"][1], None)
    (event,) = [event for event in h.events if event.kind == "before_activation"]
    assert event.detail["quantity"] == "500"
