"""
How exporters stand, for telemetry, health and the command line.
"""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import apsw

from meterline.api import Sample
from meterline.delivery.selection import EVERYTHING
from meterline.delivery.source import FrameCache, FrameReader, FrameSource
from meterline.kernel.seam import Kernel
from meterline.ledger import deliveries
from meterline.ledger.deliveries import ExporterRow

NANOS = 1_000_000_000


class Ahead(NamedTuple):
    """
    What an exporter has not yet put into a batch: how many records, and when the oldest of them was committed.
    """

    records: int
    oldest: int | None


@dataclass(frozen=True, slots=True)
class State:
    """
    One exporter: its row in the ledger, and what stands after its cursor.

    ``created = delivered + pending + held + dead + void``. For an exporter with ``only``, what stands after the cursor is
    counted before the filter in a running gateway, and after it by ``exporter_states``.
    """

    row: ExporterRow
    ahead: Ahead
    paused: str | None
    connected: bool | None = None
    trouble: str = ""

    @property
    def created(self) -> int:
        """
        Return how many records the exporter was to be given since its start.
        """
        return self.row.created + self.ahead.records

    @property
    def pending(self) -> int:
        """
        Return how many of them wait for the exporter.
        """
        return self.row.pending + self.ahead.records

    def oldest_secs(self, now_ns: int) -> float:
        """
        Return for how long the oldest pending record has been waiting.
        """
        times = [time for time in (self.row.oldest, self.ahead.oldest) if time is not None]
        return max(0, now_ns - min(times)) / NANOS if times else 0.0

    def health(self, now_ns: int) -> Mapping[str, Any]:
        """
        Return it as JSON-able data.
        """
        return {
            "connected": self.connected,
            "paused": self.paused,
            "trouble": self.trouble,
            "pending": self.pending,
            "held": self.row.held,
            "dead": self.row.dead,
            "oldest_pending_secs": round(self.oldest_secs(now_ns), 3),
        }

    def samples(self, now_ns: int) -> Iterator[Sample]:
        """
        Return it as numbers for telemetry. The counters are those of the ledger: a restart does not set them back.
        """
        row = self.row
        numbers = {
            "delivered_records": row.delivered,
            "excluded_records": row.excluded,
            "send_attempts": row.attempts,
            "pending_records": self.pending,
            "pending_batches": row.batches,
            "lag_records": self.ahead.records,
            "held_records": row.held,
            "dead_records": row.dead,
            "void_records": row.void,
            "oldest_pending_seconds": self.oldest_secs(now_ns),
            "paused": int(self.paused is not None),
            "connected": int(bool(self.connected)),
        }
        for name, value in numbers.items():
            yield Sample(f"meterline_exporter_{name}", {"exporter": row.name}, value)


class Watch:
    """
    Counts what stands after the cursors of a running gateway, without walking all frames each time. Any thread.
    """

    def __init__(self, open_reader: Callable[[], FrameReader]) -> None:
        self._open_reader = open_reader
        self._reader: FrameReader | None = None
        self._lock = threading.Lock()
        self._seen = 0
        self._totals: dict[str, int] = {}
        self._closed = False

    def aheads(self, rows: Sequence[ExporterRow]) -> dict[str, Ahead]:
        """
        Return what stands after each cursor; nothing once closed.
        """
        with self._lock:
            if self._closed:
                return {row.name: Ahead(0, None) for row in rows}
            self._reader = self._reader or self._open_reader()
            connection = self._reader.connection
            self._count_new(connection)
            return {row.name: self._ahead(connection, row) for row in rows}

    def _count_new(self, connection: apsw.Connection) -> None:
        query = "SELECT max(seq), sum(records) FROM frame WHERE seq > ?"
        for seq, records in connection.execute(query, (self._seen,)):
            if seq is not None:
                self._seen = seq
                self._totals = {name: total + records for name, total in self._totals.items()}

    def _ahead(self, connection: apsw.Connection, row: ExporterRow) -> Ahead:
        """
        All that were passed by the cursor are created or excluded: so total - (created + excluded) are after it.
        """
        passed = row.created + row.excluded
        if row.name not in self._totals:
            query = "SELECT coalesce(sum(records), 0) FROM frame WHERE seq >= ? AND seq <= ?"
            found = connection.execute(query, (row.cursor.seq, self._seen)).get
            self._totals[row.name] = passed + found - row.cursor.ordinal
        records = max(0, self._totals[row.name] - passed)
        return Ahead(records, _committed_at(connection, row) if records else None)

    def close(self) -> None:
        """
        Close the reader. Legal twice.
        """
        with self._lock:
            self._closed = True
            if self._reader is not None:
                self._reader.close()


def exporter_states(reader: FrameReader, kernel: Kernel) -> list[State]:
    """
    Return how every exporter that has a cursor stands, exactly, from the ledger alone; whether or not a gateway runs.

    Call it inside a snapshot of the reader. Frames are expanded only for exporters with ``only``.
    """
    source = FrameSource(reader, FrameCache(kernel))
    rows = deliveries.exporters(reader.connection)
    return [State(row, _exactly_ahead(reader.connection, source, row), row.paused) for row in rows]


def _exactly_ahead(connection: apsw.Connection, source: FrameSource, row: ExporterRow) -> Ahead:
    if row.only_filter == EVERYTHING:
        query = "SELECT coalesce(sum(records), 0) FROM frame WHERE seq >= ?"
        records = connection.execute(query, (row.cursor.seq,)).get - row.cursor.ordinal
    else:
        records = sum(
            len(frame.select(row.only_filter, row.cursor.ordinal if frame.seq == row.cursor.seq else 0, frame.count))
            for frame in source.read(row.cursor.seq, connection.execute("SELECT coalesce(max(seq), 0) FROM frame").get)
        )
    return Ahead(records, _committed_at(connection, row) if records else None)


def _committed_at(connection: apsw.Connection, row: ExporterRow) -> int | None:
    query = "SELECT committed_at FROM frame WHERE seq >= ? AND records > 0 LIMIT 1"
    found: int | None = connection.execute(query, (row.cursor.seq,)).get
    return found
