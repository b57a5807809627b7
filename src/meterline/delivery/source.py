"""
Frames as exporters read them: in order, expanded once for all exporters that are near each other.
"""

import threading
from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple, Protocol

import apsw

from meterline.delivery.selection import EVERYTHING, keeper
from meterline.kernel.seam import Kernel, Names, RecordBatch
from meterline.ledger.model import FrameRow

READ_BYTES: Final = 4_194_304
CACHED_RECORDS: Final = 200_000
"""Expanded records that are kept in memory for other exporters, over all frames."""


class FrameReader(Protocol):
    """
    What delivery needs of a ``LedgerReader``: a read-only connection of its own, used by one thread at a time.
    """

    connection: apsw.Connection

    def frames(self, after_seq: int, max_bytes: int) -> Sequence[FrameRow]:
        """
        Return the next frames in order: at least one if there is any, then while they fit.
        """

    def names(self) -> Names:
        """
        Return the definitions of meters.
        """

    def close(self) -> None:
        """
        Close the connection.
        """


ReaderFactory = Callable[[], FrameReader]


class Head(NamedTuple):
    """
    The newest frame's number, and how many records there are up to it, counted from where the reader began.
    """

    seq: int
    records: int


@dataclass(frozen=True, slots=True)
class Expanded:
    """
    One frame's records; ``records`` None: the frame is corrupt, and ``count`` of them are lost.
    """

    seq: int
    committed_at: int
    count: int
    records: RecordBatch | None
    _kept: dict[str, Sequence[int]] = field(default_factory=dict)

    def select(self, only_filter: str, first: int, last: int) -> Sequence[int]:
        """
        Return the ordinals in [first, last) that the filter keeps.
        """
        if only_filter == EVERYTHING or self.records is None:
            return range(first, max(first, last))
        kept = self._kept.get(only_filter)
        if kept is None:
            keep = keeper(only_filter)
            kept = self._kept[only_filter] = self.records.select(keep) if keep else range(self.count)
        return kept[bisect_left(kept, first) : bisect_left(kept, last)]


class FrameCache:
    """
    The last expanded frames, shared by all exporters; any thread. Two threads may expand one frame at once: no harm.
    """

    def __init__(self, kernel: Kernel, limit: int = CACHED_RECORDS) -> None:
        self._kernel = kernel
        self._limit = limit
        self._frames: OrderedDict[int, Expanded] = OrderedDict()
        self._records = 0
        self._lock = threading.Lock()

    def get(self, seq: int) -> Expanded | None:
        """
        Return an expanded frame that is still here.
        """
        with self._lock:
            return self._frames.get(seq)

    def expand(self, row: FrameRow, names: Names) -> Expanded:
        """
        Expand a frame and keep it; a corrupt one is not kept, since it may be repaired.
        """
        if row.frame is None:
            return Expanded(row.seq, row.committed_at, row.records, None)
        records = self._kernel.records(row.frame.body, names)
        expanded = Expanded(row.seq, row.committed_at, len(records), records)
        with self._lock:
            self._keep(expanded)
        return expanded

    def _keep(self, expanded: Expanded) -> None:
        if expanded.seq in self._frames:
            return
        self._frames[expanded.seq] = expanded
        self._records += expanded.count
        while self._records > self._limit and len(self._frames) > 1:
            self._records -= self._frames.popitem(last=False)[1].count


class FrameSource:
    """
    One exporter's way through the frames.
    """

    def __init__(self, reader: FrameReader, cache: FrameCache) -> None:
        self._reader = reader
        self._cache = cache
        self._ahead: dict[int, FrameRow] = {}

    def head(self, known: Head) -> Head:
        """
        Look for newer frames than those known.
        """
        query = "SELECT max(seq), sum(records) FROM frame WHERE seq > ?"
        for seq, records in self._reader.connection.execute(query, (known.seq,)):
            if seq is not None:
                return Head(seq, known.records + records)
        return known

    def read(self, first: int, last: int) -> Iterator[Expanded]:
        """
        Yield the frames from ``first`` to ``last`` that exist, in order, each expanded when it is reached.
        """
        seq = first
        while seq <= last:
            frame = self._cache.get(seq) or self._expanded(seq)
            if frame is None or frame.seq > last:
                return
            yield frame
            seq = frame.seq + 1

    def _expanded(self, seq: int) -> Expanded | None:
        """
        Return the frame of this number or the next that exists; what was read beyond it is kept for the next call.
        """
        row = self._ahead.pop(seq, None)
        if row is None:
            rows = self._reader.frames(seq - 1, READ_BYTES)
            if not rows:
                return None
            row = rows[0]
            self._ahead = {each.seq: each for each in rows[1:]}
        return self._cache.expand(row, self._reader.names())

    def close(self) -> None:
        """
        Close the reader.
        """
        self._reader.close()
