"""
Blocks of usual points: known streams, newer readings, nothing to ask. Column by column where a whole block is usual.

The hot loops of the kernel: benchmarks/kernel.py, "apply".
"""

from array import array
from collections.abc import Iterable, Sequence
from operator import ge, gt, sub
from typing import Any, Final

from meterline.kernel.batch import NumberBlock
from meterline.kernel.core import Call, Core
from meterline.kernel.groups import Profile
from meterline.kernel.seam import Temporality
from meterline.kernel.state import CHUNK_BITS
from meterline.kernel.steps.delta import ENTRY, KEEP, WIDE_ENTRY, WIDE_KEEP
from meterline.quantity import AMOUNT_ONE, amount_from_double

_NEAR: Final = 4
_RANGE: Final = AMOUNT_ONE << 63
"""Amounts below this are in range for every plain part, as all int64 are."""

_pack = ENTRY.pack
_pack_wide = WIDE_ENTRY.pack


class Places:
    """
    The slots of a block, which must all differ. Slots in a row, as streams that came together have, are read as slices.
    """

    __slots__ = ("_first", "_last", "ordered", "slots")

    def __init__(self, slots: list[int]) -> None:
        """
        Take the slots of a block.
        """
        count = len(slots)
        first = slots[0]
        self.slots = slots
        self._first, self._last = first, first + count
        self.ordered = slots[-1] - first == count - 1 and slots == list(range(first, first + count))

    @property
    def distinct(self) -> bool:
        """
        Say whether no slot stands twice.
        """
        return self.ordered or len(set(self.slots)) == len(self.slots)

    def read(self, column: Any) -> list[Any]:
        """
        Read a column at the slots.
        """
        if self.ordered:
            part = column[self._first : self._last]
            return part if type(part) is list else part.tolist()
        return list(map(column.__getitem__, self.slots))

    def write(self, column: Any, values: Sequence[Any]) -> None:
        """
        Write a column at the slots.
        """
        if not self.ordered:
            for slot, value in zip(self.slots, values, strict=True):
                column[slot] = value
        elif type(column) is list:
            column[self._first : self._last] = values
        else:
            column[self._first : self._last] = array(column.typecode, values)

    def chunks(self) -> Iterable[int]:
        """
        Return the chunks of the snapshot that the slots are in; a few more when they lie near each other.
        """
        low, high = (self._first, self._last - 1) if self.ordered else (min(self.slots), max(self.slots))
        if high - low <= _NEAR * len(self.slots):
            return range(low >> CHUNK_BITS, (high >> CHUNK_BITS) + 1)
        return {slot >> CHUNK_BITS for slot in self.slots}


def apply_block(core: Core, call: Call, block: NumberBlock) -> bool:
    """
    Apply a whole block of usual points; False: nothing was done, take them one by one.
    """
    found = _readings(block)
    if found is None or not block.slots or not _plausible(call, block):
        return False
    values, wide = found
    places = Places(block.slots)
    if not places.distinct or not (call.source.any or _allowed(core, call, block.slots)):
        return False
    starts = [-2 - start for start in block.starts] if wide else block.starts
    if places.read(core.columns.fast) != starts:
        return False
    is_delta = block.entry.temporality is Temporality.DELTA
    take = _deltas if is_delta else _counters
    done = take(core, call, block, places, values, wide=wide)
    if done:
        core.dirty.update(places.chunks())
    return done


def _readings(block: NumberBlock) -> tuple[Sequence[int], bool] | None:
    """
    Return the values of a block: whole, or in 10^-18 (True); None when some point is unusual.
    """
    values: Any = block.values
    if block.plain:
        return values, False
    if block.flags or not block.head:
        return None
    wide: list[Any] = list(map(amount_from_double, values))
    return None if None in wide else (wide, True)


def _plausible(call: Call, block: NumberBlock) -> bool:
    times = block.times
    return min(times) >= call.min_time and max(times) <= call.max_time


def _allowed(core: Core, call: Call, slots: Iterable[int]) -> bool:
    groups = core.columns.group
    return all(map(call.source.may_all, {groups[slot] for slot in slots}))


def _counters(core: Core, call: Call, block: NumberBlock, places: Places, values: Sequence[int], *, wide: bool) -> bool:
    """
    Apply readings of counters, if each is later and not smaller than the last.
    """
    c = core.columns
    times = block.times
    lasts, before = places.read(c.last), places.read(c.value)
    if not (max(lasts) < min(times) or all(map(gt, times, lasts))) or not all(map(ge, values, before)):
        return False
    amounts = list(map(sub, values, before))
    if wide and max(amounts) >= _RANGE:
        return False
    places.write(c.last, times)
    places.write(c.value, values)
    core.opened(call.received_at).ops.append((_undo_counters, places, lasts, before))
    _rows(core, call, places, (lasts, times, amounts), wide=wide)
    return True


def _deltas(core: Core, call: Call, block: NumberBlock, places: Places, values: Sequence[int], *, wide: bool) -> bool:
    """
    Apply windows that begin where what is covered ends.
    """
    c = core.columns
    times, starts = block.times, block.starts
    if not all(map(gt, times, starts)) or min(values) < 0 or (wide and max(values) >= _RANGE):
        return False
    tails = places.read(c.value)
    if wide:
        entries: Any = [
            _pack_wide(time, value.to_bytes(16, "little", signed=True))
            for time, value in zip(times, values, strict=True)
        ]
        grown = [tail[-WIDE_KEEP:] + entry for tail, entry in zip(tails, entries, strict=True)]
    else:
        grown = [tail[-KEEP:] + entry for tail, entry in zip(tails, map(_pack, times, values), strict=True)]
    places.write(c.value, grown)
    places.write(c.last, times)
    places.write(c.fast, [-2 - time for time in times] if wide else times)
    core.opened(call.received_at).ops.append((_undo_deltas, places, starts, tails, wide))
    _rows(core, call, places, (starts, times, values), wide=wide)
    return True


Rows = tuple[Sequence[int], Sequence[int], Sequence[int]]


def _rows(core: Core, call: Call, places: Places, rows: Rows, *, wide: bool) -> None:
    """
    Write the rows and add them to the totals.
    """
    c = core.columns
    starts, times, amounts = rows
    frame = core.opened(call.received_at)
    block: Any = frame.block(18 if wide else 0, frame.source(call.source.receiver, call.source.principal))
    block.meters += places.read(c.meter)
    block.starts += starts
    block.times += times
    block.amounts += amounts
    count = len(places.slots)
    if wide:
        frame.wide += count
    else:
        frame.narrow += count
    profiles = places.read(c.profile)
    unit = 1 if wide else AMOUNT_ONE
    core.tallies.block(unit, times, profiles, amounts)
    frame.ops.append((_undo_tally, places, unit, times, amounts))
    zeros = amounts.count(0)
    call.recorded += count - zeros
    call.no_usage += zeros
    _balance(core, profiles, amounts, zeros)


def _balance(core: Core, profiles: Sequence[Profile], amounts: Sequence[int], zeros: int) -> None:
    """
    Count fast rows: each is one point, and one claim of each of its charges.
    """
    balance = core.opened().balance
    count = len(profiles)
    claims, empty = count, zeros
    if core.several:
        charges = [len(profile.rules) for profile in profiles]
        claims = sum(charges)
        empty = sum(each for each, amount in zip(charges, amounts, strict=True) if not amount)
    balance.received += count
    balance.recorded += count - zeros
    balance.no_usage += zeros
    balance.claims += claims
    balance.claim_records += claims - empty
    balance.claim_no_usage += empty


def _undo_tally(core: Core, places: Places, unit: int, times: Sequence[int], amounts: Sequence[int]) -> None:
    core.tallies.take_back(unit, times, places.read(core.columns.profile), amounts)


def _undo_counters(core: Core, places: Places, lasts: Sequence[int], before: Sequence[int]) -> None:
    """
    Undo a block of counters.
    """
    places.write(core.columns.last, lasts)
    places.write(core.columns.value, before)


def _undo_deltas(core: Core, places: Places, starts: Sequence[int], tails: Sequence[bytes], wide: bool) -> None:  # noqa: FBT001
    """
    Undo a block of deltas.
    """
    c = core.columns
    places.write(c.last, starts)
    places.write(c.value, tails)
    places.write(c.fast, [-2 - start for start in starts] if wide else starts)
