"""
Blocks of usual points: known streams, newer readings, nothing to ask. Column by column where a whole block is usual.

The hot loops of the kernel: benchmarks/kernel.py, "apply".
"""

from collections.abc import Iterable, Sequence
from operator import ge, gt, sub
from typing import Any, Final

from meterline.kernel.batch import NumberBlock
from meterline.kernel.core import Call, Core
from meterline.kernel.seam import Temporality
from meterline.kernel.state import CHUNK_BITS
from meterline.kernel.steps.delta import ENTRY, KEEP, WIDE_ENTRY, WIDE_KEEP
from meterline.quantity import AMOUNT_ONE, amount_from_double

_NEAR: Final = 4
_RANGE: Final = AMOUNT_ONE << 63
"""Amounts below this are in range for every plain part, as all int64 are."""
_pack = ENTRY.pack
_pack_wide = WIDE_ENTRY.pack


def apply_block(core: Core, call: Call, block: NumberBlock) -> bool:
    """
    Apply a whole block of usual points; False: nothing was done, take them one by one.
    """
    slots = block.slots or []
    found = _readings(block)
    if found is None or not _plausible(call, block) or len(set(slots)) != len(slots):
        return False
    values, wide = found
    if not call.source.any and not _allowed(core, call, slots):
        return False
    c = core.columns
    expected = list(map(c.fast.__getitem__, slots))
    starts = [-2 - start for start in block.starts] if wide else block.starts
    if expected != starts:
        return False
    is_delta = block.entry.temporality is Temporality.DELTA
    done = (
        _deltas(core, call, block, values, wide=wide) if is_delta else _counters(core, call, block, values, wide=wide)
    )
    if done:
        _mark(core, slots)
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


def _mark(core: Core, slots: Sequence[int]) -> None:
    """
    Note which chunks of the snapshot a block touched.
    """
    low, high = min(slots), max(slots)
    if high - low <= _NEAR * len(slots):
        core.dirty.update(range(low >> CHUNK_BITS, (high >> CHUNK_BITS) + 1))
    else:
        core.dirty.update({slot >> CHUNK_BITS for slot in slots})


def _counters(core: Core, call: Call, block: NumberBlock, values: Sequence[int], *, wide: bool) -> bool:
    """
    Apply readings of counters, if each is later and not smaller than the last.
    """
    c = core.columns
    slots: Any = block.slots
    times = block.times
    lasts = list(map(c.last.__getitem__, slots))
    before = list(map(c.value.__getitem__, slots))
    if not (all(map(gt, times, lasts)) and all(map(ge, values, before))):
        return False
    amounts = list(map(sub, values, before))
    if wide and max(amounts) >= _RANGE:
        return False
    last, value = c.last, c.value
    for slot, time, reading in zip(slots, times, values, strict=True):
        last[slot] = time
        value[slot] = reading
    _rows(core, call, slots, (lasts, times, amounts), wide=wide)
    core.opened().ops.append((undo_counters, slots, lasts, amounts))
    return True


def _deltas(core: Core, call: Call, block: NumberBlock, values: Sequence[int], *, wide: bool) -> bool:
    """
    Apply windows that begin where what is covered ends.
    """
    c = core.columns
    slots: Any = block.slots
    times, starts = block.times, block.starts
    if not all(map(gt, times, starts)) or min(values) < 0 or (wide and max(values) >= _RANGE):
        return False
    tails = list(map(c.value.__getitem__, slots))
    last, value, fast = c.last, c.value, c.fast
    if wide:
        for slot, time, reading, tail in zip(slots, times, values, tails, strict=True):
            last[slot] = time
            fast[slot] = -2 - time
            value[slot] = tail[-WIDE_KEEP:] + _pack_wide(time, reading.to_bytes(16, "little", signed=True))
    else:
        for slot, time, reading, tail in zip(slots, times, values, tails, strict=True):
            last[slot] = fast[slot] = time
            value[slot] = tail[-KEEP:] + _pack(time, reading)
    _rows(core, call, slots, (starts, times, values), wide=wide)
    core.opened().ops.append((undo_deltas, slots, starts, tails, wide))
    return True


def _rows(
    core: Core,
    call: Call,
    slots: Sequence[int],
    rows: tuple[Sequence[int], Sequence[int], Sequence[int]],
    *,
    wide: bool,
) -> None:
    """
    Write the rows and add them to the totals.
    """
    c = core.columns
    starts, times, amounts = rows
    frame = core.opened(call.received_at)
    block = frame.block(18 if wide else 0, frame.source(call.source.receiver, call.source.principal))
    block.meters += map(c.meter.__getitem__, slots)  # type: ignore[operator]  # lists while the frame is open
    block.starts += starts  # type: ignore[operator]  # the same
    block.times += times  # type: ignore[operator]  # the same
    block.amounts += amounts  # type: ignore[operator]  # the same
    count = len(slots)
    if wide:
        frame.wide += count
    else:
        frame.narrow += count
    profiles: Any = list(map(c.profile.__getitem__, slots))
    zeros = frame.tallies.block(1 if wide else AMOUNT_ONE, times, profiles, amounts)
    call.recorded += count - zeros
    call.no_usage += zeros


def undo_counters(core: Core, slots: Sequence[int], lasts: Sequence[int], amounts: Sequence[int]) -> None:
    """
    Undo a block of counters: each row says what it added and since when.
    """
    c = core.columns
    for slot, last, amount in zip(slots, lasts, amounts, strict=True):
        c.last[slot] = last
        c.value[slot] -= amount


def undo_deltas(core: Core, slots: Sequence[int], starts: Sequence[int], tails: Sequence[bytes], wide: bool) -> None:  # noqa: FBT001
    """
    Undo a block of deltas.
    """
    c = core.columns
    for slot, start, tail in zip(slots, starts, tails, strict=True):
        c.last[slot] = start
        c.value[slot] = tail
        c.fast[slot] = -2 - start if wide else start
