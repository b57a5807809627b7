"""
The receiver contract kit: what every receiver must keep, run over its real protocol.

A sender gives every point an id of its own; a scripted intake behind the receiver accepts, refuses for now or refuses for good,
at random and seeded. Verdict: sent = stored + refused, none twice, none invented, and no answer before its commit. A plugin
author writes a ``Harness`` and gets a test class::

    from meterline.testing.receivers import Connection, Harness, Reply, receiver_suite

    class MyHarness(Harness):
        def receiver(self, context: ReceiverContext) -> Receiver[Any]: ...        # a new one on a free port
        def connect(self, endpoints: Mapping[str, str]) -> Connection: ...        # one connection of a real client

    TestMyReceiver = receiver_suite(MyHarness)
"""

import os
import random
import threading
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum
from queue import SimpleQueue
from typing import Any, Final

import structlog
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue

from meterline._proto.meterline.usage.v1.usage_pb2 import RecordUsageRequest
from meterline.api import Format, Receiver, ReceiverContext, SystemClock
from meterline.testing.scripted_intake import Books, Script, ScriptedIntake

ID_KEY: Final = "contract.id"
"""The attribute that holds a point's id, in every format that has attributes."""

ID_LABEL: Final = "contract_id"
"""The same where names may have no dots (Prometheus, Loki)."""

_SENDERS: Final = 4
_REQUESTS: Final = 25
_POINTS: Final = 12
_WAIT_SECS: Final = 40.0
_ACCEPT: Final = Script()


class Fate(Enum):
    """
    What an answer tells a sender to do.
    """

    STORED = "stored"  # forget it
    AGAIN = "again"  # send the same again
    REFUSED = "refused"  # drop it


@dataclass(frozen=True, slots=True)
class Reply:
    """
    What a client understood of one answer; ``rejected`` points were named as refused in a success.
    """

    fate: Fate
    rejected: int = 0


class Connection(ABC):
    """
    A client of the receiver's protocol; used by one thread.
    """

    @abstractmethod
    def send(self, ids: Sequence[str]) -> Reply:
        """
        Send one request with one point for each id, as its ``contract.id`` attribute, and wait for the answer.
        """

    @abstractmethod
    def close(self) -> None:
        """
        Close the connection.
        """


class Harness(ABC):
    """
    What the kit must know of a receiver.
    """

    @abstractmethod
    def receiver(self, context: ReceiverContext) -> Receiver[Any]:
        """
        Return a new receiver named ``contract`` that will listen on a free port.
        """

    @abstractmethod
    def connect(self, endpoints: Mapping[str, str]) -> Connection:
        """
        Return a new connection to the started receiver.
        """

    def ids(self, body: bytes, fmt: Format) -> list[str]:
        """
        Return the ids of the points in a body that the receiver submitted.
        """
        return _IDS[fmt](body)


def _metric_ids(body: bytes) -> list[str]:
    request = ExportMetricsServiceRequest.FromString(body)
    metrics = [m for r in request.resource_metrics for s in r.scope_metrics for m in s.metrics]
    return [_id_of(point.attributes) for metric in metrics for point in metric.sum.data_points]


def _log_ids(body: bytes) -> list[str]:
    request = ExportLogsServiceRequest.FromString(body)
    logs = [log for r in request.resource_logs for s in r.scope_logs for log in s.log_records]
    return [_id_of([*log.attributes, *log.body.kvlist_value.values]) for log in logs]


def _usage_ids(body: bytes) -> list[str]:
    return [item.metadata[ID_KEY] for item in RecordUsageRequest.FromString(body).items]


def _id_of(pairs: Iterable[KeyValue]) -> str:
    values = [pair.value.string_value for pair in pairs if pair.key in (ID_KEY, ID_LABEL)]
    assert len(values) == 1, f"a point arrived with {len(values)} ids: {values}"
    return values[0]


_IDS: Final[Mapping[Format, Callable[[bytes], list[str]]]] = {
    Format.OTLP_METRICS: _metric_ids,
    Format.TRANSCODED_METRICS: _metric_ids,
    Format.OTLP_LOGS: _log_ids,
    Format.USAGE: _usage_ids,
}


@dataclass(slots=True)
class Sent:
    """
    What the senders were told: ids of stored and of refused requests, and how many points were named as rejected.
    """

    stored: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    rejected: int = 0
    again: int = 0


def drive(harness: Harness, endpoints: Mapping[str, str], seed: int) -> Sent:
    """
    Send from several threads at once, each request again until it is stored or refused, and return what they were told.

    :raises BaseException: what a sender's thread met.
    """
    sent = [Sent() for _ in range(_SENDERS)]
    failures: list[BaseException] = []

    def run(number: int) -> None:
        try:
            _send_all(harness.connect(endpoints), sent[number], random.Random(f"{seed}:{number}"), number)
        except BaseException as error:  # noqa: BLE001  # raised in the test's thread
            failures.append(error)

    threads = [threading.Thread(target=run, args=(number,), daemon=True) for number in range(_SENDERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(_WAIT_SECS)
    assert not any(thread.is_alive() for thread in threads), "a request is still not answered"
    if failures:
        raise failures[0]
    return Sent(
        [i for s in sent for i in s.stored],
        [i for s in sent for i in s.refused],
        sum(s.rejected for s in sent),
        sum(s.again for s in sent),
    )


def _send_all(connection: Connection, sent: Sent, rng: random.Random, number: int) -> None:
    try:
        for request in range(_REQUESTS):
            ids = [f"{number}.{request}.{point}" for point in range(rng.randint(1, _POINTS))]
            while (reply := connection.send(ids)).fate is Fate.AGAIN:
                sent.again += 1
            (sent.stored if reply.fate is Fate.STORED else sent.refused).extend(ids)
            sent.rejected += reply.rejected
    finally:
        connection.close()


def outcomes(receiver: Receiver[Any], **labels: str) -> dict[str, float]:
    """
    Return how many requests to a receiver ended how; ``labels``: of those that have these.
    """
    counted = [each for each in receiver.samples() if each.name == "meterline_receiver_requests"]
    return {each.labels["outcome"]: each.value for each in counted if labels.items() <= each.labels.items()}


def judge(sent: Sent, books: Books) -> None:
    """
    Assert that the senders and the intake agree on every point.
    """
    kept = books.stored + books.quarantined
    assert set(books.stored).isdisjoint(books.quarantined), "a point is both stored and in quarantine"
    assert max(kept.values(), default=1) == 1, f"stored twice: {[i for i, n in kept.items() if n > 1][:5]}"
    assert sorted(kept) == sorted(sent.stored), "what senders were told is stored is not what is stored"
    assert sorted(books.refused) == sorted(sent.refused), "what senders were told is refused is not what was refused"
    assert sent.rejected == books.quarantined.total(), "the number of rejected points is not the number in quarantine"


@contextmanager
def running(
    harness: Harness, script: Script = _ACCEPT, seed: int = 0
) -> Iterator[tuple[Receiver[Any], ScriptedIntake]]:
    """
    Start a receiver over a scripted intake; at the end stop both, and assert that nothing is left reserved.
    """
    intake = ScriptedIntake(harness.ids, script, random.Random(seed))
    receiver = harness.receiver(ReceiverContext(intake, SystemClock(), structlog.get_logger()))
    receiver.start()
    try:
        yield receiver, intake
    finally:
        receiver.stop(_WAIT_SECS)
        intake.close()
    assert intake.in_flight == 0, f"{intake.in_flight} bytes are still reserved"


def _seed() -> int:
    seed = int(os.environ.get("METERLINE_SEED") or random.SystemRandom().randrange(2**32))
    print(f"METERLINE_SEED={seed}")  # noqa: T201  # pytest shows it when the test fails
    return seed


class _Suite:
    """
    The scenarios; ``receiver_suite`` binds them to a harness.
    """

    make: Callable[[], Harness]

    def _balance(self, script: Script) -> Sent:
        seed = _seed()
        harness = self.make()
        with running(harness, script, seed) as (receiver, intake):
            sent = drive(harness, receiver.endpoints, seed)
        judge(sent, intake.books)
        assert {name for name, _ in intake.senders} == {"contract"}
        return sent

    def test_everything_accepted_is_stored_once(self) -> None:
        """
        An intake that always accepts holds every point once.
        """
        sent = self._balance(Script())
        assert sent.stored
        assert (sent.refused, sent.again) == ([], 0)

    def test_refused_for_now_is_sent_again_and_stored_once(self) -> None:
        """
        A refusal that may pass makes the sender come again, and nothing is lost or twice.
        """
        sent = self._balance(Script(stored=1, retry=1))
        assert sent.again > 0
        assert sent.refused == []

    def test_refused_for_good_is_dropped(self) -> None:
        """
        A refusal for good reaches the sender as one, and leaves nothing behind.
        """
        sent = self._balance(Script(stored=1, undecodable=1))
        assert sent.refused

    def test_points_in_quarantine_are_counted_to_the_sender(self) -> None:
        """
        The answer names as many rejected points as are in quarantine.
        """
        assert self._balance(Script(partial=0.5)).rejected > 0

    def test_all_at_random(self) -> None:
        """
        With every kind of answer mixed, sent = stored + quarantined + refused.
        """
        sent = self._balance(Script(stored=4, retry=3, undecodable=1, partial=0.3))
        assert sent.stored

    def test_no_answer_comes_before_the_commit(self) -> None:
        """
        A sender waits as long as the commit takes, and then is told that it is stored.
        """
        harness = self.make()
        with running(harness) as (receiver, intake):
            replies: SimpleQueue[Reply] = SimpleQueue()
            connection = harness.connect(receiver.endpoints)
            with intake.held():
                thread = threading.Thread(target=lambda: replies.put(connection.send(["1"])), daemon=True)
                thread.start()
                assert intake.submitted.acquire(timeout=_WAIT_SECS)
                thread.join(0.3)
                assert thread.is_alive(), "the answer came before the commit"
            assert replies.get(timeout=_WAIT_SECS) == Reply(Fate.STORED)
            connection.close()
        assert intake.books.stored == Counter(["1"])

    def test_stopping_answers_what_is_in_flight(self) -> None:
        """
        A receiver that is stopped lets the requests in flight have their answer.
        """
        harness = self.make()
        with running(harness) as (receiver, intake):
            replies: SimpleQueue[Reply] = SimpleQueue()
            connection = harness.connect(receiver.endpoints)
            with intake.held():
                threading.Thread(target=lambda: replies.put(connection.send(["1"])), daemon=True).start()
                assert intake.submitted.acquire(timeout=_WAIT_SECS)
                stopping = threading.Thread(target=receiver.stop, args=(_WAIT_SECS,), daemon=True)
                stopping.start()
            assert replies.get(timeout=_WAIT_SECS) == Reply(Fate.STORED)
            stopping.join(_WAIT_SECS)
            assert not stopping.is_alive()
            connection.close()

    def test_stop_is_legal_at_any_time(self) -> None:
        """
        Stopping a receiver that was never started, and stopping twice, do nothing.
        """
        harness = self.make()
        intake = ScriptedIntake(harness.ids, Script(), random.Random(0))
        harness.receiver(ReceiverContext(intake, SystemClock(), structlog.get_logger())).stop(0)
        intake.close()
        with running(harness) as (receiver, _):
            receiver.stop(1)
            receiver.stop(1)


class _QuietSuite(_Suite):
    """
    The same for a protocol that has no word for points in quarantine.
    """

    def test_points_in_quarantine_are_counted_to_the_sender(self) -> None:
        """
        A request is stored when all of it is, be it in quarantine.
        """
        harness = self.make()
        with running(harness, Script(partial=1)) as (receiver, intake):
            connection = harness.connect(receiver.endpoints)
            assert connection.send(["1", "2"]) == Reply(Fate.STORED)
            connection.close()
        assert intake.books.quarantined.total() > 0

    def test_all_at_random(self) -> None:
        """
        With every kind of answer mixed that the sender is told, sent = stored + refused.
        """
        assert self._balance(Script(stored=4, retry=3, undecodable=1)).stored


def receiver_suite(harness: Callable[[], Harness], *, tells_rejected: bool = True) -> type[_Suite]:
    """
    Return a pytest class that runs the contract on receivers made by this harness.

    ``tells_rejected``: answers have a number of points in quarantine.
    """
    suite = _Suite if tells_rejected else _QuietSuite
    return type(f"Test{getattr(harness, '__name__', 'Receiver')}", (suite,), {"make": staticmethod(harness)})
