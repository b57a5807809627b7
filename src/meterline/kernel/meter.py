"""
The Python meter: the seam's ``Meter`` put together from its parts.
"""

import threading
from collections.abc import Iterable, Mapping, Sequence

from meterline.api.receiver import Format, ItemResult, Principal
from meterline.errors import UndecodableError
from meterline.kernel import canonical
from meterline.kernel.apply import apply_batch
from meterline.kernel.batch import PythonBatch
from meterline.kernel.core import Call, Claims, Core, Source
from meterline.kernel.decoding import decode
from meterline.kernel.frame_open import OpenFrame
from meterline.kernel.idle import Idle
from meterline.kernel.persist import Profiles
from meterline.kernel.plan import PythonPlan
from meterline.kernel.raw import add_raw, close_key
from meterline.kernel.reasons import Reason
from meterline.kernel.restore import Restore
from meterline.kernel.seam import (
    Applied,
    Batch,
    Chunk,
    ContextVerdict,
    Frame,
    MeterOptions,
    RestoreReport,
    SnapshotPart,
    StoredFrame,
    TotalRow,
    Unknown,
    Verdict,
)
from meterline.kernel.snapshot import Snapshots


class PythonMeter:
    """
    The state of all streams. See ``meterline.kernel.seam.Meter`` for the contract of each method.
    """

    def __init__(self, options: MeterOptions) -> None:
        """
        Make an empty meter.
        """
        self._core = Core(options)
        self._profiles = Profiles()
        self._idle = Idle(self._core, self._profiles)
        self._snapshots = Snapshots(self._core)
        self._sealed: list[OpenFrame] = []
        self._sources: list[Source] = []
        self._source_ids: dict[tuple[str, Principal], int] = {}
        self._source_lock = threading.Lock()

    def source(self, receiver: str, principal: Principal) -> int:
        """
        Return the index of (receiver, principal); any thread.
        """
        found = self._source_ids.get((receiver, principal))
        if found is not None:
            return found
        with self._source_lock:
            if (receiver, principal) not in self._source_ids:
                self._sources.append(Source(receiver, principal))
                self._source_ids[receiver, principal] = len(self._sources) - 1
            return self._source_ids[receiver, principal]

    def resolve(self, batch: Batch) -> Unknown | None:
        """
        Bind the batch; None: it can be applied. Any thread.
        """
        return self._core.table.resolve(_own(batch))

    def learn(self, gen: int, got: Sequence[tuple[int, ContextVerdict | Verdict]]) -> None:
        """
        Take the answers to contexts and shapes; those of another generation are of no use.
        """
        self._core.table.learn((id_, verdict) for id_, verdict in got if verdict.gen == gen)

    def decide(self, batch: Batch, masks: Sequence[tuple[int, int, int]]) -> None:
        """
        Take the answers to points.
        """
        _own(batch).decisions.update({point: (holds, erred) for point, holds, erred in masks})

    def load(self, keys: Sequence[bytes], rows: Sequence[bytes]) -> None:
        """
        Bring idle streams back.
        """
        self._idle.load(keys, rows)

    def unidled(self) -> Sequence[bytes]:
        """
        Return the keys loaded since the last seal.
        """
        return self._idle.unidled()

    def evict(self, now: int, limit: int) -> Sequence[tuple[bytes, bytes]]:
        """
        Take idle streams out of memory.
        """
        return self._idle.evict(now, limit)

    def apply(self, batch: Batch, received_at: int, source: int) -> Applied | None:
        """
        Step all points.
        """
        return apply_batch(self._core, _own(batch), received_at, self._sources[source])

    def quarantine_body(self, body: bytes, fmt: Format, received_at: int, source: int, detail: str) -> Applied:
        """
        Quarantine a whole body; its points count as quarantined, or as duplicates when it is in quarantine already.
        """
        call = Call(self._sources[source], received_at, self._core.options)
        call.points = points = _count(body, fmt)
        key = canonical.digest(b"meterline.body.1", fmt.value.encode(), call.source.principal.encode(), body)
        balance = self._core.opened(received_at).balance
        claims = Claims()
        if key in self._core.open_raw:
            claims.duplicate = 1
        else:
            claims.quarantined = 1
            add_raw(self._core, call, (key, Reason.INTERNAL_ERROR, "", b"", received_at, fmt.value, body, detail))
        self._core.close_point(call, claims)
        rest = points - 1
        balance.received += rest
        balance.quarantined += rest * claims.quarantined
        balance.duplicate += rest * claims.duplicate
        call.quarantined, call.duplicate = points * claims.quarantined, points * claims.duplicate
        if fmt is Format.USAGE:
            call.items = [ItemResult("quarantined", reason=Reason.INTERNAL_ERROR.code)] * points
        return call.applied()

    def seal(self) -> Frame | None:
        """
        Close the open frame.
        """
        core = self._core
        frame = core.frame
        if frame is None or frame.empty:
            return None
        core.ids.trim(frame.received_at)
        core.digests.trim(frame.received_at)
        sealed = frame.seal((core.ids.cutoff, core.digests.cutoff))
        core.frame = None
        core.next_seq = frame.seq + 1
        core.next_meter = frame.next_meter
        self._sealed.append(frame)
        return sealed

    def committed(self, seq: int) -> None:
        """
        Drop the undo of all frames up to this one.
        """
        core = self._core
        done = [frame for frame in self._sealed if frame.seq <= seq]
        self._sealed = self._sealed[len(done) :]
        following = self._sealed[0] if self._sealed else core.frame
        marks = following.marks if following else (core.ids.mark(), core.digests.mark())
        core.ids.committed(marks[0])
        core.digests.committed(marks[1])
        self._idle.committed(seq)
        for frame in done:
            core.table.idle += len(frame.evicted) - len(frame.loaded)
        self._snapshots.committed(seq)

    def rollback(self, seq: int) -> None:
        """
        Undo the open frame and every sealed one from ``seq`` on.
        """
        core = self._core
        if core.frame is not None:
            self._undo(core.frame)
            core.frame = None
        while self._sealed and self._sealed[-1].seq >= seq:
            frame = self._sealed.pop()
            self._undo(frame)
        core.next_seq = seq
        self._idle.forget_unidled()

    def _undo(self, frame: OpenFrame) -> None:
        core = self._core
        for undo, *arguments in reversed(frame.ops):
            undo(core, *arguments)
        for key in frame.opened:
            close_key(core, key)
        core.ids.rollback(frame.marks[0])
        core.digests.rollback(frame.marks[1])
        core.tallies.put_back(frame.flushed)
        core.next_meter = frame.first_meter

    def totals(self) -> Sequence[TotalRow]:
        """
        Return and clear what was added to the totals since the last call.
        """
        core = self._core
        rows = core.tallies.take()
        if rows:
            core.opened().flushed += rows
        return rows

    def snapshot(self, max_bytes: int) -> SnapshotPart:
        """
        Encode the next dirty chunks.
        """
        return self._snapshots.part(max_bytes)

    def restore(
        self,
        chunks: Iterable[Chunk],
        frames: Iterable[StoredFrame],
        open_raw: Iterable[bytes],
        idle: int,
        next_meter: int,
    ) -> RestoreReport:
        """
        Fill an empty meter.
        """
        report = Restore(self._core, self._profiles).run(chunks, frames, open_raw, idle, next_meter)
        self._snapshots.restored(report.last_seq)
        return report

    @property
    def streams(self) -> int:
        """
        Return the number of resident streams.
        """
        return len(self._core.table.slots) - len(self._core.table.unloaded)

    def counters(self) -> Mapping[str, int]:
        """
        Return sizes for telemetry.
        """
        core = self._core
        return {
            "resident_streams": self.streams,
            "idle_streams": core.table.idle,
            "dedupe_ids": len(core.ids),
            "digests": len(core.digests),
            "cached_shapes": core.table.shapes,
            "open_raw_entries": len(core.open_raw),
        }


def _own(batch: Batch) -> PythonBatch:
    """
    Take a batch as what this kernel decoded.
    """
    if not isinstance(batch, PythonBatch):
        raise TypeError(f"applying batch: {type(batch).__name__} was decoded by another kernel")
    return batch


def _count(body: bytes, fmt: Format) -> int:
    """
    Count the points of a body that could not be applied; 1 when even that fails.
    """
    try:
        return max(1, decode(body, fmt, PythonPlan(0, "")).points)
    except UndecodableError:
        return 1
