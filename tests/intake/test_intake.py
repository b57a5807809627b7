"""
The writer's promises over a scripted kernel and ledger: what is answered is stored, and nothing else is.
"""

from concurrent.futures import CancelledError
from typing import Any

import pytest

from meterline.api.receiver import Principal, Status
from meterline.errors import FatalError, LedgerFullError, RetryableError


def test_answers_after_the_commit(bench: Any) -> None:
    """A stored answer comes only after its frame was committed."""
    bench.intake.start()

    with bench.stuck("3") as ticket:
        assert ticket.wait(0.2) is None

    answer = ticket.wait(20)
    assert (answer.status, answer.points, bench.ledger.bodies()) == (Status.STORED, 3, ["3"])


def test_many_senders_share_a_commit(bench: Any) -> None:
    """Bodies that wait while a commit runs become one frame."""
    bench.intake.start()
    with bench.stuck("1") as first:
        tickets = [first, *(bench.send(str(i)) for i in range(2, 12))]

    assert [ticket.wait(20).points for ticket in tickets] == list(range(1, 12))
    assert len([group for group in bench.ledger.groups if group.frame]) == 2


def test_failed_commit_is_undone_and_refused(bench: Any) -> None:
    """After a failed commit the meter is back at the ledger's state, and the same body passes later."""
    failures = [RetryableError("committing: disk is slow")]
    bench.ledger.fail = lambda group: (_ for _ in ()).throw(failures.pop()) if failures and group.frame else None
    bench.intake.start()

    refused = bench.ask("5")
    stored = bench.ask("5")

    assert (refused.status, stored.status) == (Status.RETRY, Status.STORED)
    assert refused.retry_after_secs > 0
    assert (bench.meter.total, bench.ledger.bodies()) == (5, ["5"])


def test_jobs_pass_when_the_disk_is_full(bench: Any) -> None:
    """A group that meets a full disk refuses its bodies and commits its jobs alone, from the reserve."""

    def full(group: Any) -> None:
        if group.frame:
            raise LedgerFullError("committing: no space left")

    bench.ledger.fail = full
    bench.ledger.room = False
    bench.intake.start()

    refused = bench.ask("5")
    future = bench.intake.transact(lambda transaction: "moved")

    assert (refused.status, future.result(20)) == (Status.RETRY, "moved")
    assert not bench.intake.ready
    assert bench.ask("6").status is Status.RETRY
    bench.ledger.fail, bench.ledger.room = (lambda group: None), True
    bench.intake.transact(lambda transaction: None).result(20)
    assert (bench.ask("7").status, bench.ledger.bodies()) == (Status.STORED, ["7"])


def test_failed_fsync_stops(bench: Any) -> None:
    """A failed fsync is never retried: the sender is refused, the gateway is told, and nothing is accepted any more."""

    def fail(group: Any) -> None:
        raise FatalError("committing: fsync failed")

    bench.ledger.fail = fail
    bench.intake.start()

    assert bench.ask("1").status is Status.RETRY
    bench.writer.join(20)
    assert [type(error) for error in bench.fatal] == [FatalError]
    with pytest.raises(CancelledError):
        bench.intake.transact(lambda transaction: None).result(20)


def test_poison_is_quarantined_at_the_third_time(bench: Any) -> None:
    """An unexpected exception refuses twice, then quarantines the body, and never harms its neighbours."""
    bench.intake.start()
    with bench.stuck("9") as first:
        neighbours = [bench.send("2"), bench.send("poison"), bench.send("3")]

    assert first.wait(20).status is Status.STORED
    assert [ticket.wait(20).status for ticket in neighbours] == [Status.STORED, Status.RETRY, Status.STORED]
    assert bench.ask("poison").status is Status.RETRY
    third = bench.ask("poison")
    assert (third.status, third.rejected) == (Status.STORED, 1)
    assert [call for call in bench.meter.calls if "quarantine" in call] == [
        "quarantine poison: ZeroDivisionError: planted"
    ]
    assert (bench.meter.total, bench.ledger.bodies()) == (14, ["9", "2", "3", "quarantined"])


def test_a_repeat_gets_the_first_answer(bench: Any) -> None:
    """A byte-identical repeat is told again how many of its points are in quarantine."""
    bench.intake.start()

    answer = bench.ask("again")

    assert (answer.status, answer.points, answer.rejected) == (Status.STORED, 4, 2)
    assert answer.message == "2 in quarantine (as answered before)"


def test_undecodable_is_refused_for_good(bench: Any) -> None:
    """A body with a broken structure gets its own answer and leaves nothing behind."""
    bench.intake.start()

    assert bench.ask("broken").status is Status.UNDECODABLE
    assert bench.ledger.bodies() == []


def test_unknown_is_learned_beside_the_writer(bench: Any) -> None:
    """A batch with unknown contexts is applied after the rules were asked."""
    bench.intake.start()

    assert bench.ask("new").status is Status.STORED
    assert bench.meter.known == {"new"}


def test_failing_rules_refuse(bench: Any) -> None:
    """Rules that raise refuse the body retryably; it passes when they have recovered."""
    bench.rules.fail = 1
    bench.intake.start()

    assert [bench.ask("new").status, bench.ask("new").status] == [Status.RETRY, Status.STORED]


def test_admission(bench: Any) -> None:
    """The in-flight budget admits one body of any size when idle, and refuses what comes on top of it."""
    assert bench.intake.reserve(150)
    assert not bench.intake.reserve(1)
    bench.intake.release(150)
    assert bench.intake.reserve(60)
    assert bench.intake.reserve(40)
    assert not bench.intake.reserve(1)


def test_quota_refuses_its_principal_alone(bench: Any) -> None:
    """A principal over its quarantine quota is refused retryably; others are not."""
    bench.ledger.quota = {"noisy"}
    bench.intake.start()

    assert bench.ask("1", Principal("noisy")).status is Status.RETRY
    assert bench.ask("1", Principal("quiet")).status is Status.STORED


def test_over_the_limit_refuses_bodies_alone(bench: Any) -> None:
    """The ledger's size limit binds intake only."""
    bench.ledger.over_limit = True
    bench.intake.start()

    assert bench.ask("1").status is Status.RETRY
    assert bench.intake.transact(lambda transaction: 7).result(20) == 7


def test_a_job_fails_alone(bench: Any) -> None:
    """A job's exception is its own future's."""
    bench.intake.start()

    bad = bench.intake.transact(lambda transaction: 1 / 0)
    good = bench.intake.transact(lambda transaction: "fine")

    assert isinstance(bad.exception(20), ZeroDivisionError)
    assert good.result(20) == "fine"


def test_stop_answers_everything(bench: Any) -> None:
    """What was submitted before the stop is stored and answered; what comes after is refused retryably."""
    bench.intake.start()
    tickets = [bench.send("1") for _ in range(50)] + [bench.send("new")]

    bench.intake.stop(20)

    assert {ticket.wait(0).status for ticket in tickets} == {Status.STORED}
    assert bench.ask("1").status is Status.RETRY
    assert len(bench.ledger.bodies()) == 51


def test_what_a_receiver_remembers_goes_with_its_body(bench: Any) -> None:
    """A receiver's state is in the group of its body; it is refused with it, and never stored for an undecodable one."""
    failures = [RetryableError("committing: disk is slow")]
    bench.ledger.fail = lambda group: (_ for _ in ()).throw(failures.pop()) if failures and group.frame else None
    bench.intake.start()

    assert bench.ask("5", remember={"cursor": b"1"}).status is Status.RETRY
    assert bench.ask("5", remember={"cursor": b"2"}).status is Status.STORED
    assert bench.ask("broken", remember={"cursor": b"3"}).status is Status.UNDECODABLE

    stored = [(group.remembered, group.frame.body) for group in bench.ledger.groups if group.remembered]
    assert stored == [({("otlp", "cursor"): b"2"}, b"5")]
