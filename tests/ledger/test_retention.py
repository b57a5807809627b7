"""
Retention drops what nobody needs, and nothing else.
"""

import random
from pathlib import Path
from typing import Any

from meterline.kernel.seam import Chunk, SnapshotPart, StoredFrame
from meterline.ledger import deliveries, open_reader
from meterline.ledger.deliveries import Opening, Position
from meterline.ledger.model import CommitGroup

DAY = 86_400 * 10**9


def seqs(path: Path) -> list[int]:
    """The frames that are there."""
    with open_reader(path) as reader:
        return [row.seq for row in reader.frames(0, 1 << 40)]


def upkeep(ledger: Any, clock: Any) -> None:
    """Do everything that is to be done at this time."""
    while ledger.maintain(clock.now_ns()):
        pass


def fill(ledger: Any, make: Any, last: int, first: int = 1, body: bytes | None = None) -> None:
    """Commit frames; the last one brings totals and a whole snapshot."""
    for seq in range(first, last + 1):
        ledger.commit(make.group(seq, body))
    cover(ledger, last)


def cover(ledger: Any, seq: int) -> None:
    """Flush totals and take a snapshot as of a frame."""
    part = SnapshotPart(seq, [Chunk(0, seq, b"chunk")], [], [], complete=True)
    ledger.commit(CommitGroup(totals=[], snapshot=part))


def exporter(ledger: Any, name: str, seq: int) -> None:
    """Put an exporter's cursor at a frame."""

    def job(tx: Any) -> None:
        deliveries.open_exporter(tx.connection, Opening(name, Position(seq, 0), "{}"), tx.now_ns)
        deliveries.advance(tx.connection, name, Position(seq, 0), 0)

    assert ledger.commit(CommitGroup(jobs=[job])).jobs == (None,)


def test_frames_go_after_their_time(ledger: Any, make: Any, clock: Any, path: Path) -> None:
    """Without exporters a frame in snapshot and totals goes 7 days later, not before; the newest always stays."""
    fill(ledger, make, 10)
    upkeep(ledger, clock)
    clock.wall += 7 * DAY - 10**9
    upkeep(ledger, clock)
    assert seqs(path) == list(range(1, 11))
    clock.wall += 2 * 10**9
    clock.advance(60)
    upkeep(ledger, clock)
    assert seqs(path) == [10]


def test_the_time_begins_when_all_is_delivered(ledger: Any, make: Any, clock: Any, path: Path) -> None:
    """A backend that was away for a month keeps its frames, and 7 days more once it has them."""
    fill(ledger, make, 10)
    exporter(ledger, "slow", 5)
    clock.wall += 30 * DAY
    upkeep(ledger, clock)
    clock.wall += 8 * DAY
    upkeep(ledger, clock)
    assert seqs(path) == list(range(5, 11))
    exporter(ledger, "slow", 11)
    upkeep(ledger, clock)
    clock.wall += 6 * DAY
    upkeep(ledger, clock)
    assert seqs(path) == list(range(5, 11))
    clock.wall += 2 * DAY
    upkeep(ledger, clock)
    assert seqs(path) == [10]


def test_what_the_state_needs_stays(ledger: Any, make: Any, clock: Any, path: Path) -> None:
    """Frames after the oldest chunk, or not in the totals yet, stay however old they are."""
    fill(ledger, make, 5)
    for seq in range(6, 10):
        ledger.commit(make.group(seq))
    upkeep(ledger, clock)
    clock.wall += 30 * DAY
    upkeep(ledger, clock)
    assert seqs(path) == list(range(6, 10))
    assert [frame.seq for frame in ledger.stored_state().frames] == list(range(6, 10))


def test_near_the_limit_delivered_frames_go_early(open_ledger: Any, make: Any, clock: Any, path: Path) -> None:
    """From 80 % of max_bytes on, what is delivered goes before its time, oldest first; what is not delivered never goes."""
    ledger = open_ledger(max_bytes=3_000_000)
    fill(ledger, make, 40)
    exporter(ledger, "slow", 20)
    while ledger._used < 0.8 * 3_000_000:
        last = ledger.stored_state().last_seq
        fill(ledger, make, last + 1, first=last + 1, body=make.chance.randbytes(100_000))
    upkeep(ledger, clock)
    left = seqs(path)
    assert left[0] == 20
    assert left == list(range(20, left[-1] + 1))


def test_open_entries_keep_their_frames(ledger: Any, make: Any, clock: Any, path: Path) -> None:
    """A frame with an open entry stays; once the entry is discarded it goes, and its index row with it."""
    ledger.commit(CommitGroup(frame=make.frame(1, quarantine=[make.entry()])))
    fill(ledger, make, 5, first=2)
    upkeep(ledger, clock)
    clock.wall += 8 * DAY
    upkeep(ledger, clock)
    assert seqs(path) == [1, 5]
    ledger.commit(CommitGroup(jobs=[lambda tx: ledger.discard_quarantine(tx, 1)]))
    clock.advance(61)
    upkeep(ledger, clock)
    assert seqs(path) == [5]
    with open_reader(path) as reader:
        assert reader.quarantine(open_only=False) == []
        assert reader.connection.execute("SELECT count(*) FROM quarantine_frame").get == 0


def test_a_frame_is_reduced_to_its_open_entries(ledger: Any, make: Any, clock: Any, path: Path) -> None:
    """With a function that strips a frame, its open entries outlive it, under the same frame number."""
    frame = make.frame(1, b"usage" * 1000 + b"entries", quarantine=[make.entry()])
    ledger.commit(CommitGroup(frame=frame))
    fill(ledger, make, 5, first=2)

    def strip(stored: StoredFrame) -> bytes:
        return stored.body[-7:]

    ledger.maintain(clock.now_ns(), strip)
    clock.wall += 8 * DAY
    while ledger.maintain(clock.now_ns(), strip):
        pass
    with open_reader(path) as reader:
        assert [row.seq for row in reader.frames(0, 10**9)] == [5]
        assert reader.quarantine()[0].frames == (1,)
        assert reader.kept(1) == StoredFrame(1, 1, b"entries", frame.definitions)
        assert reader.kept(5).body == reader.frames(4, 1)[0].frame.body
        assert reader.kept(2) is None


def test_random_histories_keep_what_is_needed(
    open_ledger: Any, make: Any, clock: Any, path: Path, rng: random.Random
) -> None:
    """Over random commits, deliveries, snapshots, entries, restarts and days, no needed frame is ever missing."""
    ledger = open_ledger(max_bytes=40_000_000)
    exporter(ledger, "file", 1)
    last, cursor, needed = 0, 1, set()
    for _ in range(150):
        act = rng.choice(["commit", "commit", "entry", "deliver", "cover", "wait", "restart"])
        if act in {"commit", "entry"}:
            last += 1
            entries = [make.entry()] if act == "entry" else []
            needed |= {last} if entries else set()
            ledger.commit(CommitGroup(frame=make.frame(last, b"x" * 100, quarantine=entries)))
        elif act == "deliver" and last:
            cursor = rng.randint(cursor, last + 1)
            exporter(ledger, "file", cursor)
        elif act == "cover" and last:
            cover(ledger, last)
        elif act == "wait":
            clock.wall += rng.randint(0, 4 * DAY)
        elif act == "restart":
            ledger.close()
            ledger = open_ledger(max_bytes=40_000_000)
            ledger.catch_up_totals(lambda frame, names: [])
        upkeep(ledger, clock)
        found = set(seqs(path))
        replayed = [frame.seq for frame in ledger.stored_state().frames]
        assert found >= needed | set(range(cursor, last + 1))
        assert replayed == list(range(last - len(replayed) + 1, last + 1))
    assert len(seqs(path)) < last - 5, "nothing was ever dropped: the test shows nothing"


def test_old_audit_entries_go(ledger: Any, make: Any, clock: Any, path: Path) -> None:
    """Events are kept for 400 days."""
    ledger.commit(make.group(1))
    clock.wall += 399 * DAY
    ledger.commit(make.group(2))
    clock.wall += 2 * DAY
    upkeep(ledger, clock)
    with open_reader(path) as reader:
        assert reader.connection.execute("SELECT frame FROM event").fetchall() == [(2,)]


def test_free_pages_are_given_back(open_ledger: Any, make: Any, clock: Any, path: Path) -> None:
    """When most of the file is free, it becomes smaller, step by step."""
    ledger = open_ledger()
    fill(ledger, make, 60, body=make.chance.randbytes(200_000))
    ledger._writing.checkpoint(0)
    large = path.stat().st_size
    upkeep(ledger, clock)
    clock.wall += 8 * DAY
    for _ in range(20):
        upkeep(ledger, clock)
        clock.advance(1)
    ledger._writing.checkpoint(0)
    assert path.stat().st_size < large / 2
    ledger.commit(make.group(61))
