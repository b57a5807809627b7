"""
Interning: raw bytes -> context -> shape -> verdict -> slot. Runs beside the kernel thread; knows nothing of amounts.
"""

import threading
from collections import OrderedDict, deque
from collections.abc import Iterable, Sequence

from meterline.kernel import canonical
from meterline.kernel.batch import Block, DistributionBlock, LogBlock, NumberBlock, PythonBatch
from meterline.kernel.canonical import BadValueError
from meterline.kernel.groups import Group, ShapeEntry, refusal
from meterline.kernel.plan import ContextEntry, new_id
from meterline.kernel.project import Projection, attribute_entries, attribute_projection, overflow, point_view
from meterline.kernel.reasons import Reason
from meterline.kernel.seam import (
    Context,
    ContextVerdict,
    PointType,
    PointView,
    Shape,
    Temporality,
    Track,
    Unknown,
    Verdict,
)
from meterline.kernel.state import NO_SLOT, Columns, slot_key
from meterline.kernel.told import GAUGE

MAX_PENDING = 200_000


class Missing:
    """
    What a batch turns out to need while it is resolved.
    """

    def __init__(self) -> None:
        self.contexts: dict[int, Context] = {}
        self.shapes: dict[int, Shape] = {}
        self.points: list[tuple[int, PointView]] = []
        self.cold: dict[bytes, None] = {}

    def unknown(self, gen: int) -> Unknown | None:
        """
        Return it as the seam has it; None when nothing is missing.
        """
        if not (self.contexts or self.shapes or self.points or self.cold):
            return None
        return Unknown(gen, tuple(self.contexts.items()), tuple(self.shapes.items()), self.points, tuple(self.cold))


class Table:
    """
    The interning table. Its lock guards what is written here; columns are read without it.

    ``version`` rises when slots are freed: what was bound before must be bound again. ``unloaded``: slots whose state may
    be in the idle table. ``idle``: how many rows that table has; while 0, an unknown stream is surely new.
    """

    def __init__(self, columns: Columns, max_shapes: int) -> None:
        self.lock = threading.RLock()
        self.columns = columns
        self.slots: dict[bytes, int] = {}
        self.version = 0
        self.gen = 0
        self.idle = 0
        self.unloaded: set[int] = set()
        self.gated = False
        self._max_shapes = max_shapes
        self._shapes: OrderedDict[tuple[int, bytes], ShapeEntry] = OrderedDict()
        self._pending_shapes: dict[int, ShapeEntry] = {}
        self._pending_contexts: dict[int, ContextEntry] = {}
        self._specials: dict[tuple[Reason | None, int, str, int], int] = {}
        self._unmatched: deque[tuple[dict[bytes, int], bytes]] = deque()

    @property
    def shapes(self) -> int:
        """
        Return how many verdicts are cached.
        """
        return len(self._shapes)

    def resolve(self, batch: PythonBatch) -> Unknown | None:
        """
        Bind a batch to slots, claims and decisions; say what is missing.
        """
        missing = Missing()
        gen = batch.plan.gen
        self.gen = max(self.gen, gen)
        for block in batch.blocks:
            self._resolve_block(batch, block, missing)
        return missing.unknown(gen)

    def _resolve_block(self, batch: PythonBatch, block: Block, missing: Missing) -> None:
        entry = block.entry
        if entry.owner is not self:
            self._adopt(entry)
            block.bound = None
        verdict = entry.verdict
        if verdict is None:
            self._pend(entry)
            missing.contexts[entry.id] = entry.context()
        elif entry.skip:
            return
        elif isinstance(block, LogBlock):
            self._logs(batch, block, verdict, missing)
        else:
            self._points(batch, block, verdict, missing)

    def _adopt(self, entry: ContextEntry) -> None:
        with self.lock:
            entry.bindings = {}
            entry.owner = self

    def _pend(self, entry: ContextEntry) -> None:
        if len(self._pending_contexts) > MAX_PENDING:
            self._pending_contexts.clear()
        self._pending_contexts[entry.id] = entry

    def learn(self, got: Iterable[tuple[int, ContextVerdict | Verdict]]) -> None:
        """
        Take answers; one that is not waited for is of no use any more.
        """
        with self.lock:
            for id_, verdict in got:
                if isinstance(verdict, ContextVerdict):
                    entry = self._pending_contexts.pop(id_, None)
                    if entry is not None:
                        entry.verdict = verdict
                else:
                    shape = self._pending_shapes.pop(id_, None)
                    if shape is not None:
                        shape.group = Group(verdict)
                        self.gated = self.gated or shape.group.gated

    # Metrics

    def _points(
        self, batch: PythonBatch, block: NumberBlock | DistributionBlock, verdict: ContextVerdict, missing: Missing
    ) -> None:
        bound = (self, self.version)
        if block.bound != bound or block.slots is None:
            bindings = block.entry.bindings
            found = list(map(bindings.get, block.keys))
            if None in found:
                with self.lock:
                    found = [
                        self._bind(block, key, missing) if slot is None else slot
                        for slot, key in zip(found, block.keys, strict=True)
                    ]
            if None in found:
                return
            block.slots = found  # type: ignore[assignment]  # there is no None in it
            block.bound = bound
        if self.unloaded:
            self._cold(block, missing)
        if self.gated:
            self._gates(batch, block, verdict, missing)

    def _bind(self, block: NumberBlock | DistributionBlock, raw: bytes, missing: Missing) -> int | None:
        """
        Find the slot of a point's raw attributes; None when the rules must be asked first. The caller holds the lock.
        """
        entry = block.entry
        slot = entry.bindings.get(raw)
        if slot is not None:
            return slot
        known = block.shapes.get(raw)
        entries = known[0] if known else attribute_entries(raw)
        group = known[1].group if known else None
        if group is None:
            group = self._group(block, raw, entries, missing)
        if group is None:
            return None
        if group.unmatched:
            return self._bind_unmatched(entry.bindings, raw)
        if entry.hint == GAUGE and not group.special:
            group = refusal(group.gen, Reason.NEEDS_CONVERSION, group.claims, group.rule)
        if not group.special:
            return self._bind_stream(entry, raw, entries, group)
        return self._special(group)

    def _group(
        self, block: NumberBlock | DistributionBlock, raw: bytes, entries: list[bytes], missing: Missing
    ) -> Group | None:
        """
        Return the verdict on a point's attributes; None when the rules must be asked first.
        """
        verdict = block.entry.verdict
        if verdict is None:
            return None
        if verdict.reject is not None:
            return refusal(verdict.gen, verdict.reject, 1)
        if overflow(raw, entries):
            if not verdict.overflow:
                return Group(Verdict(verdict.gen, ()))
            return refusal(verdict.gen, Reason.SDK_CARDINALITY_OVERFLOW, verdict.overflow)
        shape = self.shape(block.entry, attribute_projection(verdict.fields, entries), missing)
        if shape.group is None:
            block.shapes[raw] = (entries, shape)
        return shape.group

    def shape(self, entry: ContextEntry, projection: Projection, missing: Missing) -> ShapeEntry:
        """
        Find the verdict on a projection; the caller holds the lock.
        """
        key = (entry.id, projection.key)
        found = self._shapes.get(key)
        if found is None:
            found = ShapeEntry(new_id(), Shape(entry.context(), projection.values))
            self._shapes[key] = found
            if len(self._shapes) > self._max_shapes:
                _, old = self._shapes.popitem(last=False)
                self._pending_shapes.pop(old.id, None)
        else:
            self._shapes.move_to_end(key)
        if found.group is None:
            self._pending_shapes[found.id] = found
            missing.shapes[found.id] = found.shape
        return found

    def _bind_unmatched(self, bindings: dict[bytes, int], raw: bytes) -> int:
        """
        Remember that nothing matches these bytes; the oldest of such memories leaves first.
        """
        bindings[raw] = NO_SLOT
        self._unmatched.append((bindings, raw))
        if len(self._unmatched) > self._max_shapes:
            old, key = self._unmatched.popleft()
            if old.get(key) == NO_SLOT:
                del old[key]
        return NO_SLOT

    def _special(self, group: Group) -> int:
        """
        Return the slot that stands for all points which are refused in this way; such points are never bound.
        """
        key = (group.reject, group.claims, group.rule, group.gen)
        slot = self._specials.get(key)
        if slot is None:
            slot = self._specials[key] = self.columns.add(None, group)
        return slot

    def _bind_stream(self, entry: ContextEntry, raw: bytes, entries: Sequence[bytes], group: Group) -> int:
        failure = _constant_failure(entry)
        if failure is None:
            try:
                attributes = canonical.canonical_attributes(entries)
            except BadValueError as error:
                failure = error.reason
        if failure is not None:
            return self._special(refusal(group.gen, failure, group.claims, group.rule))
        identity = canonical.digest(entry.prefix(), attributes)
        slots = tuple(self._slot(identity, part.track, group) for part in group.parts)
        columns = self.columns
        for slot in slots:
            columns.bind(slot, entry.bindings, raw)
            if len(slots) > 1:
                columns.bundles[slot] = slots
        entry.bindings[raw] = slots[0]
        return slots[0]

    def _slot(self, identity: bytes, track: Track, group: Group) -> int:
        key = slot_key(identity, track)
        slot = self.slots.get(key)
        if slot is None:
            slot = self.columns.add(key, group)
            if track is not Track.NUMBER:
                self.columns.others[slot] = (identity, track)
            if self.idle:
                self.unloaded.add(slot)
            self.slots[key] = slot
        else:
            self.columns.group[slot] = group
        return slot

    def _cold(self, block: NumberBlock | DistributionBlock, missing: Missing) -> None:
        keys = self.columns.key
        for slot in self.unloaded.intersection(self.all_slots(block)):
            key = keys[slot]
            if key is not None:
                missing.cold[key] = None

    def all_slots(self, block: NumberBlock | DistributionBlock) -> Iterable[int]:
        """
        Return the slots of a bound block, with those of all tracks.
        """
        slots = block.slots or ()
        if isinstance(block, NumberBlock) or not self.columns.bundles:
            return slots
        bundles = self.columns.bundles
        return [each for slot in slots for each in bundles.get(slot, (slot,))]

    def _gates(
        self, batch: PythonBatch, block: NumberBlock | DistributionBlock, verdict: ContextVerdict, missing: Missing
    ) -> None:
        groups = self.columns.group
        for index, slot in enumerate(block.slots or ()):
            group = groups[slot]
            if group.gated and block.first + index not in batch.decisions:
                missing.points.append((block.first + index, point_view(block, index, group, verdict)))

    @staticmethod
    def refusal(gen: int, reason: Reason) -> Group:
        """
        Return the group of points that a rule refuses for what is constant in their context.
        """
        return refusal(gen, reason, 1)

    # Logs

    def _logs(self, batch: PythonBatch, block: LogBlock, verdict: ContextVerdict, missing: Missing) -> None:
        if block.bound is not None and not self.gated:
            return
        from meterline.kernel.logs import resolve_logs  # noqa: PLC0415

        with self.lock:
            resolve_logs(self, batch, block, verdict, missing)


def _constant_failure(entry: ContextEntry) -> Reason | None:
    """
    Say why no point of a context can be metered.
    """
    summed = entry.type in (PointType.SUM, PointType.HISTOGRAM, PointType.EXPONENTIAL_HISTOGRAM)
    if summed and entry.temporality is Temporality.UNSPECIFIED:
        return Reason.TEMPORALITY_UNSPECIFIED
    return entry.failure
