"""
What the writer does beside answering: totals about once a second, snapshots in parts, eviction of idle streams, retention.
"""

from collections.abc import Sequence

from meterline.clock import Clock
from meterline.kernel.seam import Kernel, Meter, SnapshotPart, TotalRow
from meterline.ledger.ledger import Ledger
from meterline.ledger.model import CommitGroup

FLUSH_SECS = 1.0
FLUSH_SHARE = 20  # a flush may take a twentieth of the time, so that many customers stretch its period
EVICT_SECS = 1.0
EVICT_LIMIT = 2_000
MAINTAIN_SECS = 1.0
SNAPSHOT_PART_BYTES = 262_144
SNAPSHOT_STREAMS_SHARE = 4  # points between snapshots per resident stream: encoding a slot costs about a microsecond


class Chores:
    """
    Pure pacing; everything it starts is stored by the writer's next commit, whole or not at all.
    """

    def __init__(self, kernel: Kernel, meter: Meter, ledger: Ledger, clock: Clock) -> None:
        self._kernel = kernel
        self._meter = meter
        self._ledger = ledger
        self._clock = clock
        self._snapshot_points = ledger.options.snapshot_points
        self.snapshot: SnapshotPart | None = None
        self._snapshotting = False
        self._points = 0
        self._flush_at = self._evict_at = self._maintain_at = 0.0
        self._flushed_at: float | None = None

    @property
    def busy(self) -> bool:
        """
        Say whether a snapshot waits for its next part: the writer should not sleep.
        """
        return self.snapshot is not None

    def totals(self, now: float, *, final: bool) -> Sequence[TotalRow] | None:
        """
        Return increments to flush with this commit, or None when it is too early or there are none.
        """
        if now < self._flush_at and not final:
            return None
        self._flushed_at = now
        self._flush_at = now + FLUSH_SECS
        return self._meter.totals() or None

    def evict(self, now: float) -> Sequence[tuple[bytes, bytes]]:
        """
        Return streams that leave memory with this commit.
        """
        if now < self._evict_at:
            return ()
        idled = self._meter.evict(self._clock.now_ns(), EVICT_LIMIT)
        self._evict_at = now if len(idled) == EVICT_LIMIT else now + EVICT_SECS
        return idled

    def stored(self, group: CommitGroup) -> None:
        """
        Take note of what a commit has stored.
        """
        if group.totals is not None and self._flushed_at is not None:
            self._flush_at += FLUSH_SHARE * (self._clock.monotonic() - self._flushed_at)
        if group.frame is not None:
            self._points += group.frame.points
        if group.snapshot is not None:
            self._snapshotting = not group.snapshot.complete
            self.snapshot = None

    def undone(self) -> None:
        """
        A commit failed: a part of a snapshot that it held is taken again.
        """
        self._flush_at = self._evict_at = 0.0

    def after_commit(self, now: float) -> None:
        """
        Take the next part of a snapshot; let the ledger move its log into its file, and drop what it need not keep.
        """
        due = max(self._snapshot_points, SNAPSHOT_STREAMS_SHARE * self._meter.streams)
        if not self._snapshotting and self._points >= due:
            self._snapshotting, self._points = True, 0
        if self._snapshotting and self.snapshot is None:
            self.snapshot = self._meter.snapshot(SNAPSHOT_PART_BYTES)
        self._ledger.checkpoint()
        if now >= self._maintain_at:
            more = self._ledger.maintain(self._clock.now_ns(), self._kernel.strip)
            self._maintain_at = now if more else now + MAINTAIN_SECS
