"""
Blocks of usual points: known streams with newer readings, and new streams that say since when they count. Column by column.

The hot loops of the kernel: benchmarks/kernel.py, "apply".
"""

from collections import Counter
from collections.abc import Sequence
from operator import ge, gt, sub
from typing import Any, Final, NamedTuple

from meterline.kernel import limits
from meterline.kernel.batch import NumberBlock
from meterline.kernel.core import PREFIX, Call, Core
from meterline.kernel.framing import Kind
from meterline.kernel.groups import Group, Profile
from meterline.kernel.places import Places
from meterline.kernel.plan import ContextEntry
from meterline.kernel.seam import Temporality
from meterline.kernel.state import CUMULATIVE, DELTA, FRESH, NEVER, termed
from meterline.kernel.steps.cumulative import NO_TERM
from meterline.kernel.steps.delta import ENTRY, KEEP, WIDE_ENTRY, WIDE_KEEP
from meterline.kernel.told import UNKNOWN
from meterline.quantity import AMOUNT_ONE, amount_from_double

_RANGE: Final = AMOUNT_ONE << 63
"""Amounts below this are in range for every plain part, as all int64 are."""

_pack = ENTRY.pack


def _pack_wide(time: int, value: int) -> bytes:
    return WIDE_ENTRY.pack(time, value.to_bytes(16, "little", signed=True))


class Readings(NamedTuple):
    """
    Points as columns; values are whole numbers, or in 10^-18 when ``wide``. None stands for a double that is no amount.

    ``entry``: their context. ``term``: of the counters' writer.
    """

    slots: list[int]
    starts: list[int]
    times: list[int]
    values: list[Any]
    wide: bool
    delta: bool
    entry: ContextEntry
    term: int = NO_TERM

    def part(self, indexes: list[int]) -> "Readings":
        """
        Return some of the points.
        """
        slots, starts, times, values = ([column[index] for index in indexes] for column in self[:4])
        return Readings(slots, starts, times, values, self.wide, self.delta, self.entry, self.term)

    def marks(self) -> list[int]:
        """
        Return what ``fast`` holds where the points simply go on.
        """
        if self.term != NO_TERM:
            known = {start: termed(start, self.term, scaled=self.wide) for start in set(self.starts)}
            return list(map(known.__getitem__, self.starts))
        return [-2 - start for start in self.starts] if self.wide else self.starts


def apply_block(core: Core, call: Call, block: NumberBlock) -> Sequence[int]:
    """
    Apply the usual points of a block; return the indexes of the others, for which nothing was done.
    """
    points = _readings(block)
    if points is None or (block.entry.hint == UNKNOWN and not _explicit(core, points)):
        return range(block.n)
    every = Places(points.slots)
    if None not in points.values and _plausible(call, points.times) and every.distinct:
        allowed = call.source.any or all(map(call.source.may_all, set(every.read(core.columns.group))))
        if allowed and (_known(core, call, every, points) or _fresh(core, call, every, points)):
            return ()
    return _split(core, call, points)


def _readings(block: NumberBlock) -> Readings | None:
    """
    Return the points of a block as columns; None when some are int and some double, or have flags.
    """
    values: Any = block.values
    if not block.kind or not block.slots:
        return None
    wide = block.kind == "d"
    if wide:
        values = list(map(amount_from_double, values))
    delta = block.entry.temporality is Temporality.DELTA
    starts: Any = block.starts
    times: Any = block.times
    return Readings(block.slots, starts, times, values, wide, delta, block.entry, NO_TERM if delta else block.told.term)


def _explicit(core: Core, points: Readings) -> bool:
    """
    Say whether all rules count sums whose type is unknown.
    """
    return all(group.explicit for group in set(map(core.columns.group.__getitem__, points.slots)))


def _plausible(call: Call, times: list[int]) -> bool:
    return min(times) >= call.min_time and max(times) <= call.max_time


def _split(core: Core, call: Call, points: Readings) -> list[int]:
    """
    Sort points into known, fresh and slow ones; those that no rule matches are counted. A hot loop where a rule matches
    only some points of a metric: benchmarks/kernel.py.
    """
    groups, fast, kinds = core.columns.group, core.columns.fast, core.columns.kind
    counts = Counter(points.slots)
    known: list[int] = []
    fresh: list[int] = []
    slow: list[int] = []
    unmatched = 0
    for index, (slot, start, time, value, mark) in enumerate(zip(*points[:4], points.marks(), strict=True)):
        group = groups[slot]
        if group.unmatched:
            unmatched += 1
        elif (
            value is None
            or counts[slot] > 1
            or not call.min_time <= time <= call.max_time
            or not call.source.may_all(group)
        ):
            slow.append(index)
        elif fast[slot] == mark:
            (known if _grows(core, points, slot, (start, time, value)) else slow).append(index)
        else:
            new = kinds[slot] == FRESH and points.term == NO_TERM
            opens = new and _opens(core, group, points.delta, (start, time, value))
            (fresh if opens and _closed(core, slot) else slow).append(index)
    if unmatched:
        core.unmatched(call, unmatched)
    for indexes, take in ((known, _known), (fresh, _fresh)):
        if indexes:
            part = points.part(indexes)
            if not take(core, call, Places(part.slots), part):
                slow += indexes
    return slow


def _grows(core: Core, points: Readings, slot: int, point: tuple[int, int, int]) -> bool:
    start, time, value = point
    c = core.columns
    if points.delta:
        return time > start and value >= 0
    return bool(time > c.last[slot] and value >= c.value[slot])


# Known streams


def _known(core: Core, call: Call, places: Places, points: Readings) -> bool:
    """
    Apply points of known streams; False, and nothing done, when one of them does not simply go on.
    """
    if places.read(core.columns.fast) != points.marks():
        return False
    done = (_deltas if points.delta else _counters)(core, call, places, points)
    if done:
        core.dirty.update(places.chunks())
    return done


def _counters(core: Core, call: Call, places: Places, points: Readings) -> bool:
    """
    Apply readings of counters, if each is later and not smaller than the last.
    """
    c = core.columns
    times, values = points.times, points.values
    lasts, before = places.read(c.last), places.read(c.value)
    if not (max(lasts) < min(times) or all(map(gt, times, lasts))) or not all(map(ge, values, before)):
        return False
    amounts = list(map(sub, values, before))
    if points.wide and max(amounts) >= _RANGE:
        return False
    places.write(c.last, times)
    places.write(c.value, values)
    core.opened(call.received_at).ops.append((_undo_counters, places, lasts, before))
    _rows(core, call, places, (lasts, times, amounts), wide=points.wide)
    return True


def _deltas(core: Core, call: Call, places: Places, points: Readings) -> bool:
    """
    Apply windows that begin where what is covered ends.
    """
    c = core.columns
    starts, times, values, wide = points.starts, points.times, points.values, points.wide
    if not all(map(gt, times, starts)) or min(values) < 0 or (wide and max(values) >= _RANGE):
        return False
    tails = places.read(c.value)
    keep = WIDE_KEEP if wide else KEEP
    entries = map(_pack_wide if wide else _pack, times, values)
    places.write(c.value, [tail[-keep:] + entry for tail, entry in zip(tails, entries, strict=True)])
    places.write(c.last, times)
    places.write(c.fast, [-2 - time for time in times] if wide else times)
    core.opened(call.received_at).ops.append((_undo_deltas, places, starts, tails, wide))
    _rows(core, call, places, (starts, times, values), wide=wide)
    return True


# New streams


def _opens(core: Core, group: Group, delta: bool, point: tuple[int, int, int]) -> bool:  # noqa: FBT001
    """
    Say whether a new stream's first point counts as it stands: it has a window, and all its charges count from before it.
    """
    start, time, value = point
    if len(group.parts) != 1 or group.raws or not group.parts[0].plain or group.gen != core.plan[0]:
        return False
    since = group.parts[0].initial.since_max
    return 0 < start < time and value >= 0 and (time > since if delta else start >= since)


def _closed(core: Core, slot: int) -> bool:
    """
    Say whether the stream has no open raw entry, and no older generation's profile.
    """
    c = core.columns
    if c.profile[slot] is not None:
        return False
    return not core.open_streams or c.identity(slot)[:PREFIX] not in core.open_streams


def _fresh(core: Core, call: Call, places: Places, points: Readings) -> bool:
    """
    Open new streams, a row for each; False, and nothing done, when one of them is not new or not usual.
    """
    c = core.columns
    slots = places.slots
    if points.term != NO_TERM:
        return False
    groups: list[Group] = places.read(c.group)
    if any(kind != FRESH for kind in map(c.kind.__getitem__, slots)) or not all(_closed(core, slot) for slot in slots):
        return False
    if not all(map(_opens, [core] * len(slots), groups, [points.delta] * len(slots), zip(*points[1:4], strict=True))):
        return False
    if points.wide and max(points.values) >= _RANGE:
        return False
    if not limits.may_open(core, call, points.entry, slots):
        return False
    profiles = [group.parts[0].initial for group in groups]
    _open(core, call, places, points, profiles)
    _rows(core, call, places, (points.starts, points.times, points.values), wide=points.wide)
    core.dirty.update(places.chunks())
    return True


def _open(core: Core, call: Call, places: Places, points: Readings, profiles: list[Profile]) -> None:
    c = core.columns
    frame = core.opened(call.received_at)
    frame.ops.append((_undo_open, places))
    limits.opened(core, call, len(places.slots))
    slots, starts, times, values = points[:4]
    epochs = [0] * len(slots) if points.delta else starts
    meter = frame.next_meter
    kind = Kind.DELTA if points.delta else Kind.CUMULATIVE
    for slot, epoch, profile in zip(slots, epochs, profiles, strict=True):
        frame.define(c.key[slot] or b"", kind, epoch, profile)
        c.kind[slot] = DELTA if points.delta else CUMULATIVE
        c.scaled[slot] = points.wide
        core.several = core.several or len(profile.rules) > 1
    core.next_meter = frame.next_meter
    places.write(c.meter, range(meter, meter + len(slots)))
    places.write(c.profile, profiles)
    places.write(c.origin, starts)
    places.write(c.start, epochs)
    places.write(c.last, times)
    wanted = times if points.delta else starts
    places.write(c.fast, [-2 - start for start in wanted] if points.wide else wanted)
    places.write(c.value, _tails(points) if points.delta else values)


def _tails(points: Readings) -> list[bytes]:
    """
    Begin the tails of delta streams: the start of the chain, then the first window.
    """
    pack = _pack_wide if points.wide else _pack
    return [pack(start, 0) + pack(time, value) for _, start, time, value in zip(*points[:4], strict=True)]


Rows = tuple[list[int], list[int], list[int]]


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
    if min(times) < call.received_at - core.options.idle_ns // 2:  # late points do not make their streams idle
        c.seen.update(dict.fromkeys(places.slots, call.received_at))


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


def _undo_open(core: Core, places: Places) -> None:
    """
    Undo the opening of new streams.
    """
    c = core.columns
    for slot in places.slots:
        c.kind[slot], c.scaled[slot] = FRESH, 0
        c.fast[slot] = NEVER
        c.start[slot] = c.origin[slot] = c.last[slot] = c.meter[slot] = 0
        c.value[slot], c.profile[slot] = 0, None
    core.dirty.update(places.chunks())


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
