"""
The ledger's own numbers.
"""

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path

import apsw

from meterline.api.plugin import Sample
from meterline.ledger.quarantine import Holdings
from meterline.ledger.reserve import Reserve


class Stats:
    """
    Plain counters, touched once per commit; read by telemetry from any thread.
    """

    def __init__(self, path: Path, holdings: Holdings, reserve: Reserve) -> None:
        self._wal = f"{path}-wal"
        self._holdings = holdings
        self._reserve = reserve
        self.commits = 0
        self.commit_seconds = 0.0
        self.sync_seconds = 0.0
        self.checkpoints = 0
        self.checkpoint_seconds = 0.0
        self.failures = 0
        self.full = 0
        self.bytes = 0
        self.frames = 0
        self.corrupt_frames = 0
        self.used = 0
        self.free = 0

    def committed(self, seconds: float, sync_seconds: float) -> None:
        """
        Count a transaction: its whole time, and that of its COMMIT alone (log written and synced).
        """
        self.commits += 1
        self.commit_seconds += seconds
        self.sync_seconds += sync_seconds

    def checkpointed(self, seconds: float) -> None:
        """
        Count a checkpoint.
        """
        self.checkpoints += 1
        self.checkpoint_seconds += seconds

    def look(self, connection: apsw.Connection) -> None:
        """
        Look at how many frames were set aside.
        """
        self.corrupt_frames = connection.execute("SELECT count(*) FROM corrupt_frame").get

    def samples(self) -> Iterable[Sample]:
        """
        Return all numbers.
        """
        numbers = {
            "commits": self.commits,
            "commit_seconds": self.commit_seconds,
            "sync_seconds": self.sync_seconds,
            "checkpoints": self.checkpoints,
            "checkpoint_seconds": self.checkpoint_seconds,
            "commit_failures": self.failures,
            "full": self.full,
            "stored_bytes": self.bytes,
            "used_bytes": self.used,
            "free_bytes": self.free,
            "wal_bytes": self._wal_size(),
            "frames": self.frames,
            "corrupt_frames": self.corrupt_frames,
            "reserve_held": int(self._reserve.held),
        }
        yield from (Sample(f"meterline_ledger_{name}", {}, value) for name, value in numbers.items())
        for reason, entries in self._holdings.by_reason():
            yield Sample("meterline_ledger_quarantine_open", {"reason": reason}, entries)

    def _wal_size(self) -> int:
        with contextlib.suppress(OSError):
            return os.stat(self._wal).st_size  # noqa: PTH116 - read at each collection, without a Path
        return 0
