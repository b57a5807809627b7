"""
What a kernel says: of a body that was applied, of a frame that was sealed, of its state for the ledger. Plain data.

``kernel.seam`` exports all of it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from meterline.api.receiver import ItemResult
from meterline.kernel.reasons import Reason
from meterline.quantity import Amount


@dataclass(frozen=True, slots=True)
class Applied:
    """
    What became of the points of one batch; the five counts add up to ``points``.

    ``answered``: the request is an exact repeat that its digest recognised, all points are duplicate, and its first answer
    named that many as quarantined: the sender is told the same again. ``items``: of a ``Format.USAGE`` batch, one for each.
    """

    points: int = 0
    recorded: int = 0
    quarantined: int = 0
    duplicate: int = 0
    no_usage: int = 0
    unmatched: int = 0
    reasons: Mapping[Reason, int] = field(default_factory=dict)
    answered: int = 0
    items: tuple[ItemResult, ...] = ()


@dataclass(frozen=True, slots=True)
class QuarantineEntry:
    """
    One quarantined point or claim of a frame, for the ledger's index. ``key``: of an open raw entry, else b"".

    ``quantity`` is in dispute or claimed (None for raw). ``size``: bytes it holds in the frame.
    """

    kind: Literal["raw", "claim", "disputed"]
    reason: Reason
    rule: str
    stream: bytes
    receiver: str
    principal: str
    received_at: int
    time: int
    quantity: Amount | None
    record_id: str
    key: bytes
    size: int
    detail: str


@dataclass(frozen=True, slots=True)
class Event:
    """
    A row of the audit table: something a person may want to know, with its numbers as JSON-able data.
    """

    kind: str
    rule: str
    stream: str
    detail: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Frame:
    """
    One atomic unit of the ledger. ``body`` is self-contained except for the meters it names, which ``definitions`` of this or
    an earlier frame declare: ids ``first_meter`` .. ``first_meter + meters - 1``, ranges without holes or overlaps.

    ``records``: how many records ``Kernel.records`` makes of it. ``balance``: increments, by the names in ``BALANCE``.
    ``closed``: keys of raw entries that this frame ends (none yet beyond retries).
    """

    seq: int
    gen: int
    body: bytes
    definitions: bytes
    first_meter: int
    meters: int
    points: int
    records: int
    balance: Mapping[str, int]
    quarantine: Sequence[QuarantineEntry] = ()
    events: Sequence[Event] = ()


BALANCE: Final = (
    "received",
    "recorded",
    "quarantined",
    "duplicate",
    "no_usage",
    "unmatched",
    "claims",
    "claim_records",
    "claim_quarantined",
    "claim_duplicate",
    "claim_no_usage",
)
"""Points: the first is the sum of the next five. Claims: ``claims`` is the sum of the four after it."""


@dataclass(frozen=True, slots=True)
class TotalRow:
    """
    An increment of the totals since the last ``Meter.totals``: exact, already scaled; ``hour``: start of the hour in ns.
    """

    customer: str
    dimension: str
    hour: int
    value: int  # multiples of 10^-30
    count: int


@dataclass(frozen=True, slots=True)
class Chunk:
    """
    A part of the state as of frame ``seq``; a later chunk with the same id replaces it.
    """

    id: int
    seq: int
    body: bytes


@dataclass(frozen=True, slots=True)
class SnapshotPart:
    """
    One step of a snapshot: chunks to store, ids whose stored body is still right as of ``seq``, ids to delete.
    """

    seq: int
    chunks: Sequence[Chunk]
    unchanged: Sequence[int]
    dropped: Sequence[int]
    complete: bool


@dataclass(frozen=True, slots=True)
class StoredFrame:
    """
    A frame as the ledger gives it back. ``definitions`` b"" when it declared none.
    """

    seq: int
    gen: int
    body: bytes
    definitions: bytes


@dataclass(frozen=True, slots=True)
class RestoreReport:
    """
    What a restore found: streams resident, frames replayed, and holes in the chain of last times (frame numbers).
    """

    streams: int
    frames: int
    last_seq: int
    holes: Sequence[int] = ()
