"""
Power loss under the whole intake: requests in, rules, kernel, group commit, answers out.

Each round sends a workload through the real intake onto a disk whose power fails at a random operation; then opens what is
left, and lets the sender send everything again, as a real one does that was not answered.
"""

import random
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import pytest
import structlog
from structlog.testing import capture_logs

from meterline.api.receiver import ANONYMOUS, Answer, Format, Status, Ticket
from meterline.clock import SystemClock
from meterline.config import load_config
from meterline.errors import MeterlineError
from meterline.intake import Intake, IntakeOptions, Writer
from meterline.intake.parcel import Job, Parcel, Stop
from meterline.kernel import load_kernel
from meterline.kernel.seam import MeterOptions
from meterline.ledger import Ledger, open_reader
from meterline.ledger.model import LedgerOptions
from meterline.rules import RuleSet
from meterline.testing.power import Disk
from meterline.testing.workload import RULES, Key, Request, Workload

QUICK, FULL = 25, 1000
MOMENTS = 300
OPTIONS = LedgerOptions(reserve_bytes=0, snapshot_points=8)
FORMATS = {"metrics": Format.OTLP_METRICS, "logs": Format.OTLP_LOGS}

Bug = Callable[[Ledger, Writer], None]


class Life:
    """An intake over a ledger, from a start to a stop."""

    def __init__(self, path: Path, rules: RuleSet, disk: Disk | None = None, bug: Bug | None = None) -> None:
        clock, kernel, queue = SystemClock(), load_kernel(), SimpleQueue[Parcel | Job | Stop]()
        self.ledger = Ledger.open(path, OPTIONS, clock, vfs=disk.name if disk else None)
        generation = self.ledger.activate_rules(rules.hash, rules.keys(), rules.text)
        meter = kernel.meter(MeterOptions())
        state = self.ledger.stored_state()
        meter.restore(state.chunks, state.frames, state.open_raw, state.idle, state.next_meter)
        self.ledger.catch_up_totals(lambda frame, names: kernel.records(frame.body, names).totals())
        writer = Writer(
            kernel=kernel,
            plan=kernel.plan(generation.gen, rules.hash),
            meter=meter,
            rules=rules.bind(generation),
            ledger=self.ledger,
            queue=queue,
            clock=clock,
            last_seq=state.last_seq,
            on_fatal=lambda error: None,
            log=structlog.get_logger("power"),
        )
        if bug:
            bug(self.ledger, writer)
        self.intake = Intake(writer, queue, IntakeOptions())
        self.intake.start()

    def send(self, requests: list[Request]) -> list[Answer | None]:
        """Submit at once, so that they may share a commit; then wait for the answers."""
        tickets = []
        for request in requests:
            tickets.append(Ticket())
            self.intake.submit(request.body, FORMATS[request.signal], "otlp", ANONYMOUS, tickets[-1])
        return [ticket.wait(20) for ticket in tickets]

    def stop(self) -> None:
        self.intake.stop(20)
        self.ledger.close()


@dataclass
class Round:
    """One power loss, and the life after it."""

    path: Path
    rules: RuleSet
    chance: random.Random
    sent: list[Request] = field(default_factory=list)
    answered: list[Request] = field(default_factory=list)

    def run(self, bug: Bug | None) -> Disk:
        """Send until the power fails."""
        disk = Disk(self.chance, self.chance.choice(["nothing", "sectors"]))
        life = Life(self.path, self.rules, disk, bug)
        producers = [Workload(self.chance.getrandbits(32), name, streams=2, per_request=2) for name in "pq"]
        disk.fail_after(self.chance.randint(1, MOMENTS))
        while not disk.failed:
            burst = [producer.next() for producer in self.chance.sample(producers, self.chance.choice([1, 1, 2]))]
            self.sent += burst
            answers = life.send(burst)
            stored = [answer is not None and answer.status is Status.STORED for answer in answers]
            self.answered += [request for request, kept in zip(burst, stored, strict=True) if kept]
            life.ledger.checkpoint()
        life.stop()
        disk.lose()
        return disk

    def check(self) -> None:
        """What was answered is there, once; what was not, not at all or exactly; sent again, all of it is there once."""
        wanted, allowed = effects(self.answered), effects(self.sent)
        found = self.records()
        assert {key: found.get(key) for key in wanted} == wanted
        assert found.items() <= allowed.items()
        life = Life(self.path, self.rules)
        answers = [life.send([request])[0] for request in self.sent]
        life.stop()
        assert {answer and answer.status for answer in answers} <= {Status.STORED}
        assert self.records() == allowed
        self._check_books()

    def records(self) -> dict[Key, Decimal]:
        """Every record of the ledger; none of them twice."""
        kernel = load_kernel()
        with open_reader(self.path) as reader:
            rows = reader.frames(0, 1 << 40)
            batches = [kernel.records(row.frame.body, reader.names()) for row in rows if row.frame]
        records = [batch.record(ordinal) for batch in batches for ordinal in range(len(batch))]
        assert set(Counter(record.id for record in records).values()) <= {1}
        return {(r.customer_id, r.dimension_id, r.timestamp): Decimal(str(r.value)) for r in records}

    def _check_books(self) -> None:
        kernel = load_kernel()
        sums: Counter[tuple[str, str]] = Counter()
        for request in self.sent:
            for effect in request.effects:
                sums[effect.customer, effect.dimension] += effect.value
        with open_reader(self.path) as reader:
            balance = reader.balance()
            totals = reader.totals(lambda frame, names: kernel.records(frame.body, names).totals())
        assert {(t.customer, t.dimension): Decimal(str(t.value)) for t in totals} == sums
        outcomes = ("recorded", "quarantined", "duplicate", "no_usage", "unmatched")
        assert balance["received"] == sum(balance[name] for name in outcomes)


def effects(requests: list[Request]) -> dict[Key, Decimal]:
    """What requests must become."""
    return {effect.key: effect.value for request in requests for effect in request.effects}


@pytest.fixture(scope="module")
def rules(tmp_path_factory: Any) -> RuleSet:
    """The workload's rules, compiled."""
    path = tmp_path_factory.mktemp("config") / "meterline.yaml"
    path.write_text(f"ledger: {{path: ./m.db}}\nreceivers: {{otlp: {{grpc: {{endpoint: '127.0.0.1:0'}}}}}}\n{RULES}")
    config = load_config(path, {})
    return RuleSet.compile(config.rules, config.base_dir)


@dataclass
class Rounds:
    """Runs rounds in this test's folder, and counts what they met."""

    folder: Path
    chance: random.Random
    rules: RuleSet
    answered: int = 0
    unanswered: int = 0
    from_snapshots: int = 0

    def failed(self, count: int, bug: Bug | None = None) -> int:
        """Return how many of so many rounds failed. Without a planted bug, the first one fails the test."""
        return sum(self._failed(bug) for _ in range(count))

    def _failed(self, bug: Bug | None) -> bool:
        shutil.rmtree(self.folder / "round", ignore_errors=True)
        (self.folder / "round").mkdir()
        seed = self.chance.getrandbits(32)
        one = Round(self.folder / "round" / "meterline.db", self.rules, random.Random(seed))
        try:
            one.run(bug)
            self._count(one)
            one.check()
        except (AssertionError, MeterlineError):
            if bug is None:
                print(f"the seed of the failed round is {seed}")  # noqa: T201
                raise
            return True
        return False

    def _count(self, one: Round) -> None:
        self.answered += len(one.answered)
        self.unanswered += len(one.answered) < len(one.sent)
        with open_reader(one.path) as reader:
            self.from_snapshots += reader.meta().get("snapshot_floor", 0) > 0


@pytest.fixture
def rounds(tmp_path: Path, rng: random.Random, rules: RuleSet) -> Iterator[Rounds]:
    """A fresh series of rounds, without log lines."""
    with capture_logs():
        yield Rounds(tmp_path, rng, rules)


def test_what_was_answered_is_there(rounds: Rounds) -> None:
    """After power loss at a random moment every answered point is there once, and what is sent again is counted once."""
    assert rounds.failed(QUICK) == 0
    assert rounds.answered > 5 * QUICK
    assert rounds.unanswered > QUICK / 2
    assert rounds.from_snapshots > 0, "no life was restored from a snapshot"


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_what_was_answered_is_there_a_thousand_times(rounds: Rounds) -> None:
    """The same, 1,000 rounds."""
    assert rounds.failed(FULL) == 0
    assert rounds.unanswered > FULL / 2
    assert rounds.from_snapshots > FULL / 20


def test_answering_before_the_commit_is_noticed(rounds: Rounds) -> None:
    """With a writer that answers before it commits, answered points are lost, and the rounds say so."""

    def bug(ledger: Ledger, writer: Any) -> None:
        store = writer._store

        def early(group: Any, applied: Any, jobs: Any) -> None:
            writer._answer(applied)
            store(group, [], jobs)

        writer._store = early

    assert rounds.failed(20, bug) > 2


def test_synchronous_normal_is_noticed(rounds: Rounds) -> None:
    """With `synchronous=NORMAL` answered points are lost, and the rounds say so."""
    assert rounds.failed(20, lambda ledger, writer: ledger._connection.pragma("synchronous", "NORMAL")) > 5
