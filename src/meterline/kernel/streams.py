"""
One point on one (stream, track), the careful way: load the state, step it, store it, and name the meter of the row.
"""

from typing import Any, TypeAlias

from meterline.kernel.core import Core
from meterline.kernel.framing import Kind
from meterline.kernel.groups import Part, Profile
from meterline.kernel.seam import Charge
from meterline.kernel.state import CUMULATIVE, DELTA, FRESH
from meterline.kernel.steps import cumulative, delta
from meterline.kernel.steps.cumulative import UNWITNESSED
from meterline.kernel.steps.result import Step
from meterline.quantity import AMOUNT_ONE

MAX_EPOCH_METERS = 18

Stamped: TypeAlias = tuple[int, int, int, int, int]
"""
Start, time, value, the witness of a reset (the count that came with a sum, else UNWITNESSED), and the writer's term or NO_TERM.
"""


def adopt(core: Core, slot: int, part: Part) -> bool:
    """
    Give the slot a profile of this verdict, with the activation that it had, and say whether its meter must be named anew.

    State goes on; only what is made of it changes.
    """
    c = core.columns
    old = c.profile[slot]
    if old is not None and old.gen == part.gen and old.part is not None:
        return False
    since = tuple(_since(charge, old) for charge in part.charges)
    core.save(slot)
    c.profile[slot] = part.profile(since)
    core.several = core.several or len(part.charges) > 1
    if old is not None and old.gen == part.gen:  # restored: the meter's definition is the same
        return False
    c.meter[slot] = 0
    c.epochs.pop(slot, None)
    return old is not None


def _since(charge: Charge, old: Profile | None) -> int:
    """
    Return the instant from which a charge counts for a stream (semantics.md 3, activation).
    """
    if old is None or charge.active_from:
        return charge.since
    known = dict(old.rules).get(charge.rule)
    return charge.since if known is None or old.gen < charge.continuous_from_gen else known


def load_cumulative(core: Core, slot: int) -> cumulative.State:
    """
    Read the whole state of a counter.
    """
    c = core.columns
    if c.kind[slot] == FRESH:
        return cumulative.EMPTY
    if slot in c.slow:
        return cumulative.decode(c.base[slot])
    fast = cumulative.Fast(c.start[slot], c.origin[slot], c.last[slot], c.value[slot], c.base.get(slot))
    return cumulative.from_fast(fast)


def store_cumulative(core: Core, slot: int, state: cumulative.State) -> None:
    """
    Write the whole state of a counter, in its fast form where it has one. The meter follows its newest epoch.
    """
    c = core.columns
    fast = cumulative.to_fast(state)
    epoch = c.start[slot]
    c.kind[slot] = CUMULATIVE
    if fast is None:
        c.slow.add(slot)
        c.base[slot] = cumulative.encode(state)
        newest = max(state.epochs)
        start, c.origin[slot], c.last[slot], c.value[slot] = newest[:4]
    else:
        c.slow.discard(slot)
        start, c.origin[slot], c.last[slot], c.value[slot], base = fast
        c.base.pop(slot, None)
        if base is not None:
            c.base[slot] = base
    if start != epoch:
        _move_meter(core, slot, epoch, start)
    c.start[slot] = start


def _move_meter(core: Core, slot: int, epoch: int, start: int) -> None:
    """
    Keep the meter of the epoch that was the newest, and find the one of the epoch that is now.
    """
    c = core.columns
    epochs = c.epochs.get(slot, {})
    if c.meter[slot]:
        epochs[epoch] = c.meter[slot]
    if len(epochs) > MAX_EPOCH_METERS:
        del epochs[min(epochs)]
    c.meter[slot] = epochs.pop(start, 0)
    if epochs:
        c.epochs[slot] = epochs
    else:
        c.epochs.pop(slot, None)


def meter_of(core: Core, slot: int, epoch: int, kind: Kind) -> int:
    """
    Return the meter of an epoch of a slot (0 for deltas); declare it when there is none.
    """
    c = core.columns
    current = kind is not Kind.CUMULATIVE or c.start[slot] == epoch
    known = c.meter[slot] if current else c.epochs.get(slot, {}).get(epoch, 0)
    if known:
        return known
    profile = c.profile[slot]
    assert profile is not None  # noqa: S101 (``adopt`` comes first)
    declared = Kind.DELTA if kind is Kind.INSTANT else kind
    meter = core.opened().define(c.identity(slot), declared, epoch, profile)
    core.next_meter = meter + 1
    if current:
        c.meter[slot] = meter
    else:
        c.epochs.setdefault(slot, {})[epoch] = meter
    return meter


def widen(core: Core, slot: int) -> None:
    """
    Change the state of a slot from whole numbers to units of 10^-18: a double has come.
    """
    c = core.columns
    if c.kind[slot] == CUMULATIVE:
        state = cumulative.promote(load_cumulative(core, slot))
        c.scaled[slot] = 1
        store_cumulative(core, slot, state)
    elif c.kind[slot] == DELTA:
        before = load_delta(core, slot)
        c.scaled[slot] = 1
        store_delta(core, slot, delta.promote(before))
    c.scaled[slot] = 1


def load_delta(core: Core, slot: int) -> delta.State:
    """
    Read the whole state of a delta stream.
    """
    c = core.columns
    if c.kind[slot] == FRESH or not c.value[slot]:
        return delta.EMPTY
    fast = delta.Fast(c.origin[slot], c.last[slot], c.value[slot], c.base.get(slot))
    return delta.from_fast(18 if c.scaled[slot] else 0, fast)


def store_delta(core: Core, slot: int, state: delta.State) -> None:
    """
    Write the whole state of a delta stream.
    """
    c = core.columns
    c.kind[slot] = DELTA
    c.base.pop(slot, None)
    if state == delta.EMPTY:
        c.value[slot] = b""
        return
    fast = delta.to_fast(18 if c.scaled[slot] else 0, state)
    c.origin[slot], c.last[slot], c.value[slot] = fast.origin, fast.last, fast.tail
    if fast.base is not None:
        c.base[slot] = fast.base


def open_delta(core: Core, slot: int) -> None:
    """
    Make a fresh slot a delta without windows: one that had instants only.
    """
    if core.columns.kind[slot] == FRESH:
        store_delta(core, slot, delta.EMPTY)


def encode_state(core: Core, slot: int) -> bytes:
    """
    Return the whole state of a slot for a slow row: kind, scale, and the state as its step encodes it.
    """
    c = core.columns
    head = bytes((c.kind[slot], c.scaled[slot]))
    if c.kind[slot] == CUMULATIVE:
        return head + cumulative.encode(load_cumulative(core, slot))
    return head + delta.encode(load_delta(core, slot))


def decode_state(core: Core, slot: int, data: bytes) -> None:
    """
    Put back the state that ``encode_state`` wrote.
    """
    c = core.columns
    kind, c.scaled[slot] = data[0], data[1]
    if kind == CUMULATIVE:
        store_cumulative(core, slot, cumulative.decode(data[2:]))
    else:
        store_delta(core, slot, delta.decode(data[2:]))


def step(core: Core, slot: int, point: Stamped, *, wide: bool, is_delta: bool) -> tuple[Step, bool]:
    """
    Step a slot by a reading, its value in 10^-18 (``wide``) or whole numbers; return the step, with its quantity in 10^-18,
    and whether the state changed. The caller has saved the slot.
    """
    c = core.columns
    start, time, value, witness, term = point
    widened = wide and not c.scaled[slot]
    if widened:
        widen(core, slot)
    if c.scaled[slot] and not wide:
        value *= AMOUNT_ONE
    before: Any
    after: Any
    if is_delta:
        before = load_delta(core, slot)
        found, after = delta.step(before, start, time, value)
        if after is not before:
            store_delta(core, slot, after)
    else:
        before = load_cumulative(core, slot)
        skew = core.options.start_skew_ns
        if witness == UNWITNESSED:
            found, after = cumulative.step(before, start, time, value, skew, term=term)
        else:
            found, after = cumulative.step_witnessed(before, (start, time, value), witness, skew)
        if after is not before:
            store_cumulative(core, slot, after)
    if not c.scaled[slot]:
        found = found._replace(quantity=found.quantity * AMOUNT_ONE)
    return found, widened or after is not before
