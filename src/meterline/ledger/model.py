"""
What crosses the ledger's door: plain data, no SQL.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

import apsw

from meterline.generations import Generation, RuleKey
from meterline.kernel.seam import Chunk, Frame, SnapshotPart, StoredFrame, TotalRow

__all__ = [
    "CommitGroup",
    "CommitResult",
    "FrameRow",
    "Generation",
    "LedgerOptions",
    "RuleKey",
    "StoredState",
    "Transaction",
    "Transactor",
]

T = TypeVar("T")

MIB = 1_048_576


@dataclass(frozen=True, slots=True)
class LedgerOptions:
    """
    The ``ledger`` section of the config, in base units. ``snapshot_points``: at least so many points between two snapshots.
    """

    max_bytes: int = 10_240 * MIB
    retention_ns: int = 7 * 86_400 * 10**9
    quarantine_max_bytes: int = 256 * MIB
    reserve_bytes: int = 64 * MIB
    snapshot_points: int = 1_000_000


@dataclass(frozen=True, slots=True)
class StoredState:
    """
    What ``Meter.restore`` is given at start. The iterables read lazily and may be walked once.
    """

    chunks: Iterable[Chunk]
    frames: Iterable[StoredFrame]
    open_raw: Iterable[bytes]
    idle: int
    next_meter: int
    last_seq: int


class Transaction(Protocol):
    """
    An open write transaction, as a job sees it. A job uses the connection and never commits or rolls back itself.
    """

    @property
    def connection(self) -> apsw.Connection:
        """
        Return the write connection, inside BEGIN IMMEDIATE.
        """

    @property
    def now_ns(self) -> int:
        """
        Return the wall time of this transaction.
        """


class Transactor(Protocol):
    """
    Runs jobs on the one writer thread, each whole or not at all, many in one commit.
    """

    def transact(self, job: Callable[[Transaction], T]) -> "Future[T]":
        """
        Queue a job. The future holds its result after the fsync, its own exception (it alone is undone), or the failure of
        the commit (LedgerFullError and the like: nothing of it was stored). After a shutdown: CancelledError.
        """


@dataclass(frozen=True, slots=True)
class CommitGroup:
    """
    All that one commit stores; nothing of it, when it fails. ``totals`` None: not flushed with this commit.

    ``remembered``: state of receivers, by receiver and key; b"" is deleted.
    """

    frame: Frame | None = None
    idled: Sequence[tuple[bytes, bytes]] = ()
    unidled: Sequence[bytes] = ()
    totals: Sequence[TotalRow] | None = None
    snapshot: SnapshotPart | None = None
    jobs: Sequence[Callable[[Transaction], Any]] = ()
    remembered: Mapping[tuple[str, str], bytes] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CommitResult:
    """
    What each job of the group returned or raised, in order.
    """

    jobs: Sequence[Any | Exception] = field(default_factory=tuple)


@dataclass(frozen=True, slots=True)
class FrameRow:
    """
    A frame as a reader finds it; ``frame`` None: its CRC failed, ``records`` of it are lost to whoever had not read it.
    """

    seq: int
    records: int
    committed_at: int
    frame: StoredFrame | None
