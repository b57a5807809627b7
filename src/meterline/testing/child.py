"""
A gateway with something changed inside, for tests only: ``python -m meterline.testing.child CHANGES run CONFIG``.

``CHANGES`` is a comma-separated list. ``snapshot_points=N`` takes snapshots every N points, so that a short run
meets many; ``failing_commits=N`` makes every N-th commit of a frame fail, as a full disk would. The rest plant bugs,
each of which the harness must catch:

``answer_early``  senders are answered before the commit.
``settle_early``  a batch's row is deleted before it is sent, so before its receipt.
``no_rollback``   a failed commit leaves the memory as it is.
"""

# ruff: noqa: SLF001 - faults are planted through private names

import os
import random
import sys
from collections.abc import Callable
from typing import Any, Final

import apsw

from meterline.cli import main as meterline
from meterline.delivery.judge import Decision, Settled
from meterline.delivery.plan import Draft
from meterline.delivery.worker import Worker
from meterline.errors import LedgerFullError
from meterline.intake.writer import Writer
from meterline.ledger import Ledger, deliveries
from meterline.ledger.deliveries import BatchRow, Settlement
from meterline.ledger.model import CommitGroup, CommitResult, LedgerOptions


def snapshot_points(value: str) -> None:
    """
    Take a snapshot every so many points.
    """
    defaults = list(LedgerOptions.__init__.__defaults__ or ())
    names = LedgerOptions.__init__.__code__.co_varnames[1:]
    defaults[names.index("snapshot_points")] = int(value)
    LedgerOptions.__init__.__defaults__ = tuple(defaults)


def failing_commits(value: str) -> None:
    """
    Fail one in so many commits that hold a frame, at random, before anything of it is stored.
    """
    commit = Ledger.commit
    chance = random.Random(os.getpid())

    def failing(self: Ledger, group: CommitGroup) -> CommitResult:
        if group.frame is not None and chance.randrange(int(value)) == 0:
            raise LedgerFullError("committing: a failure that the test asked for")
        return commit(self, group)

    Ledger.commit = failing  # type: ignore[method-assign]


def answer_early(_value: str) -> None:
    """
    Plant: tell senders "stored" before it is.
    """
    store = Writer._store

    def early(self: Writer, group: CommitGroup, applied: Any, jobs: Any) -> None:
        self._answer(applied)
        store(self, group, [], jobs)

    Writer._store = early  # type: ignore[method-assign]


def settle_early(_value: str) -> None:
    """
    Plant: forget a batch in the transaction that forms it, so before it is sent.
    """
    enter = Worker._enter

    def entering(self: Worker, connection: apsw.Connection, draft: Draft, row: BatchRow) -> None:
        enter(self, connection, draft, row)
        deliveries.settle(connection, self.name, Settlement(row.number, delivered=row.count))

    def writing(self: Worker, connection: apsw.Connection, decision: Decision) -> None:
        if isinstance(decision, Settled):
            deliveries.store_checkpoint(connection, self.name, decision.settlement.checkpoint)

    Worker._enter = entering  # type: ignore[method-assign]
    Worker._write = writing  # type: ignore[method-assign]


def no_rollback(_value: str) -> None:
    """
    Plant: keep in memory what the ledger did not take. A sender that sends again is told that it is a duplicate.
    """


CHANGES: Final[dict[str, Callable[[str], None]]] = {
    "snapshot_points": snapshot_points,
    "failing_commits": failing_commits,
    "answer_early": answer_early,
    "settle_early": settle_early,
    "no_rollback": no_rollback,
}


def main() -> None:
    """
    Make the changes, then be ``meterline``.
    """
    for change in sys.argv.pop(1).split(","):
        name, _, value = change.partition("=")
        CHANGES[name](value)
    meterline(prog_name="meterline")


if __name__ == "__main__":
    main()
