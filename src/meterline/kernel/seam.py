"""
The seam between the gateway and a kernel: bytes -> points -> frame. A second kernel can stand behind it unchanged.

Nothing outside ``kernel/`` knows how a batch, a frame, a chunk or an idle row is laid out; they cross the seam as bytes or
opaque objects. Quantities inside are ``Amount``: int multiples of 10^-18. Times are int nanoseconds UTC. Design and measured
costs: the kernel seam reference; meanings: semantics.md 1-5.

Threads. ``Kernel.decode``, ``Meter.resolve``, ``learn`` and ``decide`` run on any thread; everything else of a ``Meter`` runs
on the one kernel thread. ``apply`` never calls back, does no I/O, and cannot fail.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, Protocol

from meterline.api.receiver import Format, ItemResult, Principal
from meterline.kernel.questions import (
    ABSENT,
    Bad,
    Charge,
    Context,
    ContextVerdict,
    Fields,
    LogIdentity,
    Path,
    PointType,
    PointView,
    Shape,
    Temporality,
    Track,
    Unknown,
    Value,
    Verdict,
)
from meterline.kernel.reasons import Reason
from meterline.quantity import Amount
from meterline.records import UsageRecord

__all__ = [
    "ABSENT",
    "BALANCE",
    "Applied",
    "Bad",
    "Batch",
    "Charge",
    "Chunk",
    "Context",
    "ContextVerdict",
    "Event",
    "Fields",
    "Frame",
    "Kernel",
    "LogIdentity",
    "Meter",
    "MeterOptions",
    "Names",
    "Path",
    "Plan",
    "PointType",
    "PointView",
    "QuarantineEntry",
    "RecordBatch",
    "RestoreReport",
    "Shape",
    "SnapshotPart",
    "StoredFrame",
    "Temporality",
    "TotalRow",
    "Track",
    "Unknown",
    "Value",
    "Verdict",
]


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


@dataclass(frozen=True, slots=True)
class MeterOptions:
    """
    The knobs of semantics.md sections 2 and 3. ``max_attribute_depth`` is 64.
    """

    max_dedupe_ids: int = 5_000_000
    dedupe_horizon_ns: int = 2_678_400 * 10**9
    digest_horizon_ns: int = 3600 * 10**9
    max_digests: int = 1_000_000
    idle_ns: int = 86_400 * 10**9
    max_resident_streams: int = 2_000_000
    start_skew_ns: int = 0
    max_future_ns: int = 3600 * 10**9
    max_past_ns: int = 400 * 86_400 * 10**9
    max_cached_shapes: int = 200_000


class Plan(Protocol):
    """
    One generation of the rules as a kernel sees it: no callables, memoised contexts.
    """

    @property
    def gen(self) -> int:
        """
        Return the generation: 1, 2, ... over the life of a ledger; the same rule set keeps its number.
        """


class Batch(Protocol):
    """
    A decoded body; opaque, holds the body.
    """

    @property
    def points(self) -> int:
        """
        Return how many points it has.
        """


class Names(Protocol):
    """
    Finds the definitions of meters that earlier frames declared.
    """

    def definitions(self, meter: int) -> bytes:
        """
        Return the ``Frame.definitions`` that declares this meter id. Raises KeyError when there is none.
        """


class RecordBatch(Protocol):
    """
    The records of one frame, in an order that is fixed for ever. Ordinals are 0 .. len - 1.
    """

    def __len__(self) -> int: ...

    def select(self, keep: Callable[[str, str, str], bool]) -> Sequence[int]:
        """
        Return the ordinals of the records whose (rule, customer, dimension) is kept; asked once per charge.
        """

    def record(self, ordinal: int) -> UsageRecord:
        """
        Build one record.
        """

    def encode(self, fmt: Literal["ndjson", "csv"], ordinals: Sequence[int]) -> bytes:
        """
        Return these records as lines that end in a newline: JSON as issue 1 names its keys, or RFC 4180 CSV, same columns.
        """

    def totals(self) -> Iterable[TotalRow]:
        """
        Return what this frame adds to the totals.
        """


class Kernel(Protocol):
    """
    The pure functions; no state but caches.
    """

    @property
    def implementation(self) -> str:
        """
        Return ``python`` or ``native``.
        """

    def plan(self, gen: int, rules_hash: str) -> Plan:
        """
        Make the empty memo of one rule-set generation.
        """

    def decode(self, body: bytes, fmt: Format, plan: Plan) -> Batch:
        """
        Walk a body into columns and spans. Pure, any thread, linear in the body. Raises UndecodableError.
        """

    def meter(self, options: MeterOptions) -> "Meter":
        """
        Make an empty meter: the state of all streams.
        """

    def records(self, body: bytes, names: Names) -> RecordBatch:
        """
        Expand a frame into its records.
        """

    def strip(self, frame: StoredFrame) -> bytes:
        """
        Reduce a frame to its quarantined points: the body of a frame without records, which retention keeps in its place.
        """


class Meter(Protocol):
    """
    The state of all streams, in memory; equals what the ledger holds after ``committed`` or ``rollback``.
    """

    def source(self, receiver: str, principal: Principal) -> int:
        """
        Return the index of (receiver, principal); any thread. The right to write for a customer is checked in ``apply``.
        """

    def resolve(self, batch: Batch) -> Unknown | None:
        """
        Bind the batch to known contexts, shapes and streams; None: it can be applied. Any thread.
        """

    def learn(self, gen: int, got: Sequence[tuple[int, ContextVerdict | Verdict]]) -> None:
        """
        Take the answers to ``Unknown.contexts`` and ``.shapes``. Idempotent; any thread.
        """

    def decide(self, batch: Batch, masks: Sequence[tuple[int, int, int]]) -> None:
        """
        Take the answers to ``Unknown.points``: (id, mask of gated charges that hold, mask of those that erred).
        """

    def load(self, keys: Sequence[bytes], rows: Sequence[bytes]) -> None:
        """
        Bring idle streams back: ``keys`` were looked up in the idle table, ``rows`` were found and leave it with the open
        frame (``unidled``); the other keys are new. Kernel thread, before ``apply``; undone by ``rollback``.
        """

    def unidled(self) -> Sequence[bytes]:
        """
        Return the keys loaded since the last ``seal``: the ledger deletes them from the idle table with that frame.
        """

    def evict(self, now: int, limit: int) -> Sequence[tuple[bytes, bytes]]:
        """
        Take idle streams out of memory, at most ``limit``: (16-byte key, row) pairs for the idle table, stored with the frame
        sealed next. Kernel thread, before ``seal``; undone by ``rollback``.
        """

    def apply(self, batch: Batch, received_at: int, source: int) -> Applied | None:
        """
        Step all points. None: a stale generation or a stream that is not resident; nothing was done, resolve again.
        """

    def quarantine_body(self, body: bytes, fmt: Format, received_at: int, source: int, detail: str) -> Applied:
        """
        Quarantine a whole body as ``internal_error`` (semantics.md 6: the third unexpected exception on the same body).
        """

    def seal(self) -> Frame | None:
        """
        Close the open frame; None when nothing happened since the last. Later applies build on it while it syncs.
        """

    def committed(self, seq: int) -> None:
        """
        Drop the undo of all frames up to this one.
        """

    def rollback(self, seq: int) -> None:
        """
        Undo the open frame and every sealed one >= ``seq``; the next frame sealed has number ``seq``.
        """

    def totals(self) -> Sequence[TotalRow]:
        """
        Return and clear what was added to the totals since the last call: part of the undo of the frame sealed next.
        """

    def snapshot(self, max_bytes: int) -> SnapshotPart:
        """
        Encode the next dirty chunks, about ``max_bytes`` of them, as of the last *committed* frame. Call it when no frame is
        open or unsynced.
        """

    def restore(
        self,
        chunks: Iterable[Chunk],
        frames: Iterable[StoredFrame],
        open_raw: Iterable[bytes],
        idle: int,
        next_meter: int,
    ) -> RestoreReport:
        """
        Fill an empty meter: chunks, then frames in order (a row is skipped if its frame is not newer than its chunk), the
        keys of open raw entries, the number of rows in the idle table, and the first meter id that was never declared.
        """

    @property
    def streams(self) -> int:
        """
        Return the number of resident streams.
        """

    def counters(self) -> Mapping[str, int]:
        """
        Return sizes for telemetry: resident streams, dedupe ids, digests, cached shapes, open raw keys.
        """
