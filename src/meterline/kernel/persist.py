"""
Slots as rows of the idle table and chunks of a snapshot, and back.
"""

from collections.abc import Sequence
from typing import Final

from meterline.kernel.core import Core
from meterline.kernel.framing import SlotColumns, SlotRow, decode_rows, encode_columns, encode_rows
from meterline.kernel.groups import Profile, Rules
from meterline.kernel.seam import Track
from meterline.kernel.state import CHUNK, CUMULATIVE, DELTA

IDS: Final = 1 << 40
"""Chunk ids from here on hold segments of dedupe ids."""

DIGESTS: Final = 1 << 41
"""Chunk ids from here on hold segments of request digests."""

SLOW: Final = 4
"""In the kind of a stored slot: the state has no fast form."""

META: Final = 1 << 42
"""The chunk of all that there is one of."""


def has_state(core: Core, slot: int) -> bool:
    """
    Say whether a slot holds state that must not be lost.
    """
    return core.columns.kind[slot] in (CUMULATIVE, DELTA) and slot not in core.table.unloaded


def slot_row(core: Core, slot: int, seen: int) -> SlotRow:
    """
    Read a slot. ``full``: the whole state where it has no fast form, else what the fast form leaves out.
    """
    c = core.columns
    profile = c.profile[slot]
    is_delta = c.kind[slot] == DELTA
    current = ((0 if is_delta else c.start[slot], c.meter[slot]),) if c.meter[slot] else ()
    return SlotRow(
        slot % CHUNK,
        c.key[slot] or b"",
        c.identity(slot),
        c.track(slot).value,
        c.kind[slot] | (SLOW if slot in c.slow else 0),
        18 if c.scaled[slot] else 0,
        profile.gen if profile else 0,
        seen,
        (*current, *c.epochs.get(slot, {}).items()),
        profile.rules if profile else (),
        c.start[slot],
        c.origin[slot],
        c.last[slot],
        0 if is_delta else c.value[slot],
        c.value[slot] if is_delta else b"",
        c.base.get(slot, b""),
    )


class Profiles:
    """
    Profiles of older generations, or of this one before its verdicts are known, shared between slots.
    """

    def __init__(self) -> None:
        self._known: dict[tuple[int, Rules], Profile] = {}

    def get(self, gen: int, rules: Rules) -> Profile:
        """
        Return the one profile with these rules.
        """
        found = self._known.get((gen, rules))
        if found is None:
            found = self._known[gen, rules] = Profile(gen, rules)
        return found


def put_row(core: Core, slot: int, row: SlotRow, profiles: Profiles) -> None:
    """
    Fill a slot from a row. Its first point takes the slow path, which finds out what the rules make of it now.
    """
    c = core.columns
    if row.track != Track.NUMBER.value:
        c.others[slot] = (row.identity, Track(row.track))
    c.kind[slot] = row.kind & 3
    c.scaled[slot] = 1 if row.scale else 0
    c.start[slot], c.origin[slot], c.last[slot] = row.start, row.origin, row.last_time
    c.value[slot] = row.tail if row.kind & 3 == DELTA else row.last_value
    epochs = dict(row.meters)
    c.meter[slot] = epochs.pop(row.start, 0)
    c.epochs.pop(slot, None)
    if epochs:
        c.epochs[slot] = epochs
    c.profile[slot] = profiles.get(row.gen, row.activation)
    if row.kind & SLOW:
        c.slow.add(slot)
    if row.full:
        c.base[slot] = row.full
    if row.last_seen > row.last_time:
        c.seen[slot] = row.last_seen


def put_columns(core: Core, slots: Sequence[int], rows: SlotColumns, profiles: Profiles) -> None:
    """
    Fill new slots of the number track from columns, as ``put_row`` does one by one.
    """
    c = core.columns
    known: dict[tuple[int, int], Profile] = {}
    for at, slot in enumerate(slots):
        mark = (rows.gens[at], rows.activations[at])
        profile = known.get(mark)
        if profile is None:
            profile = known[mark] = profiles.get(mark[0], rows.activation_table[mark[1]])
        kind = rows.kinds[at]
        c.key[slot] = rows.keys[at]
        c.kind[slot] = kind & ~SLOW
        c.scaled[slot] = rows.scales[at] != 0
        c.start[slot] = rows.starts[at]
        c.origin[slot] = rows.origins[at]
        c.last[slot] = rows.last_times[at]
        c.value[slot] = rows.last_values[at]
        c.meter[slot] = rows.meters[at]
        c.profile[slot] = profile
        if kind & SLOW:
            c.slow.add(slot)
        if rows.last_seen[at] > rows.last_times[at]:
            c.seen[slot] = rows.last_seen[at]
        if kind & ~SLOW == DELTA:
            c.value[slot] = rows.tails.get(at, b"")
    for at, full in rows.full.items():
        c.base[slots[at]] = full
    for at, pairs in rows.more.items():
        c.epochs[slots[at]] = dict(pairs)


def encode_slots(core: Core, slots: Sequence[int]) -> bytes:
    """
    Encode slots as a chunk: the same as rows of ``slot_row``, column by column.
    """
    c = core.columns
    keys = [c.key[slot] or b"" for slot in slots]
    profiles = [c.profile[slot] for slot in slots]
    deltas = [c.kind[slot] == DELTA for slot in slots]
    table: dict[Rules, int] = {}
    return encode_columns(
        SlotColumns(
            slots=[slot % CHUNK for slot in slots],
            keys=keys,
            identities=[c.identity(slot) for slot in slots] if c.others else keys,
            tracks=[c.track(slot).value for slot in slots] if c.others else [Track.NUMBER.value] * len(slots),
            kinds=[c.kind[slot] | (SLOW if slot in c.slow else 0) for slot in slots],
            scales=[18 if c.scaled[slot] else 0 for slot in slots],
            gens=[profile.gen if profile else 0 for profile in profiles],
            last_seen=[c.seen.get(slot, 0) for slot in slots],
            epochs=[c.start[slot] for slot in slots],
            meters=[c.meter[slot] for slot in slots],
            more={at: tuple(c.epochs[slot].items()) for at, slot in enumerate(slots) if slot in c.epochs},
            activations=[table.setdefault(profile.rules if profile else (), len(table)) for profile in profiles],
            activation_table=list(table),
            starts=[c.start[slot] for slot in slots],
            origins=[c.origin[slot] for slot in slots],
            last_times=[c.last[slot] for slot in slots],
            last_values=[0 if delta else c.value[slot] for slot, delta in zip(slots, deltas, strict=True)],
            tails={at: c.value[slot] for at, (slot, delta) in enumerate(zip(slots, deltas, strict=True)) if delta},
            full={at: c.base[slot] for at, slot in enumerate(slots) if slot in c.base},
        )
    )


def idle_row(core: Core, slot: int) -> bytes:
    """
    Encode a slot for the idle table.
    """
    return encode_rows([slot_row(core, slot, 0)])


def read_idle_row(data: bytes) -> SlotRow:
    """
    Decode a row of the idle table.
    """
    return decode_rows(data)[0]
