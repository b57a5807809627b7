"""
What lies on one exporter's desk: batches that wait for their next send, and receipts on their way into the ledger.
"""

import random
from dataclasses import replace
from typing import Any, Final, NamedTuple

import apsw

from meterline.api import Receipt
from meterline.api.receipt import unknown_all
from meterline.delivery.batch import StoredBatch
from meterline.delivery.bell import Bell
from meterline.delivery.books import Books, StoppedError
from meterline.delivery.judge import Again, Case, Decision, Policy, Settled
from meterline.delivery.plan import Draft
from meterline.delivery.schedule import NANOS
from meterline.delivery.stock import Stock
from meterline.ledger import deliveries
from meterline.ledger.deliveries import BatchRow

TROUBLE_SECS: Final = 1.0

Follower = tuple[Draft, BatchRow]
"""The next batch, formed in the transaction that stores the last receipt."""


class Waiting(NamedTuple):
    """
    A batch that waits for its next send, at ``due`` monotonic seconds.
    """

    row: BatchRow
    due: float


class Desk:
    """
    For the exporter's own thread. ``waiting``: by batch number.
    """

    def __init__(self, books: Books, policy: Policy, bell: Bell, luck: random.Random, log: Any) -> None:
        self.waiting: dict[int, Waiting] = {}
        self._books = books
        self._policy = policy
        self._tide = bell.tide
        self._clock = bell.tide.clock
        self._bell = bell
        self._luck = luck
        self._log = log

    def wait_for(self, row: BatchRow) -> None:
        """
        Put a batch down until its ``next_at``; the wait itself is on the monotonic clock.
        """
        delay = max(0, row.next_at - self._clock.now_ns()) / NANOS
        self.waiting[row.number] = Waiting(row, self._clock.monotonic() + delay)

    def due(self, now: float) -> BatchRow | None:
        """
        Return the batch that has been due for longest, or None.
        """
        found = min(
            (each for each in self.waiting.values() if each.due <= now), key=lambda each: each.due, default=None
        )
        return None if found is None else found.row

    def judge(self, stock: Stock, batch: StoredBatch, receipt: Receipt) -> Decision:
        """
        Decide on a receipt.
        """
        return Case(batch, receipt, self._policy, self._clock.now_ns(), self._luck.random(), stock.number).decide()

    def doubt(self, stock: Stock, batch: StoredBatch) -> None:
        """
        Store that a send of a former life had no answer; if it is to be sent again, then at once.
        """
        decision = self.judge(stock, batch, unknown_all("meterline ended before the answer came"))
        if isinstance(decision, Again):
            decision = decision._replace(row=replace(decision.row, next_at=self._clock.now_ns()))
        self.commit(decision)

    def take_back(self, row: BatchRow) -> None:
        """
        Store that a batch about to be sent was not sent after all.
        """
        unsent = replace(row, attempt=row.attempt - 1, next_at=self._clock.now_ns(), reason="not sent yet")
        self._books.commit(lambda connection: deliveries.reschedule(connection, self._books.name, unsent))

    def commit(self, decision: Decision, follower: Follower | None = None) -> None:
        """
        Store a decision and take over into memory what the ledger then holds.
        """

        def work(connection: apsw.Connection) -> None:
            self._write(connection, decision)
            if follower is not None:
                enter(connection, self._books.name, *follower)

        self._books.commit(work)
        if isinstance(decision, Settled):
            self.waiting.pop(decision.settlement.number, None)
        for row in [decision.row] if isinstance(decision, Again) else decision.settlement.rest:
            self.wait_for(row)

    def keep_storing(self, decision: Decision, error: Exception) -> None:
        """
        Store a receipt that could not be stored, until it is.

        :raises StoppedError: the gateway ends first; the batch is unknown at the next start.
        """
        while True:
            self._log.warning("storing a receipt failed, it is kept and stored again", error=str(error))
            self._bell.sleep(TROUBLE_SECS)
            if self._tide.over:
                raise StoppedError
            try:
                self.commit(decision)
            except StoppedError:
                raise
            except Exception as again:  # noqa: BLE001 - the receipt is kept until it is stored
                error = again
            else:
                return

    def _write(self, connection: apsw.Connection, decision: Decision) -> None:
        if isinstance(decision, Again):
            deliveries.reschedule(connection, self._books.name, decision.row, decision.listed)
            return
        deliveries.settle(connection, self._books.name, decision.settlement)
        if decision.listed_before:
            deliveries.answered(connection, self._books.name, decision.settlement.number, self._clock.now_ns())


def enter(connection: apsw.Connection, name: str, draft: Draft, row: BatchRow) -> None:
    """
    Record a new batch and move the cursor past it.
    """
    deliveries.form(connection, name, row, draft.cursor, draft.excluded)
