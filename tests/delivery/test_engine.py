"""
Delivery over a real ledger: start, order, retries, unknown outcomes, pauses, stop.
"""

import json
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from meterline.api import (
    Batch,
    DeliveryContract,
    NotConnectedError,
    Only,
    Outcome,
    PausedError,
    Receipt,
    RetryableError,
    Verdict,
)
from meterline.api.receipt import rejected_all, retry_all, unknown_all
from meterline.errors import ConfigurationError, LedgerFullError
from meterline.ledger import deliveries
from meterline.testing.process import wait_until
from meterline.testing.rig import Rig, usage

Make = Callable[..., Any]
"""The fixture ``make``: a scripted exporter by its name, contract and config."""

KEYED = DeliveryContract(dedupe_key="id", per_record_results=True)
CAREFUL = DeliveryContract(on_unknown="hold", per_record_results=True)
FOR_EVER_SECS = 1000.0
"""A grace that no test lives to see the end of."""
CUTTING = DeliveryContract(never_unknown=True, per_record_results=True)


def wait(condition: Callable[[], object], secs: float = 20.0) -> None:
    """
    Poll until it holds.
    """
    wait_until(condition, secs, "what the test expects", every_secs=0.005)


def some(first: int, count: int) -> list[object]:
    """
    Return records by number.
    """
    return [usage(number) for number in range(first, first + count)]


def hang(release: threading.Event) -> Callable[[Batch], Receipt]:
    """
    Answer only once released.
    """

    def send(_batch: Batch) -> Receipt:
        release.wait(30)
        return Receipt()

    return send


def failing(times: int, answer: Receipt | Exception) -> Callable[[Batch], Receipt]:
    """
    Answer so for the first sends, then deliver.
    """
    left = [answer] * times

    def send(_batch: Batch) -> Receipt:
        found = left.pop() if left else Receipt()
        if isinstance(found, Exception):
            raise found
        return found

    return send


def test_records_arrive_in_ledger_order_in_batches_of_the_size_asked_for(rig: Rig, make: Make) -> None:
    """
    Batches cross frames, keep the order, have numbers without holes and ids that are unique for ever.
    """
    exporter = make(batch={"max_records": 7, "max_wait_secs": 0.02})
    for first in range(0, 60, 5):
        rig.append(some(first, 5))
    rig.start(exporter)
    rig.wait_delivered()
    assert [id_ for sent in exporter.sent for id_ in sent.ids] == [record.id for record in rig.created]
    assert [sent.number for sent in exporter.sent] == list(range(1, len(exporter.sent) + 1))
    assert max(len(sent.ids) for sent in exporter.sent) == 7
    assert exporter.sent[0].id == f"{rig.id}/x/1"


def test_a_new_name_in_a_used_ledger_must_say_where_to_begin(rig: Rig, make: Make) -> None:
    """
    Without ``start`` the process refuses to run, and says what to write; in an empty ledger it need not be said.
    """
    rig.start(make("first", start=None))
    rig.append(some(0, 3))
    rig.wait_delivered()
    rig.restart()
    with pytest.raises(ConfigurationError, match=r"'second'.*`start: now`.*exporters.second.*'first' - was it renamed"):
        rig.start(make("second", start=None))
    rig.start(make("first", start=None))


def test_start_now_and_start_at_a_time(rig: Rig, make: Make) -> None:
    """
    ``now`` begins after the last frame, a time at the first frame committed at or after it.
    """
    rig.append(some(0, 3))
    middle = time.time_ns()
    rig.append(some(3, 4))
    moment = f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(middle // 10**9))}.{middle % 10**9 // 1000:06d}Z"
    now, at = make("now", start="now"), make("at", start=moment)
    rig.start(now, at)
    rig.append(some(7, 1))
    states = rig.wait_until(lambda states: states["now"].row.delivered == 1 and states["at"].row.delivered == 5)
    assert (states["now"].created, states["at"].created) == (1, 5)


@pytest.mark.parametrize("text", ["yesterday", "2026-11-22T00:00:00", ""])
def test_a_start_that_cannot_be_read_is_refused_by_the_config(text: str, make: Make) -> None:
    """
    A time without an offset, or a word that is none of the two, is an error with an example.
    """
    with pytest.raises(ValueError, match="RFC 3339"):
        make(start=text)


def test_unused_cursors_keep_their_frames_until_they_are_forgotten(rig: Rig, make: Make) -> None:
    """
    A cursor without exporter counts for the floor; ``forget`` drops it, but never one that is in the config.
    """
    rig.start(make("gone"))
    rig.stop()
    rig.append(some(0, 3))
    rig.append(some(3, 3))
    rig.start(make("here"), forget=["here"])
    rig.wait_until(lambda states: states["here"].row.delivered == 6)
    assert rig.sql("SELECT name FROM exporter") == [("gone",), ("here",)]
    assert deliveries.floor(rig.ledger._connection) == 1
    rig.restart()
    rig.start(make("here"), forget=["gone"])
    assert rig.sql("SELECT name FROM exporter") == [("here",)]
    assert deliveries.floor(rig.ledger._connection) == 3


def test_only_is_counted_exactly(rig: Rig, make: Make) -> None:
    """
    An exporter with ``only`` is created, given and owed exactly the records that it keeps.
    """
    exporter = make(only=Only(rule="rule-1"))
    rig.append(some(0, 11))
    rig.start(exporter)
    rig.wait_until(lambda states: states["x"].row.delivered == 5)
    rig.stop()
    rig.append(some(11, 10))
    state = rig.states()["x"]
    assert (state.created, state.pending, state.row.excluded) == (10, 5, 6)
    rig.start(make(only=Only(rule="rule-1")))
    state = rig.wait_delivered()["x"]
    assert (state.created, state.row.delivered) == (10, 10)


def test_a_batch_is_recorded_before_it_is_sent_and_gone_after_its_receipt(rig: Rig, make: Make) -> None:
    """
    While a send goes on, its row is there with ``sending`` = 1 and the cursor is past it.
    """
    seen = []
    exporter = make()

    def look(_batch: Batch) -> Receipt:
        seen.append(rig.sql("SELECT number, count, attempt, sending FROM batch"))
        seen.append(rig.sql("SELECT cursor_seq, created, delivered FROM exporter"))
        return Receipt(checkpoint=b"mark")

    exporter.answer = look
    rig.append(some(0, 3))
    rig.start(exporter)
    rig.wait_delivered()
    assert seen == [[(1, 3, 1, 1)], [(2, 3, 0)]]
    assert rig.sql("SELECT checkpoint FROM exporter") == [(b"mark",)]
    assert rig.sql("SELECT count(*) FROM batch") == [(0,)]


def test_a_retry_is_byte_identical_and_blocks_nobody(rig: Rig, make: Make) -> None:
    """
    A batch that is refused for now comes again as it was, under its number, while newer ones pass it.
    """
    exporter = make(batch={"max_records": 5, "max_wait_secs": 0.02})
    refuse = threading.Event()
    exporter.answer = lambda batch: retry_all("not now") if batch.number == 1 and not refuse.is_set() else Receipt()
    rig.append(some(0, 25))
    rig.start(exporter)
    wait(lambda: rig.states()["x"].row.delivered == 20)
    refuse.set()
    rig.wait_delivered()
    first = [sent for sent in exporter.sent if sent.number == 1]
    assert len(first) > 1
    assert {sent.data for sent in first} == {first[0].data}
    assert [sent.attempt for sent in first] == list(range(1, len(first) + 1))


def test_what_is_left_of_a_batch_becomes_a_new_one(rig: Rig, make: Make) -> None:
    """
    Records that are refused for now come again under a new number; refused for good, they are dead with their content.
    """
    exporter = make()
    mixed = Receipt(exceptions={0: Outcome(Verdict.REJECTED, "bad"), 2: Outcome(Verdict.RETRY, "later")})
    exporter.answer = failing(1, mixed)
    rig.append(some(0, 4))
    rig.start(exporter)
    state = rig.wait_delivered()["x"]
    assert (state.row.delivered, state.row.dead) == (3, 1)
    assert [(sent.number, len(sent.ids)) for sent in exporter.sent] == [(1, 4), (2, 1)]
    assert exporter.sent[1].ids == (exporter.sent[0].ids[2],)
    ((record, reason),) = rig.sql("SELECT record, reason FROM outcome WHERE state = 'dead'")
    assert json.loads(record)["id"] == rig.created[0].id
    assert reason == "rejected: bad"


def test_a_batch_refused_as_a_whole_is_split_down_to_the_bad_record(rig: Rig, make: Make) -> None:
    """
    One record that spoils its batch is found, and is the only one that dies.
    """
    bad = usage(13).id
    exporter = make(promise=DeliveryContract())
    exporter.answer = lambda batch: rejected_all("bad") if bad in {r.id for r in batch.records} else Receipt()
    rig.append(some(0, 40))
    rig.start(exporter)
    state = rig.wait_delivered()["x"]
    assert (state.row.delivered, state.row.dead) == (39, 1)
    assert rig.sql("SELECT record_id FROM outcome WHERE state = 'dead'") == [(bad,)]


@pytest.mark.parametrize("answer", [unknown_all("lost"), OSError("lost")])
def test_without_an_answer_a_batch_is_sent_again_and_listed(rig: Rig, make: Make, answer: Receipt | Exception) -> None:
    """
    Under ``resend`` the same batch goes again under its id, and its records stay listed as possibly repeated.
    """
    exporter = make(promise=KEYED)
    exporter.answer = failing(2, answer)
    rig.append(some(0, 3))
    rig.start(exporter)
    rig.wait_delivered()
    assert {sent.id for sent in exporter.sent} == {f"{rig.id}/x/1"}
    assert rig.sql("SELECT state, unanswered, count(*) FROM outcome GROUP BY 1, 2") == [("delivered", 2, 3)]


def test_without_an_answer_a_batch_is_held(rig: Rig, make: Make) -> None:
    """
    Under ``hold`` it is never sent again by itself, and waits for a person with its content.
    """
    exporter = make(promise=CAREFUL)
    exporter.answer = failing(1, unknown_all("lost"))
    rig.append(some(0, 3))
    rig.start(exporter)
    state = rig.wait_delivered()["x"]
    assert (state.row.held, state.row.delivered) == (3, 0)
    assert len(exporter.sent) == 1
    assert rig.sql("SELECT count(*) FROM outcome WHERE state = 'held' AND record LIKE '{%'") == [(3,)]


@pytest.mark.parametrize(("promise", "counts"), [(CAREFUL, (3, 3, 0)), (KEYED, (0, 3, 1)), (CUTTING, (0, 0, 1))])
def test_a_row_without_receipt_at_start_is_unknown(
    rig: Rig, make: Make, promise: DeliveryContract, counts: tuple[int, int, int]
) -> None:
    """
    After a crash during a send, its batch is held, or sent again and listed; a sink that cuts back just writes again.
    """
    held, listed, sends = counts
    exporter = make(promise=promise)
    exporter.answer = lambda _batch: setattr(rig.transactor, "dead", True) or Receipt()
    rig.append(some(0, 3))
    rig.start(exporter)
    wait(lambda: exporter.sent)
    rig.kill()
    again = make(promise=promise)
    rig.start(again)
    state = rig.wait_delivered()["x"]
    assert (state.row.held, state.row.delivered) == (held, 3 - held)
    assert [sent.attempt for sent in again.sent] == [2] * sends
    assert {(sent.id, sent.data) for sent in again.sent} <= {(exporter.sent[0].id, exporter.sent[0].data)}
    assert rig.sql("SELECT count(*) FROM outcome WHERE unanswered > 0") == [(listed,)]


def test_a_window_that_ends_while_waiting_holds(rig: Rig, make: Make) -> None:
    """
    A batch without an answer, refused for now until the backend's window is over, is held then.
    """
    exporter = make(promise=DeliveryContract(dedupe_key="key", dedupe_window_secs=3.0, per_record_results=True))
    answers = iter([unknown_all("lost")])
    exporter.answer = lambda _batch: next(answers, retry_all("not now"))
    rig.append(some(0, 3))
    rig.start(exporter)
    state = rig.wait_delivered()["x"]
    assert state.row.held == 3
    assert len(exporter.sent) >= 2


def test_one_failing_exporter_never_slows_another(rig: Rig, make: Make) -> None:
    """
    A send that hangs, a connection that cannot be had, and a healthy exporter beside them.
    """
    release = threading.Event()
    hanging, unreachable, healthy = make("hanging"), make("unreachable"), make("healthy")
    hanging.answer = hang(release)

    def refuse(_checkpoint: bytes | None) -> None:
        raise NotConnectedError("connecting: refused")

    unreachable.on_connect = refuse
    rig.start(hanging, unreachable, healthy)
    for first in range(0, 50, 10):
        rig.append(some(first, 10))
    rig.wait_until(lambda states: states["healthy"].row.delivered == 50)
    assert rig.states()["unreachable"].pending == 50
    wait(lambda: rig.delivery.health()["unreachable"]["trouble"] == "connecting: refused")
    wait(lambda: rig.delivery.health()["hanging"]["pending"] == 50)
    release.set()
    rig.wait_until(lambda states: states["hanging"].row.delivered == 50)


@pytest.mark.parametrize("error", [NotConnectedError("gone"), RetryableError("busy", 0.05), ValueError("bug")])
def test_after_trouble_it_connects_again_with_the_last_checkpoint(rig: Rig, make: Make, error: Exception) -> None:
    """
    Before the first send after an error, ``connect`` gets what the last stored receipt held.
    """
    exporter = make()
    answers = iter([Receipt(checkpoint=b"one"), error])

    def send(_batch: Batch) -> Receipt:
        answer = next(answers, Receipt())
        if isinstance(answer, Exception):
            raise answer
        return answer

    exporter.answer = send
    rig.start(exporter)
    rig.append(some(0, 2))
    rig.wait_delivered()
    rig.append(some(2, 2))
    rig.wait_delivered()
    assert exporter.connects == [None, b"one"]


def test_a_receipt_that_cannot_be_stored_is_kept_and_stored_later(rig: Rig, make: Make) -> None:
    """
    A failed commit never makes an exporter send again what the backend has acknowledged.
    """
    exporter = make()
    exporter.answer = lambda _batch: rig.transactor.fail_next.append(LedgerFullError("full")) or Receipt()
    rig.append(some(0, 3))
    rig.start(exporter)
    rig.wait_delivered()
    assert len(exporter.sent) == 1


def test_a_sink_that_cuts_back_writes_again_after_a_failed_commit(rig: Rig, make: Make) -> None:
    """
    It connects with the last stored checkpoint and gets the batch again, since its file was cut back.
    """
    exporter = make(promise=CUTTING)
    fail = iter([True])

    def send(_batch: Batch) -> Receipt:
        if next(fail, False):
            rig.transactor.fail_next.append(LedgerFullError("full"))
        return Receipt(checkpoint=b"mark")

    exporter.answer = send
    rig.append(some(0, 3))
    rig.start(exporter)
    rig.wait_delivered()
    assert len(exporter.sent) == 2
    assert exporter.connects == [None, None]
    assert exporter.sent[0].data == exporter.sent[1].data


def test_nothing_is_sent_without_room_to_record_it(rig: Rig, make: Make) -> None:
    """
    On a full disk, delivery waits instead of sending what it could not account for.
    """
    exporter = make()
    rig.room = False
    rig.append(some(0, 3))
    rig.start(exporter)
    time.sleep(0.3)
    assert exporter.sent == []
    assert rig.sql("SELECT count(*) FROM batch") == [(0,)]
    rig.room = True
    rig.wait_delivered()
    assert len(exporter.sent) == 1


@pytest.mark.parametrize("where", ["connect", "send"])
def test_a_paused_exporter_says_why_and_goes_on_after_a_person_acted(rig: Rig, make: Make, where: str) -> None:
    """
    The reason stands in the ledger and in health; nothing is lost; a restart or ``resume`` goes on.
    """
    exporter = make()
    pause = PausedError("look at it")
    if where == "send":
        exporter.answer = failing(1, pause)
    else:
        left = iter([pause])

        def connect(_checkpoint: bytes | None) -> None:
            for error in left:
                raise error

        exporter.on_connect = connect
    rig.append(some(0, 3))
    delivery = rig.start(exporter)
    rig.wait_until(lambda states: states["x"].paused == "look at it")
    assert delivery.health()["x"]["paused"] == "look at it"
    assert rig.states()["x"].pending == 3
    assert not delivery.resume("y")
    assert delivery.resume("x")
    state = rig.wait_delivered()["x"]
    assert state.paused is None
    assert rig.sql("SELECT count(*) FROM outcome") == [(0,)]


def test_too_many_dead_letters_pause(rig: Rig, make: Make) -> None:
    """
    A backend that refuses everything is a wrong credential, not bad data: after a hundred dead records it is paused.
    """
    exporter = make(batch={"max_records": 20, "max_wait_secs": 0.02})
    exporter.answer = lambda batch: Receipt(
        exceptions={i: Outcome(Verdict.REJECTED, "who are you") for i in range(len(batch))}
    )
    rig.append(some(0, 400))
    rig.start(exporter)
    state = rig.wait_until(lambda states: states["x"].paused is not None)["x"]
    assert "dead_letters.max_ratio" in state.paused
    assert state.row.dead == 100
    assert state.pending == 300
    assert rig.sql("SELECT count(*) FROM batch") == [(0,)]


def test_a_corrupt_frame_costs_only_its_own_records(rig: Rig, make: Make) -> None:
    """
    What was not delivered of a frame that fails its CRC is dead with a reason, counted exactly; the rest is delivered.
    """
    exporter = make(batch={"max_records": 4, "max_wait_secs": 0.02})
    for first in (0, 3, 6):
        rig.append(some(first, 3))
    rig.ledger._connection.execute("UPDATE frame SET crc = crc + 1 WHERE seq = 2")
    rig.start(exporter)
    state = rig.wait_delivered()["x"]
    assert (state.created, state.row.delivered, state.row.dead) == (9, 6, 3)
    assert rig.sql("SELECT seq, ordinal, records, state, reason FROM outcome") == [(2, 0, 3, "dead", "frame_corrupt")]


def test_a_frame_that_becomes_corrupt_while_its_batch_waits(rig: Rig, make: Make) -> None:
    """
    The readable part of the batch goes on as another batch; the lost part is dead.
    """
    exporter = make()
    exporter.answer = lambda _batch: retry_all("not now")
    rig.append(some(0, 3))
    rig.append(some(3, 3))
    rig.start(exporter)
    wait(lambda: exporter.sent)
    rig.stop(0.1)
    rig.restart()
    rig.ledger._connection.execute("UPDATE frame SET crc = crc + 1 WHERE seq = 1")
    again = make()
    rig.start(again)
    state = rig.wait_delivered()["x"]
    assert (state.row.delivered, state.row.dead) == (3, 3)
    assert [sent.ids for sent in again.sent] == [tuple(record.id for record in rig.created[3:])]


def test_stop_delivers_what_is_pending(rig: Rig, make: Make) -> None:
    """
    A stop does not wait for batches to fill, and comes back when everything is delivered.
    """
    exporter = make(batch={"max_wait_secs": 60.0})
    rig.start(exporter)
    rig.append(some(0, 3))
    rig.stop(FOR_EVER_SECS)
    assert rig.states()["x"].row.delivered == 3
    assert exporter.closed == 1


def test_stop_changes_no_state_when_the_backend_is_down(rig: Rig, make: Make) -> None:
    """
    With nothing to be done before the deadline, a stop is quick and everything stays pending.
    """
    exporter = make(retry={"initial_secs": 9000.0, "max_secs": 9000.0})
    exporter.answer = lambda _batch: retry_all("down")
    rig.start(exporter)
    rig.append(some(0, 3))
    wait(lambda: rig.sql("SELECT sending FROM batch") == [(0,)])
    rig.stop(FOR_EVER_SECS)
    state = rig.states()["x"]
    assert (state.pending, state.row.dead, state.row.held) == (3, 0, 0)


def test_a_send_that_does_not_return_is_left_behind(rig: Rig, make: Make) -> None:
    """
    A stop keeps its deadline; the batch is unknown at the next start.
    """
    release = threading.Event()
    exporter = make(promise=CAREFUL)
    exporter.answer = hang(release)
    rig.start(exporter)
    rig.append(some(0, 3))
    wait(lambda: exporter.sent)
    rig.stop(0.2)
    rig.transactor.dead = True
    release.set()
    wait(lambda: exporter.closed)
    rig.restart()
    rig.start(make(promise=CAREFUL))
    assert rig.wait_delivered()["x"].row.held == 3


def test_stored_retry_times_are_clamped_at_start(rig: Rig, make: Make) -> None:
    """
    A clock that was far ahead when a retry was stored makes nobody wait for it.
    """
    exporter = make()
    exporter.answer = lambda _batch: retry_all("down")
    rig.start(exporter)
    rig.append(some(0, 3))
    wait(lambda: exporter.sent)
    rig.stop(0.1)
    rig.restart()
    rig.ledger._connection.execute("UPDATE batch SET next_at = next_at + 1000000000000000")
    rig.start(make())
    rig.wait_delivered()


def test_telemetry_reads_what_the_ledger_holds(rig: Rig, make: Make) -> None:
    """
    Samples carry the exporter's name and the durable counts, and see a backlog that grows while a send hangs.
    """
    release = threading.Event()
    exporter = make()
    exporter.answer = hang(release)
    delivery = rig.start(exporter)
    rig.append(some(0, 3))
    wait(lambda: exporter.sent)
    rig.append(some(3, 4))

    def samples() -> dict[str, float]:
        assert all(sample.labels == {"exporter": "x"} for sample in delivery.samples())
        return {sample.name.removeprefix("meterline_exporter_"): sample.value for sample in delivery.samples()}

    found = samples()
    assert (found["pending_records"], found["lag_records"], found["delivered_records"]) == (7, 4, 0)
    assert found["oldest_pending_seconds"] > 0
    release.set()
    rig.wait_delivered()
    wait(lambda: samples()["delivered_records"] == 7)
    assert (samples()["pending_records"], samples()["oldest_pending_seconds"]) == (0, 0)


def test_what_was_formed_and_not_sent_is_taken_back_at_stop(rig: Rig, make: Make) -> None:
    """
    The next batch is formed with the last receipt; when the stop comes before its send, it is not unknown afterwards.
    """
    exporter = make(promise=CAREFUL, batch={"max_records": 5, "max_wait_secs": 0.02})
    rig.append(some(0, 10))
    exporter.settled = lambda: setattr(rig, "room", False)
    rig.start(exporter)
    wait(lambda: rig.sql("SELECT number, sending FROM batch") == [(2, 1)])
    rig.stop(0.2)
    assert rig.sql("SELECT number, attempt, sending FROM batch") == [(2, 0, 0)]
    rig.room = True
    again = make(promise=CAREFUL)
    rig.start(again)
    assert rig.wait_delivered()["x"].row.held == 0
    assert [sent.attempt for sent in again.sent] == [1]


def test_a_batch_that_cannot_be_recorded_is_not_sent(rig: Rig, make: Make) -> None:
    """
    When forming fails, nothing was sent, and the same records come again under the same number.
    """
    exporter = make()
    rig.transactor.fail_next = []
    rig.start(exporter)
    wait(lambda: exporter.connects)
    rig.transactor.fail_next = [LedgerFullError("full"), ValueError("a bug")]
    rig.append(some(0, 3))
    rig.wait_delivered()
    assert [(sent.number, len(sent.ids)) for sent in exporter.sent] == [(1, 3)]


def test_a_receipt_is_kept_through_many_failures(rig: Rig, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    It is stored as soon as the ledger takes it, and the batch behind it is planned anew.
    """
    monkeypatch.setattr("meterline.delivery.desk.TROUBLE_SECS", 0.02)
    exporter = make(batch={"max_records": 5, "max_wait_secs": 0.02})
    full = iter([[LedgerFullError("full")] * 4])

    def send(_batch: Batch) -> Receipt:
        rig.transactor.fail_next += next(full, [])
        return Receipt()

    exporter.answer = send
    rig.append(some(0, 12))
    rig.start(exporter)
    rig.wait_delivered()
    assert [sent.number for sent in exporter.sent] == [1, 2, 3]
    assert [id_ for sent in exporter.sent for id_ in sent.ids] == [record.id for record in rig.created]


@pytest.mark.parametrize("error", [OSError("rename failed"), PausedError("look at it")])
def test_trouble_after_a_receipt_starts_again_from_the_ledger(rig: Rig, make: Make, error: Exception) -> None:
    """
    What a plugin raises when it is told that its receipt is durable costs no record, and a pause is shown.
    """
    exporter = make(promise=CUTTING, batch={"max_records": 5, "max_wait_secs": 0.02})
    errors = iter([error])

    def settled() -> None:
        for each in errors:
            raise each

    exporter.settled = settled
    rig.append(some(0, 12))
    delivery = rig.start(exporter)
    if isinstance(error, PausedError):
        rig.wait_until(lambda states: states["x"].paused == "look at it")
        assert delivery.resume("x")
    rig.wait_delivered()
    assert len(exporter.connects) == 2
    assert {id_ for sent in exporter.sent for id_ in sent.ids} == {record.id for record in rig.created}


def test_a_plugin_that_fails_to_close_harms_nobody(rig: Rig, make: Make) -> None:
    """
    The stop ends as if it had closed.
    """
    exporter = make()

    def close() -> None:
        raise OSError("cannot")

    exporter.close = close
    rig.start(exporter)
    rig.append(some(0, 3))
    rig.wait_delivered()
    rig.stop()
    assert rig.states()["x"].row.delivered == 3
