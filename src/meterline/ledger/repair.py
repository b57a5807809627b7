"""
The way out when a frame that the state still needs is damaged and there is no backup.

``python -m meterline.ledger.repair PATH FRAME`` sets the frame aside, so that the gateway starts without it. What that
frame alone knew is gone: its usage is missing from the totals unless they held it already; an exporter that had not
delivered it books it as dead (``frame_corrupt``); and a stream that it advanced continues from its state before, so that
the next reading of a cumulative counter counts the frame's increments again.
"""

import argparse
import contextlib
import sys
from collections.abc import Sequence
from pathlib import Path

import apsw

from meterline.clock import Clock, SystemClock
from meterline.errors import ConfigurationError, MeterlineError
from meterline.ledger import frames, restore
from meterline.ledger.lock import OwnerLock
from meterline.ledger.opening import open_writer
from meterline.ledger.upkeep import set_aside


def repair(path: Path, seq: int, clock: Clock) -> int:
    """
    Set one damaged frame aside; returns how many records it held. The gateway must not run.

    :raises LedgerLockedError: it runs.
    :raises ConfigurationError: there is no such ledger or frame, or the frame is whole.
    """
    if not path.exists():
        raise ConfigurationError(f"repairing ledger '{path}': there is no such file")
    with contextlib.closing(OwnerLock(path, clock.now_ns())):
        connection = open_writer(path, None, clock.now_ns())
        with contextlib.closing(connection):
            return _repair(connection, path, seq, clock.now_ns())


def _repair(connection: apsw.Connection, path: Path, seq: int, now_ns: int) -> int:
    row = frames.one(connection, seq)
    if row is None and not 0 < seq <= restore.last_seq(connection):
        raise ConfigurationError(f"repairing ledger '{path}': it has no frame {seq}")
    if row is not None and row.frame is not None:
        raise ConfigurationError(f"repairing ledger '{path}': frame {seq} is whole; nothing was changed")
    records = 0 if row is None else row.records
    connection.execute("BEGIN IMMEDIATE")
    set_aside(connection, seq, records, "by an operator's repair", now_ns)
    connection.execute("COMMIT")
    return records


def main(arguments: Sequence[str] | None = None) -> int:
    """
    Run the command; returns its exit code.
    """
    parser = argparse.ArgumentParser(prog="python -m meterline.ledger.repair", description=repair.__doc__)
    parser.add_argument("path", type=Path, help="the ledger's file")
    parser.add_argument("frame", type=int, help="the number that the error named")
    asked = parser.parse_args(arguments)
    try:
        records = repair(asked.path, asked.frame, SystemClock())
    except MeterlineError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(f"set frame {asked.frame} aside; it held {records} records\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
