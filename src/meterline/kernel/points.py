"""
Metric points one at a time, through the four stages of semantics.md 1. Everything that the fast path does not take.
"""

import math
import struct
from typing import Final, NamedTuple

from meterline.kernel import record_ids
from meterline.kernel.batch import DistributionBlock, Number, NumberBlock
from meterline.kernel.canonical import digest
from meterline.kernel.claims import Usage, active, gates, hold, note, record, verdict_on
from meterline.kernel.core import Call, Claims, Core
from meterline.kernel.framing import IdRow, Kind, SlowRow
from meterline.kernel.groups import Group, Part
from meterline.kernel.raw import is_open, quarantine_raw
from meterline.kernel.reasons import Reason
from meterline.kernel.seam import Temporality, Track
from meterline.kernel.steps import result
from meterline.kernel.steps.ids import Found
from meterline.kernel.steps.result import Note, Outcome, Step
from meterline.kernel.streams import adopt, encode_state, meter_of, open_delta, step
from meterline.quantity import AMOUNT_ONE, amount_from_double

_STALE: Final = 0x7FF0000000000002
"""Bits of the NaN by which Prometheus says that a series has ended."""

_EVENTS = {
    Note.BASELINE: "baseline",
    Note.INFERRED_RESET: "inferred_reset",
    Note.LATE_LARGER: "late_above_last",
    Note.CONTAINED: "old_epoch_contained",
}

Block = NumberBlock | DistributionBlock


class Point(NamedTuple):
    """
    A point under way.
    """

    block: Block
    place: int
    start: int
    time: int
    group: Group
    slots: tuple[int, ...]


class Stepped(NamedTuple):
    """
    What stage 3 made of one track. ``row``: whether the state changed, so that the frame must say so.
    """

    part: Part
    slot: int
    step: Step
    usage: Usage
    kind: Kind
    row: bool


class Reading(NamedTuple):
    """
    A valid value: in whole numbers, or in 10^-18 when ``wide``.
    """

    value: int
    wide: bool


def apply_point(core: Core, call: Call, block: Block, index: int, decision: tuple[int, int]) -> None:
    """
    Take one point through all stages.
    """
    c = core.columns
    slots: list[int] = block.slots or []
    slot = slots[index]
    group = c.group[slot]
    if group.unmatched:
        core.unmatched(call, 1)
        return
    point = _point(core, block, index, group, slot)
    claims = Claims()
    if _no_value(point):
        claims.no_usage = group.claims
    else:
        _matched(core, call, point, claims, decision)
    core.close_point(call, claims)


def _point(core: Core, block: Block, index: int, group: Group, slot: int) -> Point:
    slots = core.columns.bundles.get(slot, (slot,))
    if isinstance(block, NumberBlock):
        return Point(block, index, block.starts[index], block.times[index], group, slots)
    each = block.points[index]
    return Point(block, index, each.start, each.time, group, slots)


def _no_value(point: Point) -> bool:
    """
    Say whether the sender says that there is no value: a flag, or Prometheus's stale marker.
    """
    block = point.block
    if isinstance(block, DistributionBlock):
        each = block.points[point.place]
        return bool(each.flags & 1) or _stale(each.sum)
    return bool(block.flags.get(point.place, 0) & 1) or _stale(block.values[point.place])


def _stale(value: Number) -> bool:
    return isinstance(value, float) and math.isnan(value) and struct.unpack("<Q", struct.pack("<d", value))[0] == _STALE


def _matched(core: Core, call: Call, point: Point, claims: Claims, decision: tuple[int, int]) -> None:
    """
    Stages 2 to 4.
    """
    group = point.group
    identity = b"" if group.special else core.columns.identity(point.slots[0])
    rules = tuple(charge.rule for charge in group.charges)
    if is_open(core, call, point.block, point.place, identity, rules):
        claims.duplicate = group.claims
        return
    reason = group.reject or _invalid(call, point)
    if reason is None and not call.source.may_all(group):
        reason = Reason.FORBIDDEN_CUSTOMER
    if reason is not None:
        _refuse(core, call, point, claims, reason, identity)
        return
    for index in group.raws:
        _refuse_claim(core, call, point, claims, index, identity)
    stepped = [
        each
        for part, slot in zip(group.parts, point.slots, strict=True)
        for each in _stage3(core, call, point, part, slot, claims)
    ]
    _stage4(core, call, point, claims, stepped, decision)
    for slot in point.slots:
        core.refresh(slot)
        if point.time < call.received_at - core.options.idle_ns // 2:
            core.columns.seen[slot] = call.received_at


def _refuse(core: Core, call: Call, point: Point, claims: Claims, reason: Reason, identity: bytes) -> None:
    opened = quarantine_raw(
        core, call, point.block, point.place, reason, time=point.time, rule=point.group.rule, identity=identity
    )
    if opened:
        claims.quarantined = point.group.claims
    else:
        claims.duplicate = point.group.claims


def _refuse_claim(core: Core, call: Call, point: Point, claims: Claims, index: int, identity: bytes) -> None:
    charge = point.group.charges[index]
    reason = charge.raw or Reason.NEEDS_CONVERSION
    opened = quarantine_raw(
        core,
        call,
        point.block,
        point.place,
        reason,
        time=point.time,
        rule=charge.rule,
        identity=identity,
        of_rule=True,
    )
    claims.quarantined += opened
    claims.duplicate += not opened


# Stage 2


def _invalid(call: Call, point: Point) -> Reason | None:
    """
    Say why a point is not valid (otlp.md C2): its value, its time, its parts.
    """
    if isinstance(point.block, NumberBlock):
        reason = _invalid_number(point)
    else:
        reason = point.block.points[point.place].bad
    return reason or _invalid_time(call, point.start, point.time)


def _invalid_number(point: Point) -> Reason | None:
    value = point.block.values[point.place]  # type: ignore[union-attr]  # a number block
    if value is None:
        return Reason.NO_VALUE
    if isinstance(value, float):
        if not math.isfinite(value):
            return Reason.NOT_A_NUMBER
        if amount_from_double(value) is None:
            return Reason.OUT_OF_RANGE
    if value < 0 and (point.block.entry.monotonic or not all(charge.allow_negative for charge in point.group.charges)):
        return Reason.NEGATIVE_VALUE
    return None


def _invalid_time(call: Call, start: int, time: int) -> Reason | None:
    if not time:
        return Reason.TIME_MISSING
    if start > time:
        return Reason.START_AFTER_TIME
    return implausible(call, time)


def implausible(call: Call, time: int) -> Reason | None:
    """
    Say whether a time is too far from when the point was received.
    """
    if time > call.max_time:
        return Reason.TIME_IN_FUTURE
    return Reason.TIME_IN_PAST if time < call.min_time else None


def _reading(point: Point, part: Part) -> Reading | Reason:
    """
    Read what a track bills; a reason when the point does not have it.
    """
    block = point.block
    if isinstance(block, NumberBlock):
        value = block.values[point.place]
        if isinstance(value, float):
            return Reading(amount_from_double(value) or 0, wide=True)
        return Reading(value or 0, wide=False)
    each = block.points[point.place]
    if part.track is Track.COUNT:
        return Reading(each.count, wide=False)
    return _sum_reading(each.sum, part)


def _sum_reading(value: float | None, part: Part) -> Reading | Reason:
    if value is None:
        return Reason.NO_SUM
    if not math.isfinite(value):
        return Reason.NOT_A_NUMBER
    amount = amount_from_double(value)
    if amount is None:
        return Reason.OUT_OF_RANGE
    if amount < 0 and not all(charge.allow_negative for charge in part.charges):
        return Reason.NEGATIVE_VALUE
    return Reading(amount, wide=True)


# Stage 3


def _stage3(core: Core, call: Call, point: Point, part: Part, slot: int, claims: Claims) -> list[Stepped]:
    """
    Step one track; [] when its claims are settled already: quarantined raw or duplicate.
    """
    reading = _reading(point, part)
    if isinstance(reading, Reason):
        identity = core.columns.identity(slot)
        for charge in part.charges:
            opened = quarantine_raw(
                core,
                call,
                point.block,
                point.place,
                reading,
                time=point.time,
                rule=charge.rule,
                identity=identity,
                of_rule=True,
            )
            claims.quarantined += opened
            claims.duplicate += not opened
        return []
    moved = adopt(core, slot, part)
    core.save(slot)
    if point.block.entry.temporality is Temporality.DELTA:
        if not point.start or point.start == point.time:
            return _instant(core, call, point, part, slot, reading, claims)
        found, changed = step(core, slot, point.start, point.time, reading.value, wide=reading.wide, is_delta=True)
        usage = Usage(found.quantity, found.window_start, point.time, core.columns.identity(slot))
        return [Stepped(part, slot, found, usage, Kind.DELTA, changed or moved)]
    found, changed = step(core, slot, point.start, point.time, reading.value, wide=reading.wide, is_delta=False)
    usage = Usage(found.quantity, found.window_start, point.time, core.columns.identity(slot))
    if found.reason is Reason.CONFLICT:
        found = _conflict(core, call, point, part, usage, found)
    return [Stepped(part, slot, found, usage, Kind.CUMULATIVE, changed or moved)]


def _conflict(core: Core, call: Call, point: Point, part: Part, usage: Usage, found: Step) -> Step:
    """
    Remember a reading that contradicts the last one, so that its resend is a duplicate.
    """
    window = record_ids.cumulative_window(point.start, usage.start, point.time)
    key = digest(
        b"meterline.conflict.1", usage.identity, bytes((part.track.value,)), window, str(usage.amount).encode()
    )
    frame = core.opened(call.received_at)
    if core.ids.add(key, usage.amount, point.time, frame.received_at) is Found.DUPLICATE:
        return result.duplicate(found.quantity, found.window_start)
    frame.ids.append(IdRow(key, usage.amount, point.time))
    return found


def _instant(
    core: Core, call: Call, point: Point, part: Part, slot: int, reading: Reading, claims: Claims
) -> list[Stepped]:
    """
    A delta that covers no time: told from its repeat by time, value, and how many equal ones came before it.
    """
    amount = reading.value if reading.wide else reading.value * AMOUNT_ONE
    usage = Usage(amount, point.start, point.time, core.columns.identity(slot))
    usage.instant = True
    place = (slot, point.time, amount)
    usage.k = call.repeats.get(place, 0)
    call.repeats[place] = usage.k + 1
    key = record_ids.instant_key(usage.identity, part.track.value, point.time, amount, usage.k)
    frame = core.opened(call.received_at)
    found = core.ids.add(key, amount, point.time, frame.received_at)
    if found is Found.BEYOND:
        for charge in part.charges:
            opened = quarantine_raw(
                core,
                call,
                point.block,
                point.place,
                Reason.BEYOND_DEDUPE_HORIZON,
                time=point.time,
                rule=charge.rule,
                identity=usage.identity,
                of_rule=True,
            )
            claims.quarantined += opened
            claims.duplicate += not opened
        return []
    if found is Found.NEW:
        frame.ids.append(IdRow(key, amount, point.time))
        open_delta(core, slot)
        return [Stepped(part, slot, result.usage(amount, point.start), usage, Kind.INSTANT, row=True)]
    return [Stepped(part, slot, result.duplicate(amount, point.start), usage, Kind.INSTANT, row=False)]


# Stage 4


def _stage4(
    core: Core, call: Call, point: Point, claims: Claims, stepped: list[Stepped], decision: tuple[int, int]
) -> None:
    passing = 0
    for each in stepped:
        if each.step.outcome is Outcome.USAGE:
            passing |= _passing(core, point, each, decision)
    for each in stepped:
        if each.step.note in _EVENTS:
            note(core, _EVENTS[each.step.note], each.part.charges[0], each.usage)
        mask = _settle(core, call, point, claims, each, passing, decision)
        if each.row:
            _write(core, call, point, each, mask)


def _passing(core: Core, point: Point, each: Stepped, decision: tuple[int, int]) -> int:
    """
    Return the mask of charges that are active and whose gates hold.
    """
    profile = core.columns.profile[each.slot]
    mask = 0
    for place, charge, since in zip(
        each.part.indexes, each.part.charges, profile.since if profile else (), strict=True
    ):
        alive = active(charge, since, each.usage, cumulative=each.kind is Kind.CUMULATIVE)
        if alive and (not charge.gated or gates(decision, place)[0]):
            mask |= 1 << place
    return mask


def _settle(
    core: Core,
    call: Call,
    point: Point,
    claims: Claims,
    each: Stepped,
    passing: int,
    decision: tuple[int, int],
) -> int:
    """
    Settle the claims on one track; return the mask of those that make a record, by their place in the meter.
    """
    outcome = each.step.outcome
    count = len(each.part.charges)
    if outcome is Outcome.DUPLICATE:
        claims.duplicate += count
        return 0
    if outcome is Outcome.NO_USAGE:
        claims.no_usage += count
        return 0
    if outcome is Outcome.DISPUTED:
        for charge in each.part.charges:
            reason = each.step.reason or Reason.CONFLICT
            hold(core, call, claims, reason, charge, each.usage, _record_id(charge.rule, point, each))
        return 0
    return _settle_usage(core, call, point, claims, each, passing, decision)


def _settle_usage(
    core: Core,
    call: Call,
    point: Point,
    claims: Claims,
    each: Stepped,
    passing: int,
    decision: tuple[int, int],
) -> int:
    mask = 0
    profile = core.columns.profile[each.slot]
    since = profile.since if profile else ()
    for local, (place, charge) in enumerate(zip(each.part.indexes, each.part.charges, strict=True)):
        if not active(charge, since[local], each.usage, cumulative=each.kind is Kind.CUMULATIVE):
            claims.no_usage += 1
            if each.usage.amount:
                note(core, "before_activation", charge, each.usage, since=since[local])
            continue
        answer = verdict_on(charge, each.usage, passing, place, decision)
        if answer is True:
            record(core, claims, charge, each.usage)
            mask |= 1 << local
        elif answer is False:
            claims.no_usage += 1
        else:
            hold(core, call, claims, answer, charge, each.usage, _record_id(charge.rule, point, each))
    return mask


def _record_id(rule: str, point: Point, each: Stepped) -> bytes:
    usage = each.usage
    if each.kind is Kind.INSTANT:
        window = record_ids.instant_window(usage.time, usage.amount, usage.k)
    elif each.kind is Kind.DELTA:
        window = record_ids.delta_window(usage.start, usage.time)
    else:
        window = record_ids.cumulative_window(point.start, usage.start, usage.time)
    return record_ids.record_id(rule, usage.identity, window)


def _write(core: Core, call: Call, point: Point, each: Stepped, mask: int) -> None:
    """
    Write the row: what is recorded, and the state after it.
    """
    frame = core.opened(call.received_at)
    epoch = point.start if each.kind is Kind.CUMULATIVE else 0
    meter = meter_of(core, each.slot, epoch, each.kind)
    state = b"" if each.kind is Kind.INSTANT else encode_state(core, each.slot)
    source = frame.source(call.source.receiver, call.source.principal)
    amount = each.usage.amount if mask else 0
    frame.slow.append(
        SlowRow(
            (frame.narrow, frame.wide),
            meter,
            source,
            each.usage.start,
            each.usage.time,
            amount,
            each.usage.k,
            each.kind,
            mask,
            state,
        )
    )
