"""
Streams that leave memory and come back, bounds on what is resident, and what is asked of the rules only once.
"""

from collections.abc import Callable

from meterline.kernel.seam import MeterOptions
from meterline.testing.kernel import SECOND, KernelHarness
from meterline.testing.otlp import Metrics, Point
from meterline.testing.rules import SimpleRule

Make = Callable[..., KernelHarness]

DAY = 86_400 * SECOND


def send(h: KernelHarness, time: int, value: int, pods: int = 1, **more: bool) -> None:
    """Send one reading of so many streams."""
    h.send(Metrics().sum([Point(100, time, value, {"customer.id": "acme", "pod": pod}) for pod in range(pods)]), **more)


def test_idle_streams_leave_and_return(harness: Make) -> None:
    """A stream without points for a day leaves with a frame; back, it goes on, also after restarts in between."""
    h = harness()
    send(h, 110, 5, pods=3)
    assert h.evict(110 * SECOND + DAY - 1) == 0
    assert h.evict(110 * SECOND + DAY) == 3
    assert (h.meter.streams, len(h.idle)) == (0, 3)
    for how in ("frames", "snapshot"):
        h.restart(how)
        assert h.meter.streams == 0
    send(h, 120, 9, pods=2)
    assert (h.meter.streams, len(h.idle)) == (2, 1)
    h.restart("frames")
    send(h, 120, 9, pods=3)
    assert h.values() == {"acme": "27"}


def test_return_before_the_commit(harness: Make) -> None:
    """A stream that returns while the frame that evicts it is not committed never lost its state."""
    h = harness()
    send(h, 110, 5)
    rows = h.meter.evict(110 * SECOND + 2 * DAY, 10)
    evicting = h.meter.seal()
    assert evicting is not None
    send(h, 120, 9, commit=False)
    assert [bytes(key) for key, _ in rows] == list(h.meter.unidled())
    returning = h.meter.seal()
    assert returning is not None
    for frame in (evicting, returning):
        h.names.add(frame)
        h.frames.append(frame)
        h.meter.committed(frame.seq)
    assert h.values() == {"acme": "9"}


def test_the_bound_on_resident_streams(harness: Make) -> None:
    """More streams than fit leave oldest first; nothing is billed twice when they return."""
    h = harness(options=MeterOptions(max_resident_streams=5))
    for pod in range(10):
        point = Point(100, 110 + pod, 5, {"customer.id": "acme", "pod": pod})
        h.send(Metrics().sum([point]))
    left = 0
    for _ in range(20):
        left += h.evict(h.received_at + 3600 * SECOND)
    assert (left, h.meter.streams) == (5, 5)
    send(h, 130, 7, pods=10)
    assert h.values() == {"acme": "70"}


def test_late_points_keep_a_stream(harness: Make) -> None:
    """A stream that is filled with old points is not idle."""
    h = harness()
    h.received_at = 10 * DAY
    send(h, 110, 5)
    assert h.evict(10 * DAY + SECOND) == 0
    assert h.evict(11 * DAY + SECOND) == 1


def test_rules_are_asked_once_a_projection(harness: Make) -> None:
    """Streams with the same values at the fields that rules read share one answer; a known stream asks nothing."""
    h = harness()
    send(h, 110, 5, pods=50)
    asked = h.rules.asked
    send(h, 120, 6, pods=50)
    assert asked == h.rules.asked == 2


def test_memory_of_unmatched_points_is_bounded(harness: Make) -> None:
    """What nothing matches is remembered for a while only."""
    h = harness(SimpleRule(when=lambda values: False), options=MeterOptions(max_cached_shapes=10))
    send(h, 110, 5, pods=200)
    assert h.balance("unmatched") == 200
    assert h.meter.counters()["cached_shapes"] <= 10
    assert h.meter.streams == 0


def test_a_snapshot_follows_what_changed(harness: Make) -> None:
    """After the first round only chunks that were touched are encoded again; what is gone is dropped."""
    h = harness()
    send(h, 110, 5, pods=5000)
    h.snapshot()
    first = {number: chunk.body for number, chunk in h.chunks.items()}
    send(h, 120, 6)
    part = h.meter.snapshot(1 << 30)
    assert [chunk.id for chunk in part.chunks if chunk.id < 1 << 40] == [0]
    assert set(part.unchanged) == {number for number in first if 0 < number < 1 << 40}
    assert part.complete
    for _ in range(10):
        h.evict(110 * SECOND + 2 * DAY, 10_000)
    h.snapshot()
    assert not [number for number in h.chunks if number < 1 << 40]
