"""
One exporter's entries in the ledger: each call is one job on the writer thread, durable when it returns.
"""

import threading
from collections.abc import Callable
from concurrent.futures import CancelledError, wait
from typing import TypeVar

import apsw

from meterline.errors import FatalError
from meterline.ledger import deliveries
from meterline.ledger.deliveries import BatchRow, ExporterRow
from meterline.ledger.model import Transaction, Transactor

T = TypeVar("T")

_POLL_SECS = 0.25


class StoppedError(Exception):
    """
    The ledger takes no more jobs, or nobody waits any more: this thread is to end and change nothing.
    """


class Books:
    """
    Commits for one exporter.
    """

    def __init__(self, name: str, transactor: Transactor, abandoned: threading.Event) -> None:
        self.name = name
        self._row: ExporterRow | None = None
        self._transactor = transactor
        self._abandoned = abandoned

    @property
    def row(self) -> ExporterRow:
        """
        Return what the ledger held after the last commit.

        :raises StoppedError: it has no such exporter (any more).
        """
        if self._row is None:
            raise StoppedError
        return self._row

    @property
    def last(self) -> ExporterRow | None:
        """
        Return the same, or None before the first; any thread.
        """
        return self._row

    def commit(self, work: Callable[[apsw.Connection], object]) -> None:
        """
        Do the work in one transaction and wait for it.

        :raises StoppedError: the ledger is closing; whether the work was stored is seen at the next start.
        :raises MeterlineError: nothing was stored.
        """

        def job(transaction: Transaction) -> ExporterRow | None:
            work(transaction.connection)
            return deliveries.exporter(transaction.connection, self.name)

        self._row = self._wait(job)

    def store_checkpoint(self, checkpoint: bytes) -> None:
        """
        Store a checkpoint without a batch.
        """
        self.commit(lambda connection: deliveries.store_checkpoint(connection, self.name, checkpoint))

    def show_pause(self, reason: str | None, unsent: BatchRow | None = None) -> None:
        """
        Show whether this exporter is paused, if the ledger does not yet; ``unsent``: the batch that met the pause.
        """
        if unsent is None and self.row.paused == reason:
            return

        def work(connection: apsw.Connection) -> None:
            if unsent is not None:
                deliveries.reschedule(connection, self.name, unsent)
            deliveries.pause(connection, self.name, reason)

        self.commit(work)

    def load(self) -> list[BatchRow]:
        """
        Read this exporter's row and batches, after every job queued before.
        """

        def job(transaction: Transaction) -> tuple[ExporterRow | None, list[BatchRow]]:
            connection = transaction.connection
            return deliveries.exporter(connection, self.name), deliveries.batches(connection, self.name)

        self._row, rows = self._wait(job)
        return rows

    def _wait(self, job: Callable[[Transaction], T]) -> T:
        future = self._transactor.transact(job)
        while not wait([future], timeout=_POLL_SECS).done:
            if self._abandoned.is_set():
                raise StoppedError
        try:
            return future.result()
        except (CancelledError, FatalError) as error:
            raise StoppedError from error
