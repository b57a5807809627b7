"""
Failures of the disk at any operation: what they are called, and that nothing is half stored.
"""

import random
from collections.abc import Iterator
from typing import Any

import apsw
import pytest

from meterline.errors import CorruptLedgerError, FatalError, LedgerFullError, MeterlineError, RetryableError
from meterline.ledger import open_reader
from meterline.ledger.model import CommitGroup


class FaultyFile(apsw.VFSFile):
    """A real file whose n-th write or sync fails."""

    def __init__(self, vfs: "FaultyVFS", name: Any, flags: list[int]) -> None:
        super().__init__("", name, flags)
        self.vfs = vfs

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802
        self.vfs.step("write")
        super().xWrite(data, offset)

    def xSync(self, flags: int) -> None:  # noqa: N802
        self.vfs.step("sync")
        super().xSync(flags)


class FaultyVFS(apsw.VFS):
    """Fails at the n-th operation of a kind with a given error, then works again."""

    def __init__(self) -> None:
        self.name = f"faulty-{random.getrandbits(60):x}"
        self.left: int | None = None
        self.kind, self.error = "", apsw.Error
        self.code = 0
        self.syncs = 0
        super().__init__(self.name, base="")

    def plan(self, kind: str, nth: int, error: type[apsw.Error], code: int = 0) -> None:
        self.kind, self.left, self.error, self.code = kind, nth, error, code

    def xOpen(self, name: Any, flags: list[int]) -> FaultyFile:  # noqa: N802
        return FaultyFile(self, name, flags)

    def step(self, kind: str) -> None:
        self.syncs += kind == "sync"
        if self.left is None or kind != self.kind:
            return
        self.left -= 1
        if self.left == 0:
            self.left = None
            error = self.error("planted")
            if self.code:
                error.extendedresult = self.code
            raise error


@pytest.fixture
def faulty() -> Iterator[FaultyVFS]:
    """A VFS that fails on demand."""
    vfs = FaultyVFS()
    yield vfs
    vfs.unregister()


def group(make: Any, seq: int) -> CommitGroup:
    """A frame of several pages and a job."""
    job = lambda tx: tx.connection.execute("INSERT INTO meta VALUES (?, 1)", (f"job {seq}",)) and None  # noqa: E731
    return CommitGroup(frame=make.frame(seq, b"x" * 10 + make.chance.randbytes(40_000)), jobs=[job])


@pytest.mark.parametrize(
    "failure", [(apsw.FullError, 0, LedgerFullError), (apsw.IOError, apsw.SQLITE_IOERR_WRITE, RetryableError)]
)
def test_a_failed_write_stores_nothing(
    open_ledger: Any, make: Any, faulty: FaultyVFS, contents: Any, failure: Any
) -> None:
    """Whichever write of a commit fails, the error says what to do, nothing is stored, and the same group passes later."""
    ledger = open_ledger(faulty.name)
    ledger.commit(group(make, 1))
    before, nth = contents(), 0
    while raised := failing(ledger, group(make, 2), faulty, (nth := nth + 1, *failure[:2])):
        assert type(raised) is failure[2]
        assert "committing" in str(raised)
        assert contents() == before
    assert nth > 5
    assert ledger.stored_state().last_seq == 2


def failing(ledger: Any, parts: CommitGroup, faulty: FaultyVFS, plan: Any) -> Exception | None:
    """Return the error of a commit whose n-th write fails; None when it has fewer."""
    faulty.plan("write", *plan)
    try:
        ledger.commit(parts)
    except MeterlineError as raised:
        return raised
    return None


def test_a_failed_fsync_is_fatal(open_ledger: Any, make: Any, faulty: FaultyVFS, path: Any) -> None:
    """After a failed fsync every further call is FatalError, and not even closing syncs or copies the log."""
    ledger = open_ledger(faulty.name)
    ledger.commit(group(make, 1))
    faulty.plan("sync", 1, apsw.IOError, apsw.SQLITE_IOERR_FSYNC)
    with pytest.raises(FatalError, match="fsync failed"):
        ledger.commit(group(make, 2))
    syncs = faulty.syncs
    for call in (lambda: ledger.commit(group(make, 2)), lambda: ledger.maintain(0), ledger.probe):
        with pytest.raises(FatalError, match="the process must stop"):
            call()
    ledger.close()
    assert faulty.syncs == syncs
    with open_reader(path) as reader:
        assert reader.last_seq() in {1, 2}


def test_a_failed_fsync_of_a_checkpoint_is_fatal(open_ledger: Any, make: Any, faulty: FaultyVFS) -> None:
    """The log is not reused when the main file could not be synced: that error is never swallowed."""
    ledger = open_ledger(faulty.name)
    ledger.commit(group(make, 1))
    faulty.plan("sync", 2, apsw.IOError, apsw.SQLITE_IOERR_FSYNC)
    with pytest.raises(FatalError, match="fsync failed"):
        ledger._writing.checkpoint(0)
    with pytest.raises(FatalError):
        ledger.commit(group(make, 2))


def test_a_full_disk_in_a_checkpoint_passes(open_ledger: Any, make: Any, faulty: FaultyVFS, contents: Any) -> None:
    """A checkpoint that finds no room is tried again later; commits go on."""
    ledger = open_ledger(faulty.name)
    ledger.commit(group(make, 1))
    faulty.plan("write", 1, apsw.FullError)
    ledger._writing.checkpoint(0)
    assert ledger._writing._wal_bytes > 0
    ledger.commit(group(make, 2))
    ledger._writing.checkpoint(0)
    assert len(contents()["frame"]) == 2


def test_a_job_that_meets_a_bad_disk_fails_the_group(open_ledger: Any, make: Any, contents: Any) -> None:
    """A disk error inside a job is the group's error, never the job's result: the transaction may be gone."""
    ledger = open_ledger()
    before = contents()

    def job(tx: Any) -> None:
        raise apsw.IOError("planted")

    with pytest.raises(RetryableError):
        ledger.commit(CommitGroup(frame=make.frame(1), jobs=[job]))
    assert contents() == before


def test_a_foreign_writer_is_waited_for_then_reported(open_ledger: Any, make: Any, path: Any) -> None:
    """A shell that holds the write lock makes a commit retryable, and nothing is lost once it lets go."""
    ledger = open_ledger()
    ledger._connection.set_busy_timeout(10)
    shell = apsw.Connection(str(path))
    shell.execute("BEGIN IMMEDIATE")
    with pytest.raises(RetryableError, match="locked"):
        ledger.commit(group(make, 1))
    shell.execute("ROLLBACK")
    shell.close()
    ledger.commit(group(make, 1))
    assert ledger.stored_state().last_seq == 1


def test_damage_found_by_sqlite_is_named(open_ledger: Any, make: Any, path: Any) -> None:
    """Pages that SQLite cannot read are a CorruptLedgerError that says what to do."""
    ledger = open_ledger()
    for seq in range(1, 30):
        ledger.commit(CommitGroup(frame=make.frame(seq, b"x" * 6000)))
    ledger.close()
    content = bytearray(path.read_bytes())
    content[8192 * 3 :] = b"\xff" * (len(content) - 8192 * 3)
    path.write_bytes(content)
    with pytest.raises(CorruptLedgerError, match="restore the ledger from a backup"):
        open_ledger()
