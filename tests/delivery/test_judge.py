"""
What a receipt makes of a batch.
"""

from collections import Counter
from itertools import count

from hypothesis import given
from hypothesis import strategies as st

from meterline.api import DeliveryContract, Outcome, Receipt, RetryOptions, Verdict
from meterline.api.receipt import rejected_all, unknown_all
from meterline.delivery.batch import Part, StoredBatch, ordinals_of
from meterline.delivery.judge import Again, Case, Decision, Policy, Settled
from meterline.ledger.deliveries import BatchRow, Position
from meterline.testing.rig import RigRecords, usage

NOW = 10**18
OUTCOMES = st.builds(
    Outcome, st.sampled_from(list(Verdict)), st.sampled_from(["", "why"]), st.none() | st.floats(0, 100), st.booleans()
)
RECEIPTS = st.builds(
    Receipt, OUTCOMES, st.dictionaries(st.integers(0, 9), OUTCOMES, max_size=10), st.none() | st.just(b"c")
)
CONTRACTS = st.builds(
    DeliveryContract,
    dedupe_key=st.none() | st.just("id"),
    dedupe_window_secs=st.none() | st.sampled_from([1.0, 3_600.0]),
    never_unknown=st.booleans(),
    on_unknown=st.sampled_from(["resend", "hold"]),
    per_record_results=st.booleans(),
)


def _batch(unanswered: int = 0, attempt: int = 1, formed_at: int = NOW) -> StoredBatch:
    parts = [Part(3, 33, RigRecords([usage(n) for n in range(8)]), [1, 3, 5, 7])]
    parts.append(Part(4, 44, RigRecords([usage(n) for n in range(8, 14)]), range(6)))
    ends = (Position(3, 1), Position(4, 5))
    return StoredBatch("l/x", BatchRow(7, *ends, "{}", None, 10, attempt, 1, unanswered, 0, formed_at, 33), parts)


def _decide(batch: StoredBatch, receipt: Receipt, contract: DeliveryContract) -> Decision:
    numbers = count(8)
    policy = Policy.of(contract, None, RetryOptions())
    return Case(batch, receipt, policy, NOW, 0.5, lambda: next(numbers)).decide()


def _positions(row: BatchRow) -> list[Position]:
    assert row.ordinals is not None
    return [Position(seq, ordinal) for seq, ordinals in ordinals_of(row.ordinals) for ordinal in ordinals]


@given(RECEIPTS, CONTRACTS, st.integers(0, 1), st.sampled_from([NOW, NOW - 10 * 10**9]))
def test_every_record_has_exactly_one_fate(
    receipt: Receipt, contract: DeliveryContract, unanswered: int, formed_at: int
) -> None:
    """
    The batch = delivered + held + dead + what is sent again; nothing is in two places; dead and held keep their content.
    """
    batch = _batch(unanswered, formed_at=formed_at)
    decision = _decide(batch, receipt, contract)
    if isinstance(decision, Again):
        assert (decision.row.number, decision.row.count, decision.row.sending) == (7, 10, 0)
        assert decision.row.next_at > NOW
        return
    settled = decision.settlement
    again = [position for row in settled.rest for position in _positions(row)]
    assert settled.delivered + settled.held + settled.dead + len(again) == 10
    states = Counter(row.state for row in settled.outcomes)
    assert (states["held"], states["dead"]) == (settled.held, settled.dead)
    final = [row.position for row in settled.outcomes if row.state != "pending"]
    assert len(set(final) | set(again)) == len(final) + len(again)
    assert all(row.record and row.record_id in row.record for row in settled.outcomes if row.state in {"held", "dead"})
    assert {row.number for row in settled.rest} == set(range(8, 8 + len(settled.rest)))
    assert {row.batch for row in settled.outcomes if row.state == "pending"} <= {row.number for row in settled.rest}
    if contract.never_unknown:
        assert settled.held == 0


@given(RECEIPTS, CONTRACTS)
def test_what_had_no_answer_is_listed_or_held(receipt: Receipt, contract: DeliveryContract) -> None:
    """
    Except at a sink that cuts back, each UNKNOWN record is listed before it is sent again, or held for a person.
    """
    batch = _batch()
    decision = _decide(batch, receipt, contract)
    unknown = {
        Position(part.seq, ordinal)
        for place, (part, ordinal) in enumerate(batch.places())
        if receipt.of(place).verdict is Verdict.UNKNOWN
    }
    rows = decision.listed if isinstance(decision, Again) else decision.settlement.outcomes
    assert {row.position for row in rows if row.unanswered} == (set() if contract.never_unknown else unknown)


def test_a_window_that_is_over_holds() -> None:
    """
    A backend that dedupes for an hour is sent nothing twice after it.
    """
    contract = DeliveryContract(dedupe_key="key", dedupe_window_secs=3_600)
    inside, outside = NOW - 3_599 * 10**9, NOW - 3_600 * 10**9
    assert isinstance(_decide(_batch(formed_at=inside), unknown_all("?"), contract), Again)
    late = _decide(_batch(formed_at=outside), unknown_all("?"), contract)
    assert isinstance(late, Settled)
    assert late.settlement.held == 10


def test_hold_is_heard_whatever_on_unknown_says() -> None:
    """
    An outcome that asks for a person gets one.
    """
    decision = _decide(_batch(), unknown_all("which?", hold=True), DeliveryContract(on_unknown="resend"))
    assert isinstance(decision, Settled)
    assert decision.settlement.held == 10


def test_a_refused_batch_is_split_until_the_bad_record_is_alone() -> None:
    """
    Where the backend answers for the whole, one bad record never costs its neighbours.
    """
    decision = _decide(_batch(unanswered=1), rejected_all("bad"), DeliveryContract(per_record_results=False))
    assert isinstance(decision, Settled)
    first, second = decision.settlement.rest
    assert (first.count, second.count) == (5, 5)
    assert _positions(first) + _positions(second) == [Position(p.seq, o) for p, o in _batch().places()]
    assert (first.since, second.since) == (33, 44)


def test_a_rest_keeps_its_own_list() -> None:
    """
    Records that were sent without an answer before stay listed under the batch that carries them on; the others are closed.
    """
    exceptions = {0: Outcome(Verdict.RETRY, "later")}
    decision = _decide(_batch(unanswered=1), Receipt(exceptions=exceptions), DeliveryContract(per_record_results=True))
    assert isinstance(decision, Settled)
    assert decision.listed_before
    assert [(row.position, row.batch, row.unanswered) for row in decision.settlement.outcomes] == [
        (Position(3, 1), 8, 0)
    ]
