"""
The one write connection: transactions, what their failures mean, and the log's way into the main file.
"""

import contextlib
from collections.abc import Iterator
from typing import Final

import apsw

from meterline.clock import Clock
from meterline.errors import FatalError, MeterlineError, RetryableError
from meterline.ledger import faults
from meterline.ledger.stats import Stats

CHECKPOINT_BYTES: Final = 4 * 1_048_576
CHECKPOINT_LATE_BYTES: Final = 8 * 1_048_576
"""A commit makes room first from here on, if nobody has after the answers: 4 MiB cost 3 to 7 ms, and little is felt of it."""


class Writing:
    """
    For one thread at a time. After a FatalError nothing but ``close`` is legal, and nothing is synced any more.
    """

    def __init__(self, connection: apsw.Connection, name: str, clock: Clock, stats: Stats) -> None:
        self.connection = connection
        self.dead = False
        self._name = name
        self._clock = clock
        self._stats = stats
        self._page_bytes: int = connection.pragma("page_size")
        self._wal_bytes = 0
        connection.set_wal_hook(self._on_wal)  # in the place of SQLite's own checkpoints, whose errors are silent

    def _on_wal(self, _connection: apsw.Connection, _name: str, pages: int) -> int:
        self._wal_bytes = pages * self._page_bytes
        return 0

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """
        BEGIN IMMEDIATE .. COMMIT, durable when it is left; any exception rolls all of it back.
        """
        started = self._clock.monotonic()
        self.connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            writing = self._clock.monotonic()
            self.connection.execute("COMMIT")
        except BaseException:
            self._abort()
            raise
        ended = self._clock.monotonic()
        self._stats.committed(ended - started, ended - writing)

    def _abort(self) -> None:
        """
        Leave no transaction open; a connection that cannot roll back is unusable.
        """
        if not self.connection.in_transaction:
            return
        try:
            self.connection.execute("ROLLBACK")
        except apsw.Error as error:
            self._die()
            raise FatalError(f"rolling back in ledger {self._name!r}: {error}") from error

    def _die(self) -> None:
        """
        Closing must not copy and sync a log that may not be what it seems.
        """
        self.dead = True
        self.connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)

    @contextlib.contextmanager
    def translated(self, doing: str) -> Iterator[None]:
        """
        Raise SQLite's errors as what they mean for the engine.
        """
        if self.dead:
            raise FatalError(f"{doing} in ledger {self._name!r}: an fsync failed before; the process must stop")
        try:
            with faults.raised_as_meant(self.connection, f"{doing} in ledger {self._name!r}"):
                yield
        except (MeterlineError, apsw.Error) as error:
            self._stats.failures += 1
            if isinstance(error, FatalError):
                self._die()
            raise

    def checkpoint(self, at_least: int = CHECKPOINT_BYTES) -> None:
        """
        Copy the log into the main file once so many bytes have come together. Never waits for readers.

        :raises FatalError: an fsync failed: the log must not be reused.
        """
        if self._wal_bytes < at_least:
            return
        started = self._clock.monotonic()
        try:
            with self.translated("checkpointing"):
                self.connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
        except RetryableError:
            return
        self._wal_bytes = 0
        self._stats.checkpointed(self._clock.monotonic() - started)

    def used_and_free(self) -> tuple[int, int]:
        """
        Return the bytes of the file's pages in use, and of those that wait for use.
        """
        free, pages = self.connection.pragma("freelist_count"), self.connection.pragma("page_count")
        return (pages - free) * self._page_bytes, free * self._page_bytes
