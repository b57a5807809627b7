"""
What retention keeps of a frame that has open quarantine entries.
"""

from collections.abc import Callable

from meterline.kernel.framing import decode_frame
from meterline.kernel.seam import StoredFrame
from meterline.testing.kernel import KernelHarness
from meterline.testing.otlp import Metrics, Point


def test_a_stripped_frame_is_its_quarantine_alone(harness: Callable[..., KernelHarness]) -> None:
    """Every quarantined point survives with its payload, its sender and its rule; nothing is billable any more."""
    h = harness()
    good = [Point(100, 110, 7, {"customer.id": "acme", "k": str(i)}) for i in range(50)]
    bad = [Point(100, 110, float("nan"), {"customer.id": "acme"}), Point(100, 110, 5, {"other": "x"})]
    assert (h.send(bytes(Metrics().sum([*good, *bad]))).quarantined, len(h.records())) == (2, 50)
    frame = h.frames[-1]

    kept = h.kernel.strip(StoredFrame(frame.seq, frame.gen, frame.body, b""))

    before, after = decode_frame(frame.body), decode_frame(kept)
    assert list(after.quarantine) == list(before.quarantine)
    assert (list(after.sources), list(after.charges)) == (list(before.sources), list(before.charges))
    assert (after.seq, after.gen, after.received_at) == (before.seq, before.gen, before.received_at)
    assert len(h.kernel.records(kept, h.names)) == 0
    assert len(kept) < len(frame.body)
