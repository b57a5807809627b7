"""
What the ledger does for itself, in small steps on the writer's thread: retention, scrubbing, giving pages back.
"""

import itertools
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing
from typing import Any, Final, NamedTuple, TypeAlias

import apsw

from meterline.kernel.seam import Event, StoredFrame
from meterline.ledger import codec, deliveries, frames, restore, store
from meterline.ledger.model import LedgerOptions

STEP_FRAMES: Final = 64
STEP_BYTES: Final = 4 * 1_048_576
PASS_NS: Final = 60 * 10**9
MARK_NS: Final = 3600 * 10**9
SCRUB_NS: Final = 86_400 * 10**9
EVENTS_NS: Final = 400 * 86_400 * 10**9
"""Audit entries are kept as long as points may be late (``time.max_past_secs``)."""
EVENTS_STEP: Final = 1_000
SIZE_SHARE: Final = 0.8  # from this share of max_bytes on, what is delivered goes before its time
VACUUM_SHARE: Final = 0.25  # free pages beyond this share of the file are given back
VACUUM_PAGES: Final = 256

Begin: TypeAlias = Callable[[], AbstractContextManager[None]]
Strip: TypeAlias = Callable[[StoredFrame], bytes]
"""Reduces a frame to its quarantined points: a frame body of its own that holds no records."""


class _Candidate(NamedTuple):
    seq: int
    size: int
    pinned: bool


def set_aside(connection: apsw.Connection, seq: int, records: int, detail: str, now_ns: int) -> bool:
    """
    Mark a frame as corrupt, with an event; inside the caller's transaction. False: it was marked already.
    """
    query = "INSERT OR IGNORE INTO corrupt_frame VALUES (?, ?, ?, ?)"
    connection.execute(query, (seq, now_ns, records, detail))
    if not connection.changes():
        return False
    event = Event("frame_corrupt", "", "", {"frame": seq, "records": records, "detail": detail})
    store.store_events(connection, [event], now_ns, seq)
    return True


def set_covered_aside(connection: apsw.Connection, after: int, now_ns: int) -> None:
    """
    Set aside what fails its CRC between a frame and the snapshot's floor; inside the caller's transaction.
    """
    floor = restore.snapshot_floor(connection)
    with closing(frames.rows_after(connection, after)) as rows:
        bad = [row for row, _ in itertools.takewhile(lambda found: found[0].seq <= floor, rows) if row.frame is None]
    for row in bad:
        set_aside(connection, row.seq, row.records, "its CRC failed", now_ns)


class Upkeep:
    """
    Keeps no state that a restart would miss. ``begin`` opens the writer's transaction.
    """

    def __init__(self, connection: apsw.Connection, begin: Begin, options: LedgerOptions) -> None:
        self._connection = connection
        self._begin = begin
        self._options = options
        self._after = 0
        self._next_pass = 0
        self._scrub_after = 0
        self._next_scrub = 0

    def step(self, now_ns: int) -> None:
        """
        Do a little of everything but retention.
        """
        self._mark(now_ns)
        self._expire_events(now_ns)
        self._scrub(now_ns)
        self._vacuum()

    def droppable(self) -> int:
        """
        Return the newest frame that nobody needs: delivered, in the snapshot and in the totals; never the newest of all.
        """
        needed = deliveries.floor(self._connection)
        totals = store.get_number(self._connection, "totals_through")
        floor = min(restore.snapshot_floor(self._connection), restore.last_seq(self._connection) - 1, totals)
        return max(0, floor if needed is None else min(floor, needed - 1))

    def _mark(self, now_ns: int) -> None:
        """
        Note how far everything was delivered, so that retention counts from then and not from the commit.
        """
        last: Any = self._connection.execute("SELECT max(at), max(seq) FROM retention_mark").fetchone()
        at, seq = last
        period = min(MARK_NS, self._options.retention_ns // 16)
        if at is not None and at <= now_ns < at + period:
            return
        droppable = self.droppable()
        if droppable <= (seq or 0) and (at is None or at <= now_ns):
            return
        with self._begin():
            self._connection.execute("DELETE FROM retention_mark WHERE at > ?", (now_ns,))  # of a clock that was ahead
            self._connection.execute("INSERT OR REPLACE INTO retention_mark VALUES (?, ?)", (now_ns, droppable))
            self._connection.execute(
                "DELETE FROM retention_mark WHERE at < (SELECT max(at) FROM retention_mark WHERE at <= ?)",
                (now_ns - self._options.retention_ns,),
            )

    def _expire_events(self, now_ns: int) -> None:
        oldest = self._connection.execute("SELECT at FROM event ORDER BY id LIMIT 1").get
        if oldest is None or oldest >= now_ns - EVENTS_NS:
            return
        with self._begin():
            self._connection.execute(
                "DELETE FROM event WHERE at < ? AND id IN (SELECT id FROM event ORDER BY id LIMIT ?)",
                (now_ns - EVENTS_NS, EVENTS_STEP),
            )

    def _limit(self, now_ns: int, used_bytes: int) -> int:
        """
        Return the newest frame that may go now.
        """
        if used_bytes >= SIZE_SHARE * self._options.max_bytes:
            return self.droppable()
        query = "SELECT max(seq) FROM retention_mark WHERE at <= ?"
        aged = self._connection.execute(query, (now_ns - self._options.retention_ns,)).get
        return min(aged, self.droppable()) if aged else 0

    def retain(self, now_ns: int, used_bytes: int, strip: Strip | None) -> bool:
        """
        Drop a few frames that may go; True: there may be more.
        """
        if self._next_pass - PASS_NS <= now_ns < self._next_pass:
            return False
        batch = list(self._candidates(self._limit(now_ns, used_bytes)))
        if not batch:
            self._after, self._next_pass = 0, now_ns + PASS_NS
            return False
        goners = [candidate for candidate in batch if not candidate.pinned or strip is not None]
        if goners:
            with self._begin():
                for candidate in goners:
                    self._drop(candidate, strip)
        self._after = batch[-1].seq
        return True

    def _candidates(self, limit: int) -> Iterator[_Candidate]:
        rows: list[Any] = self._connection.execute(
            "SELECT seq, size, EXISTS (SELECT 1 FROM quarantine_frame q JOIN quarantine i ON i.id = q.quarantine"
            " WHERE q.frame = seq AND i.open > 0) FROM frame WHERE seq > ? AND seq <= ? ORDER BY seq LIMIT ?",
            (self._after, limit, STEP_FRAMES),
        ).fetchall()
        total = 0
        for row in rows:
            candidate = _Candidate(row[0], row[1], bool(row[2]))
            total += candidate.size
            yield candidate
            if total >= STEP_BYTES:
                return

    def _drop(self, candidate: _Candidate, strip: Strip | None) -> None:
        if candidate.pinned and (strip is None or not self._keep(candidate.seq, strip)):
            return
        self._connection.execute("DELETE FROM frame WHERE seq = ?", (candidate.seq,))
        if not candidate.pinned:
            self._forget_entries(candidate.seq)

    def _keep(self, seq: int, strip: Strip) -> bool:
        """
        Copy the open entries of a frame before it goes. False: the frame cannot be read, so it stays.
        """
        row = frames.one(self._connection, seq)
        if row is None or row.frame is None:
            return False
        stored = codec.pack(strip(row.frame), frames.kept_label(seq, row.frame.gen), "small")
        self._connection.execute("INSERT INTO kept_frame VALUES (?, ?, ?, ?, ?)", (seq, row.frame.gen, *stored))
        return True

    def _forget_entries(self, seq: int) -> None:
        """
        Drop index rows whose entries are all ended and gone.
        """
        rows = self._connection.execute("SELECT quarantine FROM quarantine_frame WHERE frame = ?", (seq,)).fetchall()
        if not rows:
            return
        self._connection.execute("DELETE FROM quarantine_frame WHERE frame = ?", (seq,))
        self._connection.executemany(
            "DELETE FROM quarantine WHERE id = ?1 AND open = 0"
            " AND NOT EXISTS (SELECT 1 FROM quarantine_frame WHERE quarantine = ?1)",
            rows,
        )

    def _scrub(self, now_ns: int) -> None:
        """
        Read frames that a start no longer reads, and set the damaged ones aside; once at start, then once a day.
        """
        if self._next_scrub - SCRUB_NS <= now_ns < self._next_scrub:
            return
        after = self._scrub_after
        floor = restore.snapshot_floor(self._connection)
        checked, bad = self._check(after, floor)
        for seq, records in bad:
            with self._begin():
                set_aside(self._connection, seq, records, "its CRC failed", now_ns)
        self._scrub_after = checked
        if checked == after:
            self._scrub_after, self._next_scrub = 0, now_ns + SCRUB_NS

    def _check(self, after: int, floor: int) -> tuple[int, list[tuple[int, int]]]:
        bad: list[tuple[int, int]] = []
        total, count, checked = 0, 0, after
        with closing(frames.rows_after(self._connection, after)) as rows:
            for row, size in rows:
                if row.seq > floor or total >= STEP_BYTES or count >= STEP_FRAMES:
                    break
                total, count, checked = total + size, count + 1, row.seq
                if row.frame is None:
                    bad.append((row.seq, row.records))
        return checked, bad

    def _vacuum(self) -> None:
        """
        Give some free pages back to the file system, when much of the file is free.
        """
        free, pages = self._connection.pragma("freelist_count"), self._connection.pragma("page_count")
        if free <= max(VACUUM_PAGES, VACUUM_SHARE * pages):
            return
        with self._begin():
            self._connection.execute(f"PRAGMA incremental_vacuum({VACUUM_PAGES})").fetchall()
