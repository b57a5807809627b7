"""
The ledger: everything that must survive, in one SQLite file with one owner and one writing thread.
"""

import contextlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import apsw

from meterline.api.plugin import Sample
from meterline.clock import Clock
from meterline.errors import LedgerFullError, RetryableError
from meterline.ledger import faults, generations, quarantine, restore, store, upkeep
from meterline.ledger.idle import IdleTable
from meterline.ledger.lock import OwnerLock
from meterline.ledger.model import (
    CommitGroup,
    CommitResult,
    Generation,
    LedgerOptions,
    RuleKey,
    StoredState,
    Transaction,
)
from meterline.ledger.names import StoredNames
from meterline.ledger.opening import open_writer
from meterline.ledger.reader import Expand, connect_read_only, unflushed
from meterline.ledger.reserve import Reserve
from meterline.ledger.stats import Stats
from meterline.ledger.upkeep import Strip, Upkeep
from meterline.ledger.writing import CHECKPOINT_LATE_BYTES, Writing

PROBE_BYTES: Final = 65_536
REFRESH_BYTES: Final = 1_048_576
RETENTION_SECS: Final = 0.01  # of each maintain


@dataclass(frozen=True, slots=True)
class OpenTransaction:
    """
    Implements ``model.Transaction``.
    """

    connection: apsw.Connection
    now_ns: int


class Ledger:
    """
    The owner of a ledger. All that writes is for one thread at a time; ``idle_rows``, ``quarantine_over_quota``,
    ``over_limit``, ``room_to_record`` and ``samples`` are for any.

    A failed fsync raises FatalError, after which nothing but ``close`` is legal. Any other failure of a commit leaves
    the file and the connection as they were before it.
    """

    def __init__(
        self, path: Path, lock: OwnerLock, connection: apsw.Connection, options: LedgerOptions, clock: Clock
    ) -> None:
        """
        For ``open`` alone.
        """
        self.options = options
        self.name = str(path)
        self._lock = lock
        self._connection = connection
        self._clock = clock
        self._reserve = Reserve(path, options.reserve_bytes)
        self._holdings = quarantine.Holdings(options.quarantine_max_bytes)
        self._stats = Stats(path, self._holdings, self._reserve)
        self._writing = Writing(connection, self.name, clock, self._stats)
        self._upkeep = Upkeep(connection, self._writing.transaction, options)
        self._used = 0
        self._since_refresh = 0
        self._stale = False
        self._cycle: int | None = None

    @classmethod
    def open(cls, path: Path, options: LedgerOptions, clock: Clock, *, vfs: str | None = None) -> "Ledger":
        """
        Take the lock, then open or create the ledger. ``vfs`` names a registered SQLite VFS; the lock and the reserve are
        always real files.

        :raises LedgerLockedError: another process owns it.
        :raises ConfigurationError: the file or its directory cannot be used; with the remedy.
        :raises CorruptLedgerError: SQLite finds the file damaged.
        """
        lock = OwnerLock(path, clock.now_ns())
        try:
            connection = open_writer(path, vfs, clock.now_ns())
        except BaseException:
            lock.close()
            raise
        ledger = cls(path, lock, connection, options, clock)
        try:
            ledger._load(path, vfs)
        except BaseException:
            ledger.close()
            raise
        return ledger

    def _load(self, path: Path, vfs: str | None) -> None:
        self._writing.checkpoint(at_least=0)  # a log whose fsync failed in a former life is not to be built upon
        with self._writing.translated("opening"):
            self.id: str = store.get_meta(self._connection, "ledger.id")
            self._last_seq = self._first_seq = restore.last_seq(self._connection)
            self._totals_through = store.get_number(self._connection, "totals_through")
            self._behind = self._totals_through < self._last_seq
            self._idle = store.get_number(self._connection, "idle")
            self._stats.look(self._connection)
            self._holdings.load(self._connection)
            self._refresh()
            self._reading = connect_read_only(str(path.absolute()), vfs)
            self._idle_table = IdleTable(self._reading)

    def close(self) -> None:
        """
        Close the file and give the lock back. Legal twice; changes nothing that is stored.
        """
        with contextlib.suppress(apsw.Error):
            if hasattr(self, "_reading"):
                self._reading.close()
        with contextlib.suppress(apsw.Error):
            self._connection.close()
        self._lock.close()

    # -- start

    def activate_rules(self, rules_hash: str, keys: Sequence[RuleKey], text: str) -> Generation:
        """
        Commit the rule set before any intake; the same rule set as the last one keeps its generation.
        """
        with self._writing.translated("activating rules"), self._writing.transaction():
            return generations.activate(self._connection, rules_hash, keys, text, self._clock.now_ns())

    def stored_state(self) -> StoredState:
        """
        Return what ``Meter.restore`` needs. The iterators read lazily: walk them before the first commit.

        :raises CorruptLedgerError: (while walking) with the frame and the way out.
        """
        return restore.stored_state(self._reading, self.name, self._idle)

    def catch_up_totals(self, expand: Expand) -> int:
        """
        Bring the totals up to the last frame, once, before the first commit; returns how many frames were missing.

        The kernel's own sums since the last flush died with the process; its frames did not. Without this call a flush stores
        nothing, and readers go on adding all frames since: exact, but ever slower. A frame that fails its CRC is set aside
        if every snapshot chunk covers it: its usage is missing from the totals, and an event says so.

        :raises CorruptLedgerError: another one fails its CRC.
        """
        if self._last_seq != self._first_seq:
            raise ValueError("catching up the totals: a frame was committed before, which the kernel would add again")
        missing = self._last_seq - self._totals_through
        if missing:
            with self._writing.translated("catching up the totals"), self._writing.transaction():
                upkeep.set_covered_aside(self._connection, self._totals_through, self._clock.now_ns())
                rows = list(unflushed(self._connection, StoredNames(self._connection), expand))
                store.store_totals(self._connection, rows, self._last_seq)
            self._totals_through = self._last_seq
        self._behind = False
        return missing

    # -- commit

    def remembered(self, receiver: str) -> Mapping[str, bytes]:
        """
        Return what a receiver asked to be remembered with its bodies; before intake starts.
        """
        with self._writing.translated("reading receiver state"):
            return store.remembered(self._connection, receiver)

    def commit(self, group: CommitGroup) -> CommitResult:
        """
        Store a group in one transaction, durable when this returns.

        A job's exception is its result, and it alone is undone. A group of jobs alone may be run twice: on a full disk, it is
        tried again with the reserve given up.

        :raises LedgerFullError: no room, or over the size limit and the group has a frame; nothing was stored.
        :raises RetryableError: another failure of the disk; nothing was stored.
        :raises FatalError: an fsync failed.
        """
        self._check(group)
        self._writing.checkpoint(CHECKPOINT_LATE_BYTES)
        try:
            with self._writing.translated("committing"):
                return self._commit(group)
        except LedgerFullError:
            self._stats.full += 1
            if group.frame is not None or not self._reserve.give_up():
                raise
        with self._writing.translated("committing"):
            return self._commit(group)

    def _check(self, group: CommitGroup) -> None:
        if group.frame is None:
            return
        if group.frame.seq != self._last_seq + 1:
            raise ValueError(f"committing frame {group.frame.seq}: the ledger's last is {self._last_seq}")
        if not self._reserve.restore():
            raise LedgerFullError(
                "committing: the reserve for bookkeeping was given up, and the disk has no room for it"
            )
        if self.over_limit:
            raise LedgerFullError(
                f"committing: the ledger holds {self._used} bytes, its limit is {self.options.max_bytes} (ledger.max_bytes)"
            )

    def _commit(self, group: CommitGroup) -> CommitResult:
        now = self._clock.now_ns()
        changes: quarantine.Held = {}
        size = grown = 0
        with self._writing.transaction():
            if group.frame is not None:
                size += store.store_frame(self._connection, group.frame, now)
                if group.frame.quarantine:
                    changes = quarantine.store(self._connection, group.frame.seq, group.frame.quarantine)
            size += self._store_rest(group)
            if group.idled or group.unidled:
                moved, grown = store.store_idle(self._connection, group.idled, group.unidled)
                size += moved
            transaction = OpenTransaction(self._connection, now)
            results = tuple([self._run_job(job, transaction) for job in group.jobs])
        self._idle += grown
        self._holdings.add(changes)
        self._stored(group, size)
        return CommitResult(results)

    def _store_rest(self, group: CommitGroup) -> int:
        seq = self._last_seq if group.frame is None else group.frame.seq
        if group.totals is not None and not self._behind:
            store.store_totals(self._connection, group.totals, seq)
        store.store_remembered(self._connection, group.remembered)
        if group.snapshot is None:
            return 0
        begun = group.snapshot.seq if self._cycle is None else self._cycle
        return store.store_snapshot(self._connection, group.snapshot, begun)

    def _run_job(self, job: Callable[[Transaction], Any], transaction: Transaction) -> Any:
        self._connection.execute("SAVEPOINT job")
        try:
            result = job(transaction)
        except Exception as error:
            if faults.is_storage(error):
                raise
            self._connection.execute("ROLLBACK TO job")
            result = error
        self._connection.execute("RELEASE job")
        return result

    def _stored(self, group: CommitGroup, size: int) -> None:
        """
        Follow in memory what is now on the disk.
        """
        if group.frame is not None:
            self._last_seq = group.frame.seq
            self._stats.frames += 1
        if group.totals is not None and not self._behind:
            self._totals_through = self._last_seq
        if group.snapshot is not None:
            begun = group.snapshot.seq if self._cycle is None else self._cycle
            self._cycle = None if group.snapshot.complete else begun
        self._stats.bytes += size
        self._since_refresh += size
        with contextlib.suppress(
            apsw.Error
        ):  # the commit stands, whatever a look at the file meets; the next one looks again
            if self._stale:
                self._holdings.load(self._connection)
                self._stale = False
            if self._since_refresh >= REFRESH_BYTES:
                self._refresh()

    # -- room

    @property
    def over_limit(self) -> bool:
        """
        Say whether the used pages reach ``max_bytes``: no frame is taken; jobs are. Any thread.
        """
        return self._used >= self.options.max_bytes

    def probe(self) -> bool:
        """
        After a LedgerFullError: try a real write, with the reserve back in place first. True: frames may come again.
        """
        if not self._reserve.restore():
            return False
        try:
            with self._writing.translated("probing"):
                with self._writing.transaction():
                    self._connection.execute("INSERT INTO probe VALUES (1, zeroblob(?))", (PROBE_BYTES,))
                with self._writing.transaction():
                    self._connection.execute("DELETE FROM probe")
        except RetryableError:
            return False
        self._refresh()
        return not self.over_limit

    def room_to_record(self) -> bool:
        """
        Say whether what comes of a send could be recorded; no send starts without. Any thread.
        """
        return self._reserve.room()

    def _refresh(self) -> None:
        self._used, free = self._writing.used_and_free()
        self._stats.used, self._stats.free = self._used, free
        self._since_refresh = 0

    # -- upkeep

    def maintain(self, now_ns: int, strip: Strip | None = None) -> bool:
        """
        Do small steps of retention, scrubbing and checkpointing, about once a second; True: retention has more to do at once.

        With ``strip``, a frame past retention is reduced to its open quarantine entries; without, it stays whole while it
        has any. A full disk or a passing failure is counted and tried again at the next call.

        :raises FatalError: an fsync failed.
        """
        self._reserve.restore()
        more = False
        try:
            with self._writing.translated("maintaining"):
                self._upkeep.step(now_ns)
                until = self._clock.monotonic() + RETENTION_SECS
                while more := self._upkeep.retain(now_ns, self._used, strip):
                    self._refresh()
                    if self._clock.monotonic() >= until:
                        break
                self._refresh()
                self._stats.look(self._connection)
        except RetryableError:
            return False
        self.checkpoint()
        return more

    def checkpoint(self) -> None:
        """
        Copy the log into the main file when 4 MiB have come together; best called when answers have just been given.

        :raises FatalError: an fsync failed: the log must not be reused.
        """
        self._writing.checkpoint()

    # -- reads, any thread

    @property
    def idle_count(self) -> int:
        """
        Return the number of streams in the idle table.
        """
        return self._idle

    def idle_rows(self, keys: Iterable[bytes]) -> list[bytes]:
        """
        Return the rows of those of the keys that are in the idle table, as of the last commit.

        :raises CorruptLedgerError: a row is not what was stored; counting on without it would bill twice.
        """
        return self._idle_table.rows(keys)

    def quarantine_over_quota(self, principal: str) -> bool:
        """
        Say whether a principal holds more than ``quarantine_max_bytes`` of open entries: it alone is refused.
        """
        return self._holdings.over(principal)

    def principals_over_quota(self) -> list[str]:
        """
        Return every principal that is over its quota.
        """
        return self._holdings.all_over()

    def discard_quarantine(self, transaction: Transaction, row: int) -> int:
        """
        End the open entries of one index row, by a person's act: a job. Returns how many there were.
        """
        self._stale = True
        return quarantine.discard(transaction.connection, row)

    def samples(self) -> Iterable[Sample]:
        """
        Return the ledger's own numbers.
        """
        return self._stats.samples()
