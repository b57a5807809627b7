"""
The seam between the gateway and a kernel: bytes -> points -> frame. A second kernel can stand behind it unchanged.

Nothing outside ``kernel/`` knows how a batch, a frame, a chunk or an idle row is laid out; they cross the seam as bytes or
opaque objects. Quantities inside are ``Amount``: int multiples of 10^-18. Times are int nanoseconds UTC. Design and measured
costs: the kernel seam reference; meanings: semantics.md 1-5.

Threads. ``Kernel.decode``, ``Meter.resolve``, ``learn`` and ``decide`` run on any thread; everything else of a ``Meter`` runs
on the one kernel thread. ``apply`` never calls back, does no I/O, and cannot fail.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from meterline.api.receiver import Format, Principal
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
from meterline.kernel.results import (
    BALANCE,
    Applied,
    Chunk,
    Event,
    Frame,
    QuarantineEntry,
    RestoreReport,
    SnapshotPart,
    StoredFrame,
    TotalRow,
)
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
