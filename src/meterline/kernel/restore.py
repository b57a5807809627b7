"""
Fill an empty meter from what the ledger holds: chunks, then the frames that are newer.
"""

from collections.abc import Iterable
from typing import Final

from meterline.kernel.core import Core
from meterline.kernel.framing import (
    Block,
    Definitions,
    FrameContent,
    Kind,
    MeterDef,
    SlotColumns,
    SlotRow,
    SlowRow,
    decode_charge,
    decode_columns,
    decode_frame,
    decode_rows,
    encode_columns,
)
from meterline.kernel.groups import UNMATCHED
from meterline.kernel.persist import DIGESTS, IDS, META, Profiles, put_columns, put_row, read_idle_row
from meterline.kernel.raw import open_key
from meterline.kernel.seam import Chunk, RestoreReport, StoredFrame, Track
from meterline.kernel.snapshot import read_meta
from meterline.kernel.state import CHUNK, CHUNK_BITS, CUMULATIVE, DELTA, FRESH, slot_key
from meterline.kernel.steps.delta import ENTRY, KEEP, WIDE_ENTRY, WIDE_KEEP
from meterline.kernel.streams import decode_state, open_delta

_NO_SEQ: Final = 0


class Restore:
    """
    One restore under way. ``_seqs``: the frame as of which a slot's row was taken; frames up to it say nothing new.
    """

    def __init__(self, core: Core, profiles: Profiles) -> None:
        self._core = core
        self._profiles = profiles
        self._seqs: dict[int, int] = {}
        self._meters: dict[int, int] = {}
        self._epochs: dict[int, int] = {}
        self._deltas: set[int] = set()
        self._holes: set[int] = set()
        self._counted = _NO_SEQ

    def run(
        self,
        chunks: Iterable[Chunk],
        frames: Iterable[StoredFrame],
        open_raw: Iterable[bytes],
        idle: int,
        next_meter: int,
    ) -> RestoreReport:
        """
        Restore all.
        """
        core = self._core
        last = self._chunks(chunks)
        core.ids.restored()
        core.digests.restored()
        count = 0
        for frame in frames:
            last = max(last, frame.seq)
            count += 1
            self._frame(frame)
        for key in open_raw:
            open_key(core, key)
        columns = core.columns
        columns.free = [slot for slot in range(1, len(columns)) if columns.key[slot] is None]
        core.ids.committed(core.ids.mark())
        core.digests.committed(core.digests.mark())
        core.table.idle = idle
        core.next_meter = max(next_meter, 1)
        core.next_seq = last + 1
        return RestoreReport(len(core.table.slots), count, last, sorted(self._holes))

    # Chunks

    def _chunks(self, chunks: Iterable[Chunk]) -> int:
        core = self._core
        last = 0
        for chunk in chunks:
            last = max(last, chunk.seq)
            if chunk.id == META:
                ids, digests, streams = read_meta(chunk.body)
                core.ids.cut(ids)
                core.digests.cut(digests)
                core.new_streams.restore(streams)
                self._counted = chunk.seq
            elif chunk.id >= DIGESTS:
                core.digests.restore_segment(chunk.id - DIGESTS, chunk.body)
            elif chunk.id >= IDS:
                core.ids.restore_segment(chunk.id - IDS, chunk.body)
            else:
                self._slots(chunk)
        return last

    def _slots(self, chunk: Chunk) -> None:
        """
        Put a chunk's streams into their slots, by columns when none of them was seen yet.
        """
        rows = decode_columns(chunk.body)
        base = chunk.id * CHUNK
        if len(self._core.columns) <= base + 1 and not any(rows.tracks):
            self._put_all(base, rows, chunk.seq)
            return
        for row in decode_rows(chunk.body):
            self._put(base + row.slot, row, chunk.seq)

    def _put_all(self, base: int, rows: SlotColumns, seq: int) -> None:
        """
        Put a chunk's streams behind all that is there. Those that an earlier chunk has too go one by one.
        """
        core = self._core
        known = core.table.slots
        if not known.keys().isdisjoint(rows.keys):
            for row in decode_rows(encode_columns(rows)):
                self._put(base + row.slot, row, seq)
            return
        slots = [base + slot for slot in rows.slots]
        core.columns.grow_to(slots[-1] + 1)
        known.update(zip(rows.keys, slots, strict=True))
        self._seqs.update(dict.fromkeys(slots, seq))
        put_columns(core, slots, rows, self._profiles)
        self._meters.update(zip(rows.meters, slots, strict=True))
        self._epochs.update(zip(rows.meters, rows.epochs, strict=True))
        for at, pairs in rows.more.items():
            for epoch, meter in pairs:
                self._meters[meter] = slots[at]
                self._epochs[meter] = epoch

    def _put(self, slot: int, row: SlotRow, seq: int) -> None:
        """
        Put a row into the slot that it had, unless a newer chunk has the stream elsewhere.
        """
        core = self._core
        c = core.columns
        held = core.table.slots.get(row.key)
        if held is not None:
            if self._seqs[held] >= seq:
                return
            self._drop(row.key)
        c.grow_to(slot + 1)
        self._claim(slot, row.key)
        put_row(core, slot, row, self._profiles)
        self._seqs[slot] = seq
        self._name(slot, row)

    def _name(self, slot: int, row: SlotRow) -> None:
        for epoch, meter in row.meters:
            self._meters[meter] = slot
            self._epochs[meter] = epoch

    def _claim(self, slot: int, key: bytes) -> None:
        c = self._core.columns
        c.clear(slot)
        c.key[slot], c.kind[slot], c.group[slot] = key, FRESH, UNMATCHED
        self._core.table.slots[key] = slot

    def _drop(self, key: bytes) -> None:
        core = self._core
        slot = core.table.slots.pop(key)
        core.columns.key[slot] = None
        core.columns.clear(slot)
        core.dirty.add(slot >> CHUNK_BITS)

    # Frames

    def _frame(self, stored: StoredFrame) -> None:
        content = decode_frame(stored.body)
        for data in content.loaded:
            self._returned(read_idle_row(data), stored.seq)
        if stored.definitions:
            self._define(Definitions(stored.definitions))
        self._rows(content, stored.seq)
        self._remember(content)
        if stored.seq > self._counted:
            for source, count in content.streams:
                self._core.new_streams.add(content.sources[source][1], content.received_at, count)
        for key in content.evicted:
            slot = self._core.table.slots.get(key)
            if slot is not None and self._seqs.get(slot, _NO_SEQ) < stored.seq:
                self._drop(key)

    def _returned(self, row: SlotRow, seq: int) -> None:
        held = self._core.table.slots.get(row.key)
        if held is not None and self._seqs.get(held, _NO_SEQ) >= seq:
            return
        slot = held if held is not None else self._new(row.key)
        put_row(self._core, slot, row, self._profiles)
        self._name(slot, row)

    def _new(self, key: bytes) -> int:
        slot = self._core.columns.add(key, UNMATCHED)
        self._core.table.slots[key] = slot
        self._seqs.pop(slot, None)
        return slot

    def _define(self, definitions: Definitions) -> None:
        rules = [decode_charge(charge).rule for charge in definitions.charges]
        for meter, each in enumerate(definitions.all(), definitions.first):
            key = slot_key(each.stream, Track(each.track))
            slot = self._core.table.slots.get(key)
            if slot is None:
                slot = self._new(key)
                if each.track != Track.NUMBER.value:
                    self._core.columns.others[slot] = (each.stream, Track(each.track))
            self._meters[meter] = slot
            self._epochs[meter] = each.epoch
            if each.kind is Kind.DELTA:
                self._deltas.add(meter)
            self._activate(slot, each, definitions.gen, rules)

    def _activate(self, slot: int, each: MeterDef, gen: int, rules: list[str]) -> None:
        c = self._core.columns
        held = c.profile[slot]
        if held is None or held.gen <= gen:
            activation = tuple((rules[place], since) for place, since in zip(each.charges, each.since, strict=True))
            c.profile[slot] = self._profiles.get(gen, activation)

    def _rows(self, content: FrameContent, seq: int) -> None:
        """
        Replay the rows in their order: fast rows of both scales up to each slow row, then that.

        A meter that neither a chunk nor a frame has named is of a stream that left memory after this frame: what is resident
        is in a chunk, or was declared or loaded since.
        """
        narrow = _Cursor([block for block in content.blocks if not block.scale], scaled=False)
        wide = _Cursor([block for block in content.blocks if block.scale], scaled=True)
        for row in content.slow:
            self._fast(narrow, row.position[0], seq)
            self._fast(wide, row.position[1], seq)
            self._slow(row, seq)
        self._fast(narrow, narrow.total, seq)
        self._fast(wide, wide.total, seq)

    def _fast(self, cursor: "_Cursor", upto: int, seq: int) -> None:
        c = self._core.columns
        for meter, start, time, amount in cursor.take(upto):
            slot = self._meters.get(meter)
            if slot is None or self._seqs.get(slot, _NO_SEQ) >= seq:
                continue
            if c.kind[slot] == FRESH:
                self._open(slot, meter, start, scaled=cursor.scaled)
            if c.kind[slot] == DELTA:
                self._fast_delta(slot, start, time, amount)
                continue
            if c.last[slot] != start:
                self._holes.add(seq)
            c.last[slot] = time
            c.value[slot] += amount
            c.meter[slot] = meter

    def _open(self, slot: int, meter: int, start: int, *, scaled: bool) -> None:
        """
        Open a stream whose first row is a fast one: nothing was counted before its start.
        """
        c = self._core.columns
        c.scaled[slot] = scaled
        c.origin[slot] = c.last[slot] = start
        c.meter[slot] = meter
        if meter in self._deltas:
            c.kind[slot] = DELTA
            c.value[slot] = WIDE_ENTRY.pack(start, bytes(16)) if scaled else ENTRY.pack(start, 0)
        else:
            c.kind[slot] = CUMULATIVE
            c.start[slot], c.value[slot] = start, 0

    def _fast_delta(self, slot: int, start: int, time: int, amount: int) -> None:
        c = self._core.columns
        c.last[slot] = time
        if c.scaled[slot]:
            c.value[slot] = c.value[slot][-WIDE_KEEP:] + WIDE_ENTRY.pack(
                time, amount.to_bytes(16, "little", signed=True)
            )
        else:
            c.value[slot] = c.value[slot][-KEEP:] + ENTRY.pack(time, amount)
        del start

    def _slow(self, row: SlowRow, seq: int) -> None:
        core = self._core
        slot = self._meters.get(row.meter)
        if slot is None or self._seqs.get(slot, _NO_SEQ) >= seq:
            return
        c = core.columns
        if row.kind is Kind.INSTANT:
            open_delta(core, slot)
            c.meter[slot] = row.meter
            return
        decode_state(core, slot, row.state)
        if c.kind[slot] == DELTA or c.start[slot] == self._epochs[row.meter]:
            c.meter[slot] = row.meter

    def _remember(self, content: FrameContent) -> None:
        """
        Replay the ids and digests, and the cut-offs after the frame.
        """
        core = self._core
        received = content.received_at
        for row in content.ids:
            core.ids.replay(row.key, row.amount, row.time, received)
        for log in content.logs:
            if log.remembered:
                core.ids.replay(log.record_id, log.amount, log.time, received)
        for digest in content.digests:
            core.digests.replay(digest.digest, int.from_bytes(digest.answer, "little"), received, received)
        if content.ids_cutoff is not None:
            core.ids.cut(content.ids_cutoff)
        if content.digests_cutoff is not None:
            core.digests.cut(content.digests_cutoff)


class _Cursor:
    """
    Walks the fast rows of one scale through its blocks.
    """

    def __init__(self, blocks: list[Block], *, scaled: bool) -> None:
        self.scaled = scaled
        self._rows = [
            row for block in blocks for row in zip(block.meters, block.starts, block.times, block.amounts, strict=True)
        ]
        self.total = len(self._rows)
        self._at = 0

    def take(self, upto: int) -> list[tuple[int, int, int, int]]:
        """
        Return the rows up to a position.
        """
        taken = self._rows[self._at : upto]
        self._at = max(self._at, upto)
        return taken
