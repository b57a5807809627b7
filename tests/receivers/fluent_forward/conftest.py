"""
A receiver of the forward protocol over an intake that answers what the test says, on a free port.
"""

import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
import structlog
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from meterline._proto.meterline.intake.v1.rejects_pb2 import Reject, Rejects
from meterline.api import Answer, Format, Principal, ReceiverContext, Status, SystemClock, Ticket
from meterline.receivers.fluent_forward import FluentForwardReceiver
from meterline.testing.forward_client import ForwardClient

Decide = Callable[[bytes], Answer | None]


def stored(_body: bytes) -> Answer:
    """
    Decide that it is stored.
    """
    return Answer(Status.STORED, points=1)


@dataclass
class FakeIntake:
    """
    Answers each body at once with what ``decide`` says (None: never), and keeps what it was given.
    """

    decide: Decide = stored
    budget: int = 2**40
    ready: bool = True
    bodies: list[tuple[Format, bytes]] = field(default_factory=list)
    senders: list[tuple[str, Principal]] = field(default_factory=list)
    used: int = 0
    peak: int = 0
    lock: Any = field(default_factory=threading.Lock)

    def reserve(self, nbytes: int) -> bool:
        with self.lock:
            if self.used + nbytes > self.budget:
                return False
            self.used += nbytes
            self.peak = max(self.peak, self.used)
            return True

    def release(self, nbytes: int) -> None:
        with self.lock:
            self.used -= nbytes

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
        assert not remember
        self.bodies.append((fmt, body))
        self.senders.append((receiver, principal))
        answer = self.decide(body)
        if answer is not None:
            ticket.resolve(answer)

    @property
    def records(self) -> list[Any]:
        """
        Return the log records of all bodies.
        """
        requests = [ExportLogsServiceRequest.FromString(body) for fmt, body in self.bodies if fmt is Format.OTLP_LOGS]
        return [
            record
            for request in requests
            for resource in request.resource_logs
            for scope in resource.scope_logs
            for record in scope.log_records
        ]

    @property
    def rejects(self) -> list[Reject]:
        """
        Return the rejects of all bodies.
        """
        return [
            reject for fmt, body in self.bodies if fmt is Format.REJECTS for reject in Rejects.FromString(body).rejects
        ]


@pytest.fixture
def intake() -> FakeIntake:
    """
    Return an intake that stores everything.
    """
    return FakeIntake()


Start = Callable[..., FluentForwardReceiver]


@pytest.fixture
def start(intake: FakeIntake) -> Iterator[Start]:
    """
    Return a function that starts a receiver with these options; all are stopped at the end, and nothing stays reserved.
    """
    started: list[FluentForwardReceiver] = []

    def run(*, top_auth: Any = None, **options: Any) -> FluentForwardReceiver:
        config = FluentForwardReceiver.Config.model_validate(
            {"type": "fluent_forward", "endpoint": "127.0.0.1:0", **options}
        )
        context = ReceiverContext(intake, SystemClock(), structlog.get_logger(), auth=top_auth)
        receiver = FluentForwardReceiver("fluent", config, context)
        receiver.start()
        started.append(receiver)
        return receiver

    yield run
    for receiver in started:
        receiver.stop(0.5)
    assert intake.used == 0, f"{intake.used} bytes are still reserved"


@pytest.fixture
def connect() -> Iterator[Callable[..., ForwardClient]]:
    """
    Return a function that connects to a receiver.
    """
    clients: list[ForwardClient] = []

    def open_one(receiver: FluentForwardReceiver, **options: Any) -> ForwardClient:
        clients.append(ForwardClient(receiver.endpoints["forward"], **options))
        return clients[-1]

    yield open_one
    for client in clients:
        client.close()
