"""
Metric points one at a time, through the four stages of semantics.md 1. Everything that the fast path does not take.
"""

from collections.abc import Iterable
from typing import Final, NamedTuple

from meterline.kernel import limits, record_ids
from meterline.kernel.batch import DistributionBlock, NumberBlock
from meterline.kernel.canonical import digest
from meterline.kernel.claims import Usage, active, gates, hold, note, record, verdict_on
from meterline.kernel.core import Call, Claims, Core
from meterline.kernel.framing import IdRow, Kind, SlowRow
from meterline.kernel.groups import Group, Part
from meterline.kernel.raw import is_open, quarantine_raw
from meterline.kernel.reasons import Reason
from meterline.kernel.seam import Charge, Temporality
from meterline.kernel.steps import result
from meterline.kernel.steps.ids import Found
from meterline.kernel.steps.result import Note, Outcome, Step
from meterline.kernel.streams import adopt, encode_state, meter_of, open_delta, step
from meterline.kernel.told import UNKNOWN
from meterline.kernel.validity import Point, Reading, invalid, no_value, reading
from meterline.quantity import AMOUNT_ONE

_EVENTS: Final = {
    Note.BASELINE: "baseline",
    Note.INFERRED_RESET: "inferred_reset",
    Note.BEHIND: "writer_behind",
    Note.LATE_LARGER: "late_above_last",
    Note.CONTAINED: "old_epoch_contained",
}


class Stepped(NamedTuple):
    """
    What stage 3 made of one track. ``row``: the state changed, so that the frame must say so.
    """

    part: Part
    slot: int
    step: Step
    usage: Usage
    kind: Kind
    row: bool


def apply_point(
    core: Core, call: Call, block: NumberBlock | DistributionBlock, place: int, decision: tuple[int, int]
) -> None:
    """
    Take one point through all stages. ``decision``: masks of its gated charges that hold, and that erred.
    """
    slot = (block.slots or ())[place]
    group = core.columns.group[slot]
    if group.unmatched:
        core.unmatched(call, 1)
        return
    point = _point(core, block, place, group, slot)
    taken = _PointPass(core, call, point, decision)
    if no_value(point):
        taken.claims.no_usage = group.claims
    else:
        taken.run()
    core.close_point(call, taken.claims)


def _point(core: Core, block: NumberBlock | DistributionBlock, place: int, group: Group, slot: int) -> Point:
    slots = core.columns.bundles.get(slot, (slot,))
    if isinstance(block, NumberBlock):
        return Point(block, place, block.starts[place], block.times[place], group, slots)
    each = block.points[place]
    return Point(block, place, each.start, each.time, group, slots)


class _PointPass:
    """
    One matched point on its way through stages 2 to 4.
    """

    __slots__ = ("call", "claims", "core", "decision", "doubtful", "identity", "point")

    def __init__(self, core: Core, call: Call, point: Point, decision: tuple[int, int]) -> None:
        self.core = core
        self.call = call
        self.point = point
        self.decision = decision
        self.claims = Claims()
        self.doubtful = point.block.entry.hint == UNKNOWN
        self.identity = b"" if point.group.special else core.columns.identity(point.slots[0])

    def run(self) -> None:
        """
        Take the point through the stages; whatever comes of it, its streams learn whether the next may go the fast way.
        """
        core, call, point = self.core, self.call, self.point
        fresh = limits.unopened(core, point.slots)
        self._stages()
        if point.group.special:
            return
        if fresh and not limits.unopened(core, point.slots):
            limits.opened(core, call, 1)
        for slot in point.slots:
            core.refresh(slot)
            if point.time < call.received_at - core.options.idle_ns // 2:
                core.columns.seen[slot] = call.received_at

    def _stages(self) -> None:
        core, call, point = self.core, self.call, self.point
        group = point.group
        rules = tuple(charge.rule for charge in group.charges)
        if is_open(core, call, (point.block, point.place, self.identity), rules):
            self.claims.duplicate = group.claims
            return
        reason = group.reject or invalid(call, point)
        if reason is None and not call.source.may_all(group):
            reason = Reason.FORBIDDEN_CUSTOMER
        if reason is None:
            reason = limits.refused(core, call, point.block.entry, point.slots)
        if reason is not None:
            self._refuse(reason)
            return
        for index in group.raws:
            charge = group.charges[index]
            self._refuse_claims(charge.raw or Reason.NEEDS_CONVERSION, (charge,))
        pairs = zip(group.parts, point.slots, strict=True)
        self._stage4([each for part, slot in pairs for each in self._stage3(part, slot)])

    def _refuse(self, reason: Reason) -> None:
        """
        Quarantine the point raw for all its claims.
        """
        point = self.point
        place = (point.block, point.place, self.identity)
        if quarantine_raw(self.core, self.call, place, reason, time=point.time, rule=point.group.rule):
            self.claims.quarantined = point.group.claims
        else:
            self.claims.duplicate = point.group.claims

    def _refuse_claims(self, reason: Reason, charges: Iterable[Charge]) -> None:
        """
        Quarantine the point raw for some of its claims.
        """
        point = self.point
        place = (point.block, point.place, self.identity)
        for charge in charges:
            opened = quarantine_raw(
                self.core, self.call, place, reason, time=point.time, rule=charge.rule, of_rule=True
            )
            self.claims.quarantined += opened
            self.claims.duplicate += not opened

    # Stage 3

    def _stage3(self, part: Part, slot: int) -> list[Stepped]:
        """
        Step one track; [] when its claims are settled already.
        """
        core, point = self.core, self.point
        value = reading(point, part)
        if isinstance(value, Reason):
            self._refuse_claims(value, part.charges)
            return []
        moved = adopt(core, slot, part)
        core.save(slot)
        is_delta = point.block.entry.temporality is Temporality.DELTA
        if is_delta and (not point.start or point.start == point.time):
            return self._instant(part, slot, value)
        stamped = (point.start, point.time, value.value, value.witness, point.block.told.term)
        found, changed = step(core, slot, stamped, wide=value.wide, is_delta=is_delta)
        usage = Usage(found.quantity, found.window_start, point.time, self.identity)
        if found.reason is Reason.CONFLICT and not is_delta:
            found = self._conflict(part, usage, found)
        kind = Kind.DELTA if is_delta else Kind.CUMULATIVE
        return [Stepped(part, slot, found, usage, kind, changed or moved)]

    def _conflict(self, part: Part, usage: Usage, found: Step) -> Step:
        """
        Remember a reading that contradicts the last one of its time, so that its resend is a duplicate.
        """
        point = self.point
        window = record_ids.cumulative_window(point.start, usage.start, point.time)
        amount = str(usage.amount).encode()
        key = digest(b"meterline.conflict.1", usage.identity, bytes((part.track.value,)), window, amount)
        frame = self.core.opened(self.call.received_at)
        answer = self.core.ids.add(key, usage.amount, point.time, frame.received_at)
        if answer is Found.DUPLICATE:
            return result.duplicate(found.quantity, found.window_start)
        if answer is not Found.BEYOND:
            frame.ids.append(IdRow(*self.core.ids.added))
        return found

    def _instant(self, part: Part, slot: int, value: Reading) -> list[Stepped]:
        """
        Take a delta that covers no time: it is told from its repeat by time, value, and how many equal ones came before it.
        """
        core, point = self.core, self.point
        amount = value.value if value.wide else value.value * AMOUNT_ONE
        usage = Usage(amount, point.start, point.time, self.identity)
        usage.instant = True
        if point.place in point.block.ids:
            usage.point = point.block.ids[point.place]
            return self._identified(part, slot, usage)
        usage.k = self.call.repeat((slot, point.time, amount))
        key = record_ids.instant_key(usage.identity, part.track.value, point.time, amount, usage.k)
        frame = core.opened(self.call.received_at)
        found = core.ids.add(key, amount, point.time, frame.received_at)
        if found is Found.BEYOND:
            self._refuse_claims(Reason.BEYOND_DEDUPE_HORIZON, part.charges)
            return []
        if found is Found.NEW:
            frame.ids.append(IdRow(key, amount, point.time))
            open_delta(core, slot)
            return [Stepped(part, slot, result.usage(amount, point.start), usage, Kind.INSTANT, row=True)]
        return [Stepped(part, slot, result.duplicate(amount, point.start), usage, Kind.INSTANT, row=False)]

    def _identified(self, part: Part, slot: int, usage: Usage) -> list[Stepped]:
        """
        Take a delta that covers no time and has an identity of its own: another value or time is a conflict.
        """
        core, amount, time = self.core, usage.amount, usage.time
        key = record_ids.point_key(usage.identity, part.track.value, usage.point)
        known = core.ids.find(key)
        if known is not None and known != (amount, time):
            key = digest(b"meterline.conflict.2", key, record_ids.instant_window(time, amount, 0))
        frame = core.opened(self.call.received_at)
        found = core.ids.add(key, amount, max(time, known[1] if known else 0), frame.received_at)
        if found is Found.BEYOND:
            self._refuse_claims(Reason.BEYOND_DEDUPE_HORIZON, part.charges)
            return []
        if found is Found.DUPLICATE:
            return [Stepped(part, slot, result.duplicate(amount, usage.start), usage, Kind.INSTANT, row=False)]
        frame.ids.append(IdRow(*core.ids.added))
        open_delta(core, slot)
        step = (
            result.usage(amount, usage.start)
            if known is None
            else result.disputed(Reason.CONFLICT, amount, usage.start)
        )
        return [Stepped(part, slot, step, usage, Kind.INSTANT, row=True)]

    # Stage 4

    def _stage4(self, stepped: list[Stepped]) -> None:
        passing = 0
        for each in stepped:
            if each.step.outcome is Outcome.USAGE:
                passing |= self._passing(each)
        for each in stepped:
            if each.step.note in _EVENTS:
                note(self.core, _EVENTS[each.step.note], each.part.charges[0], each.usage)
            mask = self._settle(each, passing)
            if each.row:
                self._write(each, mask)

    def _since(self, each: Stepped) -> tuple[int, ...]:
        profile = self.core.columns.profile[each.slot]
        return profile.since if profile else ()

    def _passing(self, each: Stepped) -> int:
        """
        Return the mask of charges that are active and whose gates hold.
        """
        mask = 0
        for place, charge, since in zip(each.part.indexes, each.part.charges, self._since(each), strict=True):
            alive = active(charge, since, each.usage, cumulative=each.kind is Kind.CUMULATIVE)
            if alive and (not charge.gated or gates(self.decision, place)[0]):
                mask |= 1 << place
        return mask

    def _settle(self, each: Stepped, passing: int) -> int:
        """
        Settle the claims on one track; return the mask of those that make a record, by their place in the meter.
        """
        outcome = each.step.outcome
        charges = each.part.charges
        if outcome is Outcome.USAGE:
            return self._settle_usage(each, passing)
        if outcome is Outcome.DUPLICATE:
            self.claims.duplicate += len(charges)
        elif outcome is Outcome.NO_USAGE:
            self.claims.no_usage += len(charges)
        else:
            for charge in charges:
                self._hold(each.step.reason or Reason.CONFLICT, charge, each)
        return 0

    def _settle_usage(self, each: Stepped, passing: int) -> int:
        mask = 0
        since = self._since(each)
        for local, (place, charge) in enumerate(zip(each.part.indexes, each.part.charges, strict=True)):
            if not active(charge, since[local], each.usage, cumulative=each.kind is Kind.CUMULATIVE):
                self._before_activation(charge, since[local], each.usage)
                continue
            answer = verdict_on(charge, each.usage, passing, place, self.decision)
            if answer is not False and self.doubtful and not charge.explicit:
                answer = Reason.TYPE_UNKNOWN
            if answer is True:
                record(self.core, self.claims, charge, each.usage)
                mask |= 1 << local
            elif answer is False:
                self.claims.no_usage += 1
            else:
                self._hold(answer, charge, each)
        return mask

    def _before_activation(self, charge: Charge, since: int, usage: Usage) -> None:
        self.claims.no_usage += 1
        if usage.amount:
            note(self.core, "before_activation", charge, usage, since=since)

    def _hold(self, reason: Reason, charge: Charge, each: Stepped) -> None:
        self.claims.quarantined += 1
        hold(
            self.core, self.call, reason, charge=charge, usage=each.usage, record_id=self._record_id(charge.rule, each)
        )

    def _record_id(self, rule: str, each: Stepped) -> bytes:
        usage = each.usage
        if each.kind is Kind.INSTANT:
            window = record_ids.instant_window(usage.time, usage.amount, usage.k, usage.point)
        elif each.kind is Kind.DELTA:
            window = record_ids.delta_window(usage.start, usage.time)
        else:
            window = record_ids.cumulative_window(self.point.start, usage.start, usage.time)
        return record_ids.record_id(rule, usage.identity, window)

    def _write(self, each: Stepped, mask: int) -> None:
        """
        Write the row: what is recorded, and the state after it.
        """
        core, call = self.core, self.call
        frame = core.opened(call.received_at)
        meter = meter_of(core, each.slot, self.point.start if each.kind is Kind.CUMULATIVE else 0, each.kind)
        state = b"" if each.kind is Kind.INSTANT else encode_state(core, each.slot)
        source = frame.source(call.source.receiver, call.source.principal)
        usage = each.usage
        position = (frame.narrow, frame.wide)
        amount = usage.amount if mask else 0
        frame.slow.append(
            SlowRow(
                position, meter, source, usage.start, usage.time, amount, usage.k, each.kind, mask, state, usage.point
            )
        )
