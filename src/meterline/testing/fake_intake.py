"""
An intake that answers what the test says, and keeps what it was given.
"""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Final

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord

from meterline._proto.meterline.intake.v1.rejects_pb2 import Reject, Rejects
from meterline.api import Answer, Body, Format, Principal, Status, Ticket

STORED: Final = Answer(Status.STORED, points=1)
HOLD_SECS: Final = 60.0
"""How long an answer that is held back waits; then it never comes."""


class FakeIntake:
    """
    An ``api.Intake`` that resolves each ticket with what ``decide`` says of its body, on a thread of its own; None: never.

    ``decide`` takes the first of ``script``, or ``answer`` when there are no more, unless a test sets another; it is called
    inside ``submit``. ``submitted`` is released once for each body; ``budget`` is how many bytes may be reserved at once.
    """

    ready = True

    def __init__(self) -> None:
        self.answer = STORED
        self.script: list[Answer] = []
        self.decide: Callable[[Body], Answer | None] = self._in_turn
        self.bodies: list[Body] = []
        self.senders: list[tuple[str, Principal]] = []
        self.remembered: list[Mapping[str, bytes]] = []
        self.budget = 1 << 40
        self.in_flight = 0
        self.peak = 0
        self.submitted = threading.Semaphore(0)
        self._open = threading.Event()
        self._open.set()
        self._lock = threading.Lock()

    def reserve(self, nbytes: int) -> bool:
        """
        Take bytes, as long as there is room.
        """
        with self._lock:
            if self.in_flight + nbytes > self.budget:
                return False
            self.in_flight += nbytes
            self.peak = max(self.peak, self.in_flight)
            return True

    def release(self, nbytes: int) -> None:
        """
        Give bytes back.
        """
        with self._lock:
            self.in_flight -= nbytes

    def submit(
        self,
        body: bytes,
        fmt: Format,
        receiver: str,
        principal: Principal,
        ticket: Ticket,
        *,
        remember: Mapping[str, bytes] | None = None,
    ) -> None:
        """
        Keep the body, and answer soon.
        """
        with self._lock:
            self.bodies.append(Body(fmt, body))
            self.senders.append((receiver, principal))
            self.remembered.append(remember or {})
        self.submitted.release()
        self._take(Body(fmt, body), principal, ticket)

    @contextmanager
    def held(self) -> Iterator[None]:
        """
        Answer nothing inside the block: a commit that takes its time.
        """
        self._open.clear()
        try:
            yield
        finally:
            self._open.set()

    @property
    def data(self) -> list[bytes]:
        """
        Return the bytes of all bodies.
        """
        return [body.data for body in self.bodies]

    @property
    def names(self) -> set[str]:
        """
        Return the names of all who sent.
        """
        return {principal.name for _, principal in self.senders}

    @property
    def records(self) -> list[LogRecord]:
        """
        Return the log records of all bodies.
        """
        requests = [ExportLogsServiceRequest.FromString(each.data) for each in self._of(Format.OTLP_LOGS)]
        scopes = [scope for request in requests for found in request.resource_logs for scope in found.scope_logs]
        return [record for scope in scopes for record in scope.log_records]

    @property
    def rejects(self) -> list[Reject]:
        """
        Return the rejects of all bodies.
        """
        return [reject for each in self._of(Format.REJECTS) for reject in Rejects.FromString(each.data).rejects]

    def _of(self, fmt: Format) -> list[Body]:
        return [body for body in self.bodies if body.fmt is fmt]

    def _in_turn(self, _body: Body) -> Answer:
        return self.script.pop(0) if self.script else self.answer

    def _take(self, body: Body, _principal: Principal, ticket: Ticket) -> None:
        answer = self.decide(body)
        if answer is not None:
            threading.Thread(target=self._resolve, args=(ticket, answer), name="fake-intake", daemon=True).start()

    def _resolve(self, ticket: Ticket, answer: Answer) -> None:
        if self._open.wait(HOLD_SECS):
            ticket.resolve(answer)
