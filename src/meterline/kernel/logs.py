"""
Log records: stages 2 to 4 run claim by claim, and a record is told from its repeat by its identity (semantics.md 1, 2).
"""

import re
from collections import Counter
from collections.abc import Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Final, NamedTuple

from meterline.kernel import canonical, record_ids
from meterline.kernel.batch import LogBlock, LogRecord, PythonBatch
from meterline.kernel.canonical import BadValueError
from meterline.kernel.claims import Usage, active, gates, hold, record, verdict_on
from meterline.kernel.core import Call, Claims, Core
from meterline.kernel.framing import IdRow, LogRow
from meterline.kernel.groups import Group
from meterline.kernel.limits import record_refused
from meterline.kernel.plan import ContextEntry
from meterline.kernel.project import PointValues, projection
from meterline.kernel.raw import Place, is_open, quarantine_raw
from meterline.kernel.reasons import Reason
from meterline.kernel.seam import ABSENT, Bad, Charge, ContextVerdict, LogIdentity, PointView, Shape, Value
from meterline.kernel.steps.ids import Found
from meterline.kernel.validity import implausible
from meterline.quantity import amount_from_decimal, amount_from_double, amount_from_int

if TYPE_CHECKING:
    from meterline.kernel.table import Missing, Table

_NUMBER: Final = re.compile(r"[+-]?[0-9]{1,40}(\.[0-9]{1,40})?")


class LogClaim(NamedTuple):
    """
    A claim on a record, read: its quantity, and its identity (None: by its place in the request). ``reason``: refused raw.
    """

    charge: Charge
    amount: int
    identity: bytes | None
    reason: Reason | None


class Request(NamedTuple):
    """
    What applying needs to know of the whole request: its digest, and what gated charges were answered by point number.
    """

    digest: bytes
    decisions: Mapping[int, tuple[int, int]]


class LogPoint(NamedTuple):
    """
    A record, resolved: the verdict and its claims.
    """

    group: Group
    claims: tuple[LogClaim, ...]
    time: int
    record: LogRecord


def resolve_logs(
    table: "Table", batch: PythonBatch, block: LogBlock, verdict: ContextVerdict, missing: "Missing"
) -> None:
    """
    Find the verdict and read the claims of each record; leaves the block unresolved when something is missing.
    """
    points: list[object] = []
    seen: Counter[bytes] = Counter()
    for index, entry in enumerate(block.records):
        values = PointValues(entry.attributes, entry)
        group = _group(table, block.entry, verdict, values, missing)
        if group is None:
            continue
        points.append(
            LogPoint(group, _read(block.entry, entry, group, values, seen), entry.time or entry.observed, entry)
        )
        if group.gated and block.first + index not in batch.decisions:
            missing.points.append((block.first + index, _view(block.entry, entry, group, verdict, values)))
    if len(points) == block.n:
        block.claims = points
        block.bound = (table, 0)


def _group(
    table: "Table", entry: ContextEntry, verdict: ContextVerdict, values: PointValues, missing: "Missing"
) -> Group | None:
    if verdict.reject is not None:
        return table.refusal(verdict.gen, verdict.reject)
    return table.shape(entry, projection(verdict.fields, values), missing).group


def _view(entry: ContextEntry, rec: LogRecord, group: Group, verdict: ContextVerdict, values: PointValues) -> PointView:
    shape = Shape(entry.context(), projection(verdict.fields, values).values)
    first = next((charge.value for charge in group.charges if charge.value is not None), None)
    value = values.at(first) if first is not None else None
    reading = value if isinstance(value, int | float) and not isinstance(value, bool) else None
    return PointView(shape, group.charges, values.attributes, values.body, reading, None, rec.time or rec.observed, 0)


def _read(
    entry: ContextEntry, rec: LogRecord, group: Group, values: PointValues, seen: Counter[bytes]
) -> tuple[LogClaim, ...]:
    if group.reject is not None:
        return ()
    content = _content(entry, rec, group, seen)
    return tuple(_claim(charge, values, content) for charge in group.charges)


def _content(entry: ContextEntry, rec: LogRecord, group: Group, seen: Counter[bytes]) -> bytes | Reason | None:
    """
    Hash all that a record says; a reason when it cannot be read, None when no charge asks.
    """
    if all(charge.identity is not LogIdentity.CONTENT for charge in group.charges):
        return None
    failure = entry.failure
    if failure is not None:
        return failure
    try:
        body = b"n" if rec.body is None else canonical.canonical(canonical.any_value(rec.body, 0, len(rec.body)))
        said = b"".join(
            (
                entry.prefix(),
                (rec.time or rec.observed).to_bytes(8, "big"),
                canonical.put_text(canonical.text(rec.event_name)),
                body,
                canonical.canonical_attributes(rec.attributes),
            )
        )
    except BadValueError as error:
        return error.reason
    k = seen[said]
    seen[said] += 1
    return canonical.digest(said, k.to_bytes(8, "big"))


def _claim(charge: Charge, values: PointValues, content: bytes | Reason | None) -> LogClaim:
    identity = _identity(charge, values, content)
    amount = _amount(charge, values)
    reason = charge.raw or (identity if isinstance(identity, Reason) else None)
    if reason is None and isinstance(amount, Reason):
        reason = amount
    return LogClaim(
        charge,
        0 if isinstance(amount, Reason) else amount,
        None if isinstance(identity, Reason) else identity,
        reason,
    )


def _identity(charge: Charge, values: PointValues, content: bytes | Reason | None) -> bytes | Reason | None:
    """
    Return the identity of a claim; None when it is the place in the request.
    """
    if charge.identity is LogIdentity.NONE:
        return None
    if charge.identity is LogIdentity.CONTENT:
        return record_ids.content_identity(content) if isinstance(content, bytes) else content
    return _selected(charge, values)


def _selected(charge: Charge, values: PointValues) -> bytes | Reason:
    """
    Return the identity that an attribute gives; b"" when there is no customer and the rule says to ignore that.
    """
    value = values.at(charge.identity) if isinstance(charge.identity, tuple) else ABSENT
    if isinstance(value, Bad):
        return value.reason
    if value is ABSENT or value is None or value in ("", b"", [], {}):
        return Reason.MISSING_IDENTITY
    if charge.customer is None:
        return b"" if charge.ignore else Reason.MISSING_IDENTITY_CUSTOMER
    return record_ids.selected_identity(charge.customer, canonical.canonical(value))


def _amount(charge: Charge, values: PointValues) -> int | Reason:
    """
    Read the quantity of a claim: a number, or a text that is a plain decimal.
    """
    if charge.value is None:
        return charge.literal
    value = values.at(charge.value)
    if isinstance(value, Bad):
        return value.reason
    amount = _number(value)
    if isinstance(amount, int) and amount < 0 and not charge.allow_negative:
        return Reason.NEGATIVE_VALUE
    return amount


def _number(value: Value) -> int | Reason:
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal | str):
        return Reason.NOT_A_NUMBER
    if isinstance(value, str):
        if not _NUMBER.fullmatch(value):
            return Reason.NOT_A_NUMBER
        value = Decimal(value)
    if isinstance(value, float):
        if value != value or value in (float("inf"), float("-inf")):  # noqa: PLR0124 (a NaN)
            return Reason.NOT_A_NUMBER
        amount = amount_from_double(value)
    else:
        amount = amount_from_int(value) if isinstance(value, int) else amount_from_decimal(value)
    return Reason.OUT_OF_RANGE if amount is None else amount


# Applying


def needs_digest(block: LogBlock) -> bool:
    """
    Say whether a record of the block can be told from its repeat only by the digest of the request.
    """
    points: list[LogPoint] = block.claims or []  # type: ignore[assignment]  # resolved
    return any(charge.identity is LogIdentity.NONE for point in points for charge in point.group.charges)


def apply_record(core: Core, call: Call, block: LogBlock, index: int, request: Request) -> None:
    """
    Take one record through stages 2 to 4, claim by claim.
    """
    points: list[LogPoint] = block.claims or []  # type: ignore[assignment]  # resolved
    point = points[index]
    if point.group.unmatched:
        core.unmatched(call, 1)
        return
    taken = _RecordPass(core, call, (block, index, b""), point, request)
    taken.run()
    core.close_point(call, taken.claims)


class _RecordPass:
    """
    One matched record on its way through stages 2 to 4.
    """

    __slots__ = ("call", "claims", "core", "decision", "digest", "number", "passing", "place", "point")

    def __init__(self, core: Core, call: Call, place: Place, point: LogPoint, request: Request) -> None:
        self.core = core
        self.call = call
        self.place = place
        self.point = point
        self.number = place[0].first + place[1]
        self.digest = request.digest
        self.decision = request.decisions.get(self.number, (0, 0))
        self.claims = Claims()
        self.passing = self._passing()

    def _passing(self) -> int:
        """
        Return the mask of charges that are active and whose gates hold.
        """
        mask = 0
        for index, claim in enumerate(self.point.claims):
            alive = active(claim.charge, claim.charge.since, self._usage(claim), cumulative=False)
            if alive and claim.reason is None and (not claim.charge.gated or gates(self.decision, index)[0]):
                mask |= 1 << index
        return mask

    def _usage(self, claim: LogClaim) -> Usage:
        usage = Usage(claim.amount, 0, self.point.time, b"")
        usage.instant = True
        return usage

    def run(self) -> None:
        """
        Take the record as a whole first, then claim by claim.
        """
        group, time = self.point.group, self.point.time
        reason = group.reject or (Reason.TIME_MISSING if not time else implausible(self.call, time))
        if reason is None:
            reason = record_refused(self.call, self.place[0].entry, self.point.record)
        if is_open(self.core, self.call, self.place, ()):
            self.claims.duplicate = group.claims
        elif reason is None:
            for index, claim in enumerate(self.point.claims):
                self._claim(index, claim)
        elif quarantine_raw(self.core, self.call, self.place, reason, time=time, rule=group.rule):
            self.claims.quarantined = group.claims
        else:
            self.claims.duplicate = group.claims

    def _claim(self, index: int, claim: LogClaim) -> None:
        reason = claim.reason
        customer = claim.charge.customer
        if reason is None and customer is not None and not self.call.source.may(customer):
            reason = Reason.FORBIDDEN_CUSTOMER
        if reason is not None:
            self._refuse(claim, reason)
        elif is_open(self.core, self.call, self.place, (claim.charge.rule,)):
            self.claims.duplicate += 1
        elif claim.identity == b"":  # without customer, and the rule says to ignore it
            self.claims.no_usage += 1
        else:
            self._stage3(index, claim)

    def _refuse(self, claim: LogClaim, reason: Reason) -> None:
        opened = quarantine_raw(
            self.core, self.call, self.place, reason, time=self.point.time, rule=claim.charge.rule, of_rule=True
        )
        self.claims.quarantined += opened
        self.claims.duplicate += not opened

    def _stage3(self, index: int, claim: LogClaim) -> None:
        """
        Tell the record from its repeat; one without identity of its own is told by the digest of its request.
        """
        found = Found.NEW
        if claim.identity is None:
            key = record_ids.record_id(claim.charge.rule, record_ids.positional_identity(self.digest, self.number))
        else:
            key = record_ids.record_id(claim.charge.rule, claim.identity)
            received = self.core.opened(self.call.received_at).received_at
            found = self.core.ids.add(key, claim.amount, self.point.time, received)
        if found is Found.DUPLICATE:
            self.claims.duplicate += 1
        elif found is Found.BEYOND:
            self._refuse(claim, Reason.BEYOND_DEDUPE_HORIZON)
        else:
            self._stage4(index, claim, key, conflict=found is Found.CONFLICT)

    def _stage4(self, index: int, claim: LogClaim, key: bytes, *, conflict: bool) -> None:
        frame = self.core.opened(self.call.received_at)
        charge, usage = claim.charge, self._usage(claim)
        answer: Reason | bool = Reason.CONFLICT
        if not conflict:
            answer = active(charge, charge.since, usage, cumulative=False)
            answer = answer and verdict_on(charge, usage, self.passing, index, self.decision)
        if answer is True:
            record(self.core, self.claims, charge, usage)
            source = frame.source(self.call.source.receiver, self.call.source.principal)
            place = frame.charge(self.point.group.encoded(index))
            frame.logs.append(LogRow(key, place, source, usage.time, usage.amount, claim.identity is not None))
            return
        if claim.identity is not None:
            frame.ids.append(IdRow(*self.core.ids.added))
        if answer is False:
            self.claims.no_usage += 1
        else:
            self.claims.quarantined += 1
            hold(self.core, self.call, answer, charge=charge, usage=usage, record_id=key)
