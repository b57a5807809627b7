"""
What a receipt makes of a batch: pure, so that every case can be tried without a clock, a thread or a ledger.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Final, Literal, NamedTuple, TypeAlias

from meterline.api import DeliveryContract, Outcome, Receipt, RetryOptions, Verdict
from meterline.delivery.batch import Part, StoredBatch, ordinals_text
from meterline.delivery.plan import Found
from meterline.delivery.schedule import NANOS, next_delay
from meterline.ledger.deliveries import BatchRow, OutcomeRow, Position, Settlement

Fate: TypeAlias = Literal["delivered", "dead", "held", "retry", "unanswered"]
Place: TypeAlias = tuple[Part, int]

_SETTLED: Final[dict[Verdict, Fate]] = {
    Verdict.DELIVERED: "delivered",
    Verdict.DUPLICATE: "delivered",
    Verdict.CONFLICT: "dead",
    Verdict.REJECTED: "dead",
}
_AGAIN: Final = frozenset({"retry", "unanswered"})


@dataclass(frozen=True, slots=True)
class Policy:
    """
    What an exporter's contract and config say of outcomes that are not plain.
    """

    on_unknown: Literal["resend", "hold"]
    never_unknown: bool
    window_ns: int | None
    splits: bool
    retry: RetryOptions

    @staticmethod
    def of(contract: DeliveryContract, on_unknown: Literal["resend", "hold"] | None, retry: RetryOptions) -> "Policy":
        """
        Join them. A key with a window: what had no answer is sent again inside the window only.
        """
        window = contract.dedupe_window_secs if contract.dedupe_key is not None else None
        return Policy(
            on_unknown=on_unknown or contract.on_unknown,
            never_unknown=contract.never_unknown,
            window_ns=None if window is None else int(window * NANOS),
            splits=not contract.per_record_results,
            retry=retry,
        )

    def resends(self, row: BatchRow, now_ns: int) -> bool:
        """
        Say whether records without an answer may be sent again now.
        """
        if self.never_unknown:
            return True
        return self.on_unknown == "resend" and (self.window_ns is None or now_ns - row.formed_at < self.window_ns)


class Again(NamedTuple):
    """
    Nothing of the batch is settled: the same one, under the same number, at ``row.next_at``. ``listed``: may be there already.
    """

    row: BatchRow
    listed: Sequence[OutcomeRow] = ()


class Settled(NamedTuple):
    """
    The batch is over. ``listed_before``: an earlier send of it had no answer.
    """

    settlement: Settlement
    listed_before: bool = False


Decision: TypeAlias = Again | Settled


@dataclass(frozen=True)
class Case:
    """
    One receipt for one batch. ``jitter`` in [0, 1); ``number`` gives new batch numbers.
    """

    batch: StoredBatch
    receipt: Receipt
    policy: Policy
    now_ns: int
    jitter: float
    number: Callable[[], int]

    def decide(self) -> Decision:
        """
        Return what is to be stored for this receipt.
        """
        batch, receipt = self.batch, self.receipt
        if not receipt.exceptions and receipt.default.verdict is Verdict.DELIVERED:
            done = Settlement(batch.number, delivered=len(batch), checkpoint=receipt.checkpoint)
            return Settled(done, batch.row.unanswered > 0)
        if self._must_split():
            return self._halves()
        return self._again() if all(fate in _AGAIN for fate in self._fates) else self._settle()

    @cached_property
    def _places(self) -> list[Place]:
        return list(self.batch.places())

    @cached_property
    def _fates(self) -> list[Fate]:
        return [self._fate(self.receipt.of(position)) for position in range(len(self.batch))]

    def _fate(self, outcome: Outcome) -> Fate:
        settled = _SETTLED.get(outcome.verdict)
        if settled is not None:
            return settled
        if outcome.verdict is Verdict.RETRY or self.policy.never_unknown:
            return "retry"
        return "unanswered" if not outcome.hold and self.policy.resends(self.batch.row, self.now_ns) else "held"

    def _must_split(self) -> bool:
        """
        One bad record may have cost its neighbours, where the backend answers for a batch as a whole.
        """
        refused = self.receipt.default.verdict is Verdict.REJECTED and not self.receipt.exceptions
        return refused and self.policy.splits and len(self.batch) > 1

    def _halves(self) -> Settled:
        middle = len(self.batch) // 2
        reason = f"split: {self.receipt.default.reason}"
        halves = [range(middle), range(middle, len(self.batch))]
        rest = [self._rest(half, 0.0, reason, unanswered=0) for half in halves]
        listed = [row for half, to in zip(halves, rest, strict=True) for row in self._listed(half, to.number)]
        return Settled(Settlement(self.batch.number, outcomes=listed, rest=rest), self.batch.row.unanswered > 0)

    def _again(self) -> Again:
        everyone = range(len(self.batch))
        delay = self._delay(everyone)
        row = replace(
            self.batch.row,
            sending=0,
            next_at=self.now_ns + int(delay * NANOS),
            unanswered=self.batch.row.unanswered + int("unanswered" in self._fates),
            reason=self.receipt.of(0).reason,
        )
        doubtful = [position for position in everyone if self._fates[position] == "unanswered"]
        return Again(row, self._listed(doubtful, row.number))

    def _settle(self) -> Settled:
        again = [position for position, fate in enumerate(self._fates) if fate in _AGAIN]
        final = [
            self._final(position, fate)
            for position, fate in enumerate(self._fates)
            if fate in {"dead", "held"} or self.receipt.of(position).verdict is Verdict.DUPLICATE
        ]
        rest: list[BatchRow] = []
        if again:
            unanswered = int("unanswered" in self._fates)
            rest = [self._rest(again, self._delay(again), self.receipt.of(again[0]).reason, unanswered=unanswered)]
            doubtful = [i for i in again if self._fates[i] == "unanswered" or self.batch.row.unanswered]
            final += self._listed(doubtful, rest[0].number)
        counts = {state: self._fates.count(state) for state in ("delivered", "held", "dead")}
        settlement = Settlement(
            self.batch.number, **counts, outcomes=final, rest=rest, checkpoint=self.receipt.checkpoint
        )
        return Settled(settlement, self.batch.row.unanswered > 0)

    def _delay(self, positions: Sequence[int]) -> float:
        asked = [self.receipt.of(position).retry_after_secs or 0.0 for position in positions]
        return next_delay(self.batch.row.attempt, self.policy.retry, max(asked, default=0.0), self.jitter)

    def _rest(self, positions: Sequence[int], delay: float, reason: str, *, unanswered: int) -> BatchRow:
        places = [self._places[position] for position in positions]
        return replace(
            part_of(self.batch.row, places, self.number()),
            unanswered=self.batch.row.unanswered + unanswered,
            next_at=self.now_ns + int(delay * NANOS),
            reason=reason,
        )

    def _listed(self, positions: Sequence[int], number: int) -> list[OutcomeRow]:
        """
        List records that were sent without an answer, now or before, under the batch that carries them next.
        """
        rows = []
        for position in positions:
            part, ordinal = self._places[position]
            unanswered = int(self._fates[position] == "unanswered")
            if not unanswered and not self.batch.row.unanswered:
                continue
            reason = self.receipt.of(position).reason
            record_id = part.records.record(ordinal).id
            place = Position(part.seq, ordinal)
            rows.append(OutcomeRow(place, "pending", reason, self.now_ns, number, record_id, unanswered=unanswered))
        return rows

    def _final(self, position: int, fate: Fate) -> OutcomeRow:
        part, ordinal = self._places[position]
        outcome = self.receipt.of(position)
        kept = fate in {"dead", "held"}
        return OutcomeRow(
            position=Position(part.seq, ordinal),
            state="held" if fate == "held" else "dead" if fate == "dead" else "delivered",
            reason=f"{outcome.verdict.value}: {outcome.reason}" if outcome.reason else outcome.verdict.value,
            at=self.now_ns,
            batch=self.batch.number,
            record_id=part.records.record(ordinal).id,
            unanswered=int(outcome.verdict is Verdict.UNKNOWN),
            record=part.records.encode("ndjson", [ordinal]).decode().rstrip("\n") if kept else None,
        )


def part_of(row: BatchRow, places: Sequence[Place], number: int) -> BatchRow:
    """
    Return a batch of some records of another one, waiting to be sent.
    """
    positions = [Position(part.seq, ordinal) for part, ordinal in places]
    return replace(
        row,
        number=number,
        first=positions[0],
        last=positions[-1],
        ordinals=ordinals_text(positions),
        count=len(positions),
        sending=0,
        since=min(part.committed_at for part, _ in places),
    )


def corrupted(row: BatchRow, found: Found, now_ns: int, number: Callable[[], int]) -> Settled:
    """
    Return what a corrupt frame makes of a stored batch: its records there are dead, the others another batch.
    """
    assert found.lost_at is not None  # noqa: S101 - the caller asked
    dead = OutcomeRow(found.lost_at, "dead", "frame_corrupt", now_ns, row.number, records=found.lost)
    places = [(part, ordinal) for part in found.parts for ordinal in part.ordinals]
    rest = [part_of(row, places, number())] if places else []
    return Settled(Settlement(row.number, dead=found.lost, outcomes=[dead], rest=rest))
