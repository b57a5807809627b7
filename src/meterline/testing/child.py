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
from meterline.errors import LedgerFullError
from meterline.intake.writer import Writer
from meterline.kernel.frame_open import OpenFrame
from meterline.kernel.meter import PythonMeter
from meterline.ledger import Ledger, deliveries
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
    form, settle = deliveries.form, deliveries.settle

    def forming(
        connection: apsw.Connection, name: str, row: deliveries.BatchRow, cursor: deliveries.Position, excluded: int = 0
    ) -> None:
        form(connection, name, row, cursor, excluded)
        settle(connection, name, deliveries.Settlement(row.number, delivered=row.count))

    def settling(connection: apsw.Connection, name: str, settlement: deliveries.Settlement) -> bool:
        deliveries.store_checkpoint(connection, name, settlement.checkpoint)
        return True

    deliveries.form, deliveries.settle = forming, settling


def no_rollback(_value: str) -> None:
    """
    Plant: keep in memory what the ledger did not take. A sender that sends again is told that it is a duplicate.
    """

    def nothing(self: PythonMeter, frame: OpenFrame) -> None:
        pass

    PythonMeter._undo = nothing  # type: ignore[method-assign]


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
