"""
A kernel and a ledger of a few lines, scripted to fail, under the real intake.

A body is text such as ``3``: so many points; ``poison``: apply raises; ``broken``: undecodable; ``new``: must be learned first.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import Any

import pytest
import structlog

from meterline.api.receiver import ANONYMOUS, Answer, Format, Ticket
from meterline.clock import SystemClock
from meterline.errors import UndecodableError
from meterline.intake import Intake, IntakeOptions, Writer
from meterline.kernel.seam import Applied, Context, Frame, PointType, SnapshotPart, Temporality, Unknown
from meterline.ledger.model import CommitGroup, CommitResult, LedgerOptions

SECS = 20.0
CONTEXT = Context(PointType.SUM, "calls", "1", Temporality.DELTA, True, {}, "", "", {})


class FakeKernel:
    """Decodes a body to its text."""

    def decode(self, body: bytes, fmt: Format, plan: object) -> str:
        if body == b"broken":
            raise UndecodableError("decoding a body: it is broken")
        return body.decode()

    def strip(self, frame: object) -> bytes:
        return b""


class FakeMeter:
    """Adds up points; keeps an undo of the open frame, as the seam demands."""

    streams = 0

    def __init__(self) -> None:
        self.total = 0
        self.open: list[str] = []
        self.seq = 1
        self.known: set[str] = set()
        self.calls: list[str] = []
        self.sealed: dict[int, int] = {}

    def source(self, receiver: str, principal: object) -> int:
        return 0

    def resolve(self, batch: str) -> Unknown | None:
        if batch.startswith("new") and batch not in self.known:
            return Unknown(1, contexts=[(len(self.known), CONTEXT)])
        return None

    def learn(self, gen: int, got: Sequence[Any]) -> None:
        self.known.update(name for _, name in got)

    def apply(self, batch: str, received_at: int, source: int) -> Applied:
        self.open.append(batch)
        if batch.startswith("poison"):
            self.total += 1_000_000
            raise ZeroDivisionError("planted")
        if batch == "again":
            return Applied(points=4, duplicate=4, answered=2)
        points = int(batch) if batch.isdigit() else 1
        self.total += points
        return Applied(points=points, recorded=points)

    def quarantine_body(self, body: bytes, fmt: Format, received_at: int, source: int, detail: str) -> Applied:
        self.calls.append(f"quarantine {body.decode()}: {detail}")
        self.open.append("quarantined")
        return Applied(points=1, quarantined=1)

    def load(self, keys: Sequence[bytes], rows: Sequence[bytes]) -> None:
        self.calls.append("load")

    def unidled(self) -> Sequence[bytes]:
        return ()

    def evict(self, now: int, limit: int) -> Sequence[tuple[bytes, bytes]]:
        return ()

    def totals(self) -> Sequence[Any]:
        return ()

    def snapshot(self, max_bytes: int) -> SnapshotPart:
        return SnapshotPart(self.seq - 1, [], [], [], complete=True)

    def seal(self) -> Frame | None:
        if not self.open:
            return None
        body = ",".join(self.open).encode()
        self.open = []
        self.sealed[self.seq] = self.total
        self.seq += 1
        return Frame(self.seq - 1, 1, body, b"", 0, 0, 1, 1, {})

    def committed(self, seq: int) -> None:
        self.calls.append(f"committed {seq}")

    def rollback(self, seq: int) -> None:
        self.calls.append(f"rollback {seq}")
        self.open = []
        self.seq = seq
        self.total = self.sealed.get(seq - 1, 0)

    def counters(self) -> dict[str, int]:
        return {"resident_streams": 0}


@dataclass
class FakeLedger:
    """Stores groups in a list; ``fail`` is called first and may raise."""

    options: LedgerOptions = field(default_factory=LedgerOptions)
    groups: list[CommitGroup] = field(default_factory=list)
    fail: Callable[[CommitGroup], None] = lambda group: None
    over_limit: bool = False
    room: bool = True
    quota: set[str] = field(default_factory=set)

    def commit(self, group: CommitGroup) -> CommitResult:
        self.fail(group)
        self.groups.append(group)
        results: list[Any] = []
        for job in group.jobs:
            try:
                results.append(job(None))  # type: ignore[arg-type]
            except Exception as error:  # noqa: BLE001
                results.append(error)
        return CommitResult(results)

    def probe(self) -> bool:
        return self.room

    def quarantine_over_quota(self, principal: str) -> bool:
        return principal in self.quota

    def idle_rows(self, keys: Sequence[bytes]) -> Sequence[bytes]:
        return []

    def checkpoint(self) -> None:
        pass

    def maintain(self, now_ns: int, strip: object) -> bool:
        return False

    def bodies(self) -> list[str]:
        """Return what is stored, by body."""
        return [body for group in self.groups if group.frame for body in group.frame.body.decode().split(",")]


class FakeRules:
    """Answers each context with the batch's own text, after an optional failure."""

    def __init__(self) -> None:
        self.fail = 0
        self.names = iter(("new", "new-b"))

    def answer(self, unknown: Unknown) -> Any:
        if self.fail:
            self.fail -= 1
            raise KeyError("planted")
        return [(0, next(self.names))], []


class Bench:
    """The real intake over the fakes."""

    def __init__(self) -> None:
        self.meter, self.ledger, self.rules = FakeMeter(), FakeLedger(), FakeRules()
        self.fatal: list[Exception] = []
        self.queue: SimpleQueue[Any] = SimpleQueue()
        parts: Any = {
            "kernel": FakeKernel(),
            "plan": None,
            "meter": self.meter,
            "rules": self.rules,
            "ledger": self.ledger,
        }
        self.writer = Writer(
            **parts,
            queue=self.queue,
            clock=SystemClock(),
            last_seq=0,
            on_fatal=self.fatal.append,
            log=structlog.get_logger(),
        )
        self.intake = Intake(self.writer, self.queue, IntakeOptions(max_in_flight_bytes=100))

    def send(self, body: str, principal: Any = ANONYMOUS, **more: Any) -> Ticket:
        """Submit one body."""
        ticket = Ticket()
        self.intake.submit(body.encode(), Format.OTLP_METRICS, "otlp", principal, ticket, **more)
        return ticket

    @contextmanager
    def stuck(self, body: str) -> Iterator[Ticket]:
        """Submit one body, and let its commit take as long as the block."""
        reached, gate = threading.Event(), threading.Event()

        def fail(group: CommitGroup) -> None:
            if group.frame:
                reached.set()
                gate.wait(SECS)

        self.ledger.fail = fail
        ticket = self.send(body)
        assert reached.wait(SECS)
        try:
            yield ticket
        finally:
            gate.set()

    def ask(self, body: str, principal: Any = ANONYMOUS, **more: Any) -> Answer:
        """Submit one body and wait for its answer."""
        answer = self.send(body, principal, **more).wait(SECS)
        assert answer is not None
        return answer


@pytest.fixture
def bench() -> Iterator[Bench]:
    """An intake that is not started yet."""
    bench = Bench()
    yield bench
    bench.intake.stop(SECS)
