"""
Stage 4: what becomes of each claim once the stream's step has given a quantity and its window (semantics.md 1).
"""

from meterline.kernel.core import Call, Claims, Core
from meterline.kernel.framing import QuarantineRow, encode_charge
from meterline.kernel.reasons import Reason
from meterline.kernel.seam import Charge
from meterline.kernel.tallies import HOUR
from meterline.quantity import QUANTITY_LIMIT, format_units


class Usage:
    """
    A quantity that a step gave, in 10^-18, and where it stands in time. ``start`` 0 with ``instant``: no window.

    ``point``: the identity that an instant has of its own, or b"".
    """

    __slots__ = ("amount", "identity", "instant", "k", "point", "start", "time")

    def __init__(self, amount: int, start: int, time: int, identity: bytes) -> None:
        self.amount = amount
        self.start = start
        self.time = time
        self.identity = identity
        self.instant = False
        self.k = 0
        self.point = b""

    @property
    def hour(self) -> int:
        """
        Return the hour of the totals: of the window's last nanosecond, or of the instant.
        """
        return (self.time if self.instant else self.time - 1) // HOUR * HOUR


def active(charge: Charge, since: int, usage: Usage, *, cumulative: bool) -> bool:
    """
    Say whether a charge counted already when the window began (cumulative), or at the point's time (if it was written).
    """
    if cumulative:
        return usage.start >= since
    return not charge.active_from or usage.time > since


def gates(mask: tuple[int, int], index: int) -> tuple[bool, bool]:
    """
    Return (holds, erred) of a gated charge.
    """
    return bool(mask[0] >> index & 1), bool(mask[1] >> index & 1)


def verdict_on(charge: Charge, usage: Usage, passing: int, index: int, decision: tuple[int, int]) -> Reason | bool:
    """
    Decide one active claim: True makes a record, False no usage, a reason a ``claim`` entry.

    ``passing``: mask of the point's charges that are active and whose gates hold.
    """
    if charge.gated and gates(decision, index)[1]:
        return Reason.RULE_ERROR
    if not passing >> index & 1 or not usage.amount or charge.ignore:
        return False
    if charge.failure is not None:
        return charge.failure
    if charge.rivals & passing & ~(1 << index):
        return Reason.AMBIGUOUS_RULES
    return _unnamed(charge) or _too_large(charge, usage) or True


def _unnamed(charge: Charge) -> Reason | None:
    if charge.customer is None:
        return Reason.MISSING_CUSTOMER
    return Reason.MISSING_DIMENSION if charge.dimension is None else None


def _too_large(charge: Charge, usage: Usage) -> Reason | None:
    fits = -QUANTITY_LIMIT < usage.amount * charge.factor < QUANTITY_LIMIT
    return None if fits else Reason.RECORD_OUT_OF_RANGE


def record(core: Core, claims: Claims, charge: Charge, usage: Usage) -> None:
    """
    Count a record that a slow row or a log row makes.
    """
    claims.records += 1
    cell = (charge.customer or "", charge.dimension or "", usage.hour, usage.amount * charge.factor)
    core.tallies.record(*cell)
    core.opened().ops.append((_undo_record, *cell))


def _undo_record(core: Core, customer: str, dimension: str, hour: int, value: int) -> None:
    core.tallies.record(customer, dimension, hour, -value, -1)


def hold(core: Core, call: Call, reason: Reason, *, charge: Charge, usage: Usage, record_id: bytes) -> None:
    """
    Quarantine one claim with its quantity, its window and the id that its record would have.
    """
    frame = core.opened(call.received_at)
    row = QuarantineRow(
        kind=reason.kind,
        reason=reason,
        rule=charge.rule,
        stream=usage.identity,
        source=frame.source(call.source.receiver, call.source.principal),
        received_at=call.received_at,
        start=usage.start,
        time=usage.time,
        k=usage.k,
        quantity=usage.amount,
        record_id=record_id,
        key=b"",
        detail=f"{format_units(usage.amount, 18)} for {charge.customer or '?'} / {charge.dimension or '?'}",
        charge=frame.charge(encode_charge(charge)),
        format="",
        payload=b"",
    )
    frame.hold(row, call.source.receiver, call.source.principal)
    call.reasons[reason] = call.reasons.get(reason, 0) + 1


def note(core: Core, kind: str, charge: Charge | None, usage: Usage, **more: object) -> None:
    """
    Write an event about a quantity that no record has.
    """
    detail = {"quantity": format_units(usage.amount, 18), "start": usage.start, "time": usage.time, **more}
    core.opened().event(kind, charge, usage.identity, detail)
