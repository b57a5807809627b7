"""
Reading beside the writer, after a kill, without write permission, and where nobody ever ran.
"""

import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import textwrap
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from meterline.clock import SystemClock
from meterline.errors import ConfigurationError, CorruptLedgerError
from meterline.kernel.seam import Names, StoredFrame, TotalRow
from meterline.ledger import Ledger, open_reader
from meterline.ledger.model import CommitGroup, LedgerOptions

HOUR = 3600 * 10**9
UNITS = 10**30


def expand(frame: StoredFrame, names: Names) -> list[TotalRow]:
    """The totals of a fake frame, whose body lists them: customer, hour number, units."""
    rows = [line.split() for line in frame.body.decode().splitlines()]
    return [TotalRow(customer, "calls", int(hour) * HOUR, int(units), 1) for customer, hour, units in rows]


def body_of(rows: list[tuple[str, int, int]]) -> bytes:
    """A fake frame's body."""
    return "\n".join(f"{customer} {hour} {units}" for customer, hour, units in rows).encode()


def test_frames_come_in_pages(ledger: Any, make: Any, path: Path) -> None:
    """At least one frame comes, then as many as fit; together they are all, in order."""
    for seq in range(1, 8):
        ledger.commit(make.group(seq, b"x" * 1000))
    with open_reader(path) as reader:
        assert [row.seq for row in reader.frames(0, 1)] == [1]
        assert [row.seq for row in reader.frames(1, 3500)] == [2, 3, 4]
        assert [row.seq for row in reader.frames(4, 10**6)] == [5, 6, 7]
        assert reader.frames(7, 10**6) == []
        assert (reader.frame(3).seq, reader.frame(8)) == (3, None)


def test_what_is_read_is_one_moment(ledger: Any, make: Any, path: Path) -> None:
    """Inside a snapshot a commit is not seen; after it, it is."""
    ledger.commit(make.group(1))
    with open_reader(path) as reader:
        with reader.snapshot():
            assert reader.last_seq() == 1
            ledger.commit(make.group(2))
            assert (reader.last_seq(), reader.balance()["received"]) == (1, 5)
        assert (reader.last_seq(), reader.balance()["received"]) == (2, 10)


def test_readers_during_writes(ledger: Any, make: Any, path: Path) -> None:
    """While commits run, every read is of a whole commit: frames, balance and totals agree."""
    problems: list[str] = []
    done = threading.Event()

    def read() -> None:
        with open_reader(path) as reader:
            while not done.is_set():
                with reader.snapshot():
                    frames, received = reader.last_seq(), reader.balance()["received"]
                if received != 5 * frames:
                    problems.append(f"{frames} frames, {received} points")
                (total,) = reader.totals(expand) or [None]
                if total and int(total.value) != total.count:
                    problems.append(f"{total}")

    thread = threading.Thread(target=read)
    thread.start()
    for seq in range(1, 200):
        flush = [TotalRow("acme", "calls", 0, 5 * UNITS, 5)] if seq % 5 == 0 else None
        ledger.commit(CommitGroup(frame=make.frame(seq, body_of([("acme", 0, UNITS)])), totals=flush))
    done.set()
    thread.join()
    assert problems == []
    with open_reader(path) as reader:
        assert [(str(t.value), t.count) for t in reader.totals(expand)] == [("199", 199)]


ROWS = st.lists(
    st.tuples(st.sampled_from(["acme", "umbrella"]), st.integers(0, 5), st.integers(-(10**48), 10**48)), max_size=4
)


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
@given(
    frames=st.lists(st.tuples(ROWS, st.booleans()), max_size=8),
    hours=st.tuples(st.integers(0, 6), st.integers(0, 6)),
    restart=st.integers(0, 8),
)
def test_totals_are_exact(tmp_path: Path, make: Any, frames: Any, hours: Any, restart: int) -> None:
    """Totals equal the plain sum of all rows of the hours asked for, wherever flushes and a restart fall."""
    path = tmp_path / "totals" / "meterline.db"
    path.parent.mkdir()
    options, clock = LedgerOptions(reserve_bytes=0), SystemClock()
    ledger = Ledger.open(path, options, clock)
    unflushed: list[TotalRow] = []
    for seq, (rows, flush) in enumerate(frames, start=1):
        unflushed += expand(StoredFrame(seq, 1, body_of(rows), b""), ledger)
        ledger.commit(CommitGroup(frame=make.frame(seq, body_of(rows)), totals=unflushed if flush else None))
        unflushed = [] if flush else unflushed
        if seq == restart:
            ledger.close()
            ledger = Ledger.open(path, options, clock)
            ledger.catch_up_totals(expand)
            unflushed = []
    with open_reader(path) as reader:
        found = reader.totals(expand, hours[0] * HOUR, hours[1] * HOUR)
    ledger.close()
    shutil.rmtree(path.parent)
    assert {total.customer: (total.value.units, total.count) for total in found} == plain_sums(frames, hours)


def plain_sums(frames: Any, hours: tuple[int, int]) -> dict[str, tuple[int, int]]:
    """The totals by plain arithmetic."""
    sums: dict[str, tuple[int, int]] = {}
    for rows, _ in frames:
        for customer, hour, units in rows:
            if hours[0] <= hour < hours[1]:
                total, count = sums.get(customer, (0, 0))
                sums[customer] = (total + units, count + 1)
    return sums


def test_flushes_without_a_catch_up_store_nothing(open_ledger: Any, make: Any, path: Path) -> None:
    """After a crash between flushes totals are exact with or without the catch-up, which moves the watermark on."""
    ledger = open_ledger()
    ledger.commit(make.group(1, body_of([("acme", 0, UNITS)])))
    for seq, catch_up in ((2, False), (3, True)):
        ledger.close()
        ledger = open_ledger()
        if catch_up:
            assert ledger.catch_up_totals(expand) == 2
        flush = [TotalRow("acme", "calls", 0, UNITS, 1)]
        ledger.commit(CommitGroup(frame=make.frame(seq, body_of([("acme", 0, UNITS)])), totals=flush))
        with open_reader(path) as reader:
            assert [(str(total.value), total.count) for total in reader.totals(expand)] == [(str(seq), seq)]
            assert reader.meta()["totals_through"] == (seq if catch_up else 0)
    with pytest.raises(ValueError, match="a frame was committed before"):
        ledger.catch_up_totals(expand)


def test_names_are_found_in_old_frames(ledger: Any, make: Any, path: Path) -> None:
    """A meter's definitions are found by its id, in whichever frame it was declared; an undeclared id is a KeyError."""
    for seq in range(1, 4):
        ledger.commit(make.group(seq))
    with open_reader(path) as reader:
        names = reader.names()
        found = [names.definitions(meter) for meter in (5, 0, 1, 4, 0)]
        assert found == [b"definitions %d" % seq for seq in (3, 1, 1, 3, 1)]
        with pytest.raises(KeyError):
            names.definitions(6)


def test_nobody_ever_ran(path: Path) -> None:
    """Where there is no file everything is empty, and none is made."""
    with open_reader(path) as reader:
        assert not reader.exists
        assert (reader.frames(0, 1), reader.totals(expand), reader.quarantine(), reader.last_seq()) == ([], [], [], 0)
        assert set(reader.balance().values()) == {0}
    assert list(path.parent.iterdir()) == []


def test_an_unfinished_creation_reads_as_empty(path: Path) -> None:
    """A file whose creation was cut off is no error, and its owner may open it later."""
    path.touch()
    with open_reader(path) as reader:
        assert not reader.exists


@pytest.mark.parametrize("log", ["kept", "removed"])
def test_reading_when_nobody_runs(open_ledger: Any, make: Any, path: Path, log: str) -> None:
    """After an orderly end, with the log's files still there or not, everything can be read."""
    ledger = open_ledger()
    ledger.commit(make.group(1))
    ledger.close()
    if log == "removed":
        for name in ("-wal", "-shm"):
            path.with_name(path.name + name).unlink(missing_ok=True)
    with open_reader(path) as reader:
        assert (reader.exists, reader.last_seq()) == (True, 1)


KILLED = textwrap.dedent(
    """
    import os, signal, sys
    from pathlib import Path
    from meterline.clock import SystemClock
    from meterline.kernel.seam import Frame
    from meterline.ledger import Ledger
    from meterline.ledger.model import CommitGroup, LedgerOptions

    ledger = Ledger.open(Path(sys.argv[1]), LedgerOptions(reserve_bytes=0), SystemClock())
    ledger.commit(CommitGroup(frame=Frame(1, 1, b"body", b"", 0, 0, 1, 1, {"received": 1})))
    os.kill(os.getpid(), signal.SIGKILL)
    """
)


def test_reading_after_a_kill(path: Path) -> None:
    """What a killed process had committed is read from its log, without starting anything."""
    subprocess.run([sys.executable, "-c", KILLED, str(path)], check=False, timeout=50)
    assert path.with_name(path.name + "-wal").stat().st_size > 0
    with open_reader(path) as reader:
        assert (reader.last_seq(), reader.balance()["received"]) == (1, 1)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become another user")
def test_reading_without_the_right_to_write(make: Any, clock: Any) -> None:
    """A user who may read the file but write nowhere reads it after an orderly end, and is told what to do otherwise."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "meterline.db"
        ledger = Ledger.open(path, LedgerOptions(reserve_bytes=0), clock)
        ledger.commit(make.group(1))
        ledger.close()
        for name in ("-wal", "-shm"):
            path.with_name(path.name + name).unlink(missing_ok=True)
        path.parent.chmod(0o755)
        path.chmod(0o644)
        assert as_nobody(path) == "1"
        path.chmod(0o600)
        assert "let this user read it" in as_nobody(path)


def as_nobody(path: Path) -> str:
    """What a user without any rights reads: the last frame's number, or the error."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
        try:
            answer = str(open_reader(path).last_seq())
        except BaseException as error:  # noqa: BLE001 - whatever it is, the parent looks at it
            answer = repr(error)
        os.write(writing, answer.encode())
        os._exit(0)
    os.close(writing)
    os.waitpid(child, 0)
    with os.fdopen(reading) as pipe:
        return pipe.read()


def test_no_ledger_at_all(path: Path) -> None:
    """Another SQLite file, or no SQLite file, is refused with the remedy, by readers and by the owner."""
    path.write_bytes(b"this is a text file, long enough to be looked at by SQLite as one that is not its own" * 20)
    with pytest.raises(ConfigurationError, match="it is no SQLite file; set"):
        open_reader(path)
    path.unlink()
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE notes (text)")
    other.close()
    with pytest.raises(ConfigurationError, match="is no Meterline ledger; set"):
        open_reader(path)


def test_a_damaged_frame_after_the_watermark_has_no_total(open_ledger: Any, make: Any, path: Path) -> None:
    """A sum that cannot be known is an error that names the frame, never a smaller sum."""
    ledger = open_ledger()
    ledger.commit(make.group(1, body_of([("acme", 0, UNITS)])))
    ledger._connection.execute("UPDATE frame SET body = zeroblob(9)")
    with open_reader(path) as reader, pytest.raises(CorruptLedgerError, match="frame 1 fails its CRC"):
        reader.totals(expand)
