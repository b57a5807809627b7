"""
A kernel with a ledger of dictionaries around it: what the gateway does with a meter, without disks and threads.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal

from meterline.api.receiver import ANONYMOUS, Format, Principal
from meterline.kernel.seam import (
    Applied,
    Chunk,
    Event,
    Frame,
    Kernel,
    Meter,
    MeterOptions,
    QuarantineEntry,
    RestoreReport,
    StoredFrame,
    TotalRow,
)
from meterline.records import UsageRecord
from meterline.testing.rules import SimpleRule, SimpleRules

SECOND = 10**9
Restart = Literal["frames", "snapshot"]


class FrameNames:
    """
    Finds definitions in committed frames.
    """

    def __init__(self) -> None:
        self._frames: list[Frame] = []

    def add(self, frame: Frame) -> None:
        """
        Add a committed frame.
        """
        self._frames.append(frame)

    def definitions(self, meter: int) -> bytes:
        """
        Return the definitions that declare a meter. Raises KeyError.
        """
        for frame in self._frames:
            if frame.first_meter <= meter < frame.first_meter + frame.meters:
                return frame.definitions
        raise KeyError(meter)


class KernelHarness:
    """
    Sends bodies through a kernel and keeps what a ledger would keep.
    """

    def __init__(self, kernel: Kernel, *rules: SimpleRule, options: MeterOptions | None = None) -> None:
        """
        Begin with an empty ledger; without rules, one that bills every metric to the attribute ``customer.id``.
        """
        self.kernel = kernel
        self.options = options or MeterOptions()
        self.rules = SimpleRules(*(rules or (SimpleRule(),)))
        self.plan = kernel.plan(1, "hash")
        self.meter: Meter = kernel.meter(self.options)
        self.names = FrameNames()
        self.frames: list[Frame] = []
        self.kept: list[StoredFrame] = []
        self.chunks: dict[int, Chunk] = {}
        self.idle: dict[bytes, bytes] = {}
        self.open_raw: set[bytes] = set()
        self.totals: dict[tuple[str, str, int], tuple[int, int]] = {}
        self.totals_through = 0
        self.received_at = 1000 * SECOND

    def new_rules(self, *rules: SimpleRule) -> None:
        """
        Begin a new generation.
        """
        self.rules = SimpleRules(*rules, gen=self.rules.gen + 1)
        self.plan = self.kernel.plan(self.rules.gen, f"hash-{self.rules.gen}")

    def learn(self, body: bytes, fmt: Format = Format.OTLP_METRICS) -> Any:
        """
        Decode a body and resolve all that is unknown; return the batch.
        """
        batch = self.kernel.decode(body, fmt, self.plan)
        self.resolve(batch)
        return batch

    def resolve(self, batch: Any) -> None:
        """
        Resolve a batch, asking the rules and the idle table.
        """
        for _ in range(100):
            unknown = self.meter.resolve(batch)
            if unknown is None:
                return
            got, masks = self.rules.answer(unknown)
            self.meter.learn(unknown.gen, got)
            self.meter.decide(batch, masks)
            if unknown.cold:
                rows = [self.idle[key] for key in unknown.cold if key in self.idle]
                self.meter.load(unknown.cold, rows)
        raise AssertionError("resolving batch: it never ends")

    def send(
        self,
        body: Any,
        fmt: Format = Format.OTLP_METRICS,
        *,
        principal: Principal = ANONYMOUS,
        commit: bool = True,
    ) -> Applied:
        """
        Take one body through the kernel, and commit.
        """
        batch = self.learn(bytes(body), fmt)
        source = self.meter.source("otlp", principal)
        applied = self.meter.apply(batch, self.received_at, source)
        assert applied is not None
        total = applied.recorded + applied.quarantined + applied.duplicate + applied.no_usage + applied.unmatched
        assert total == applied.points
        if commit:
            self.commit()
        return applied

    def logs(self, body: Any, **more: Any) -> Applied:
        """
        Send a logs body.
        """
        return self.send(body, Format.OTLP_LOGS, **more)

    def evict(self, now: int, limit: int = 1000) -> int:
        """
        Evict idle streams with a frame of their own; return how many.
        """
        rows = self.meter.evict(now, limit)
        self.commit()
        self.idle.update(dict(rows))
        return len(rows)

    def commit(self, *, flush: bool = False) -> Frame | None:
        """
        Seal, store and confirm.
        """
        rows = self.meter.totals() if flush else ()
        gone = self.meter.unidled()
        frame = self.meter.seal()
        if frame is None:
            return None
        for key in gone:
            del self.idle[key]
        self._add_totals(rows)
        self.totals_through = frame.seq if rows else self.totals_through
        self._check(frame)
        self.names.add(frame)
        self.frames.append(frame)
        self.kept.append(StoredFrame(frame.seq, frame.gen, frame.body, frame.definitions))
        self.open_raw.update(entry.key for entry in frame.quarantine if entry.key)
        self.meter.committed(frame.seq)
        return frame

    def _add_totals(self, rows: Iterable[TotalRow]) -> None:
        for row in rows:
            value, count = self.totals.get((row.customer, row.dimension, row.hour), (0, 0))
            self.totals[row.customer, row.dimension, row.hour] = (value + row.value, count + row.count)

    def _check(self, frame: Frame) -> None:
        """
        Check the balances that hold for every frame, and the contract of numbers.
        """
        assert frame.seq == len(self.frames) + 1
        assert frame.first_meter == self.next_meter
        b = frame.balance
        outcomes = ("recorded", "quarantined", "duplicate", "no_usage", "unmatched")
        assert b["received"] == frame.points == sum(b[name] for name in outcomes)
        claims = ("claim_records", "claim_quarantined", "claim_duplicate", "claim_no_usage")
        assert b["claims"] == sum(b[name] for name in claims)
        assert b["claim_records"] == frame.records

    @property
    def next_meter(self) -> int:
        """
        Return the first meter id that no frame declared.
        """
        return 1 + sum(frame.meters for frame in self.frames)

    def snapshot(self) -> None:
        """
        Store a whole snapshot, and forget the frames that no chunk needs.
        """
        complete = False
        while not complete:
            part = self.meter.snapshot(4096)
            self.chunks.update({chunk.id: chunk for chunk in part.chunks})
            for number in part.unchanged:
                self.chunks[number] = Chunk(number, part.seq, self.chunks[number].body)
            for number in part.dropped:
                del self.chunks[number]
            complete = part.complete
        oldest = min((chunk.seq for chunk in self.chunks.values()), default=0)
        self.kept = [frame for frame in self.kept if frame.seq > oldest]

    def restart(self, how: Restart = "frames") -> RestoreReport:
        """
        Begin with an empty meter, restored from what the ledger holds.
        """
        if how == "snapshot":
            self.snapshot()
        for frame in self.frames[self.totals_through :]:  # what was not flushed is in the frames
            self._add_totals(self.kernel.records(frame.body, self.names).totals())
        self.totals_through = len(self.frames)
        self.meter = self.kernel.meter(self.options)
        self.plan = self.kernel.plan(self.rules.gen, self.plan_hash)
        chunks = sorted(self.chunks.values(), key=lambda chunk: chunk.id)
        report = self.meter.restore(chunks, self.kept, sorted(self.open_raw), len(self.idle), self.next_meter)
        assert not report.holes
        return report

    @property
    def plan_hash(self) -> str:
        """
        Return the hash of the present rules.
        """
        return "hash" if self.rules.gen == 1 else f"hash-{self.rules.gen}"

    def records(self) -> list[UsageRecord]:
        """
        Return the records of all frames.
        """
        made: list[UsageRecord] = []
        for frame in self.frames:
            batch = self.kernel.records(frame.body, self.names)
            assert len(batch) == frame.records
            made += map(batch.record, range(len(batch)))
        return made

    def values(self, key: Callable[[UsageRecord], Any] = lambda record: record.customer_id) -> dict[Any, str]:
        """
        Return the exact sum of the records by customer, or another key.
        """
        sums: dict[Any, Any] = {}
        for record in self.records():
            label = key(record)
            sums[label] = sums[label] + record.value if label in sums else record.value
        return {label: str(value) for label, value in sums.items()}

    @property
    def quarantine(self) -> Sequence[QuarantineEntry]:
        """
        Return all entries.
        """
        return [entry for frame in self.frames for entry in frame.quarantine]

    @property
    def events(self) -> Sequence[Event]:
        """
        Return all events.
        """
        return [event for frame in self.frames for event in frame.events]

    def balance(self, name: str) -> int:
        """
        Return one count of the balance, over all frames.
        """
        return sum(frame.balance[name] for frame in self.frames)
