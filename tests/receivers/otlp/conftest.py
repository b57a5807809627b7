"""
An OTLP receiver over an intake that answers what the test says, on a free port, and clients of it.
"""

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import grpc
import pytest
import structlog

from meterline.api import Answer, Format, Principal, ReceiverContext, Status, SystemClock, Ticket
from meterline.receivers.otlp import OtlpReceiver

METRICS = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export"
LOGS = "/opentelemetry.proto.collector.logs.v1.LogsService/Export"
LOCAL = (("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0))


@dataclass
class FakeIntake:
    """
    Answers each body at once with ``answer`` (or raises it), and keeps what it was given.
    """

    answer: Answer | Exception = field(default_factory=lambda: Answer(Status.STORED, points=1))
    budget: int = 2**40
    ready: bool = True
    bodies: list[bytes] = field(default_factory=list)
    seen: list[tuple[Format, str, Principal]] = field(default_factory=list)
    gate: threading.Event = field(default_factory=threading.Event)
    used: int = 0
    peak: int = 0
    lock: Any = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self.gate.set()

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
        self, body: bytes, fmt: Format, receiver: str, principal: Principal, ticket: Ticket, *, remember: Any = None
    ) -> None:
        self.bodies.append(body)
        self.seen.append((fmt, receiver, principal))
        self.gate.wait(20)
        if isinstance(self.answer, Exception):
            raise self.answer
        ticket.resolve(self.answer)


@pytest.fixture
def intake() -> FakeIntake:
    """
    Return an intake that stores everything.
    """
    return FakeIntake()


Start = Callable[..., OtlpReceiver]


@pytest.fixture
def start(intake: FakeIntake) -> Iterator[Start]:
    """
    Return a function that starts a receiver with these keys under ``grpc``; all are stopped at the end.
    """
    started: list[OtlpReceiver] = []

    def make(**grpc_keys: Any) -> OtlpReceiver:
        keys = {"endpoint": "127.0.0.1:0", **grpc_keys}
        config = OtlpReceiver.Config.model_validate({"type": "otlp", "grpc": keys})
        receiver = OtlpReceiver("otlp", config, ReceiverContext(intake, SystemClock(), structlog.get_logger()))
        started.append(receiver)
        receiver.start()
        return receiver

    yield make
    intake.gate.set()
    for receiver in started:
        receiver.stop(5)


Connect = Callable[..., grpc.Channel]


@pytest.fixture
def connect() -> Iterator[Connect]:
    """
    Return a function that opens a plain-text channel of its own to a receiver; all are closed at the end.
    """
    channels: list[grpc.Channel] = []

    def make(receiver: OtlpReceiver, **options: Any) -> grpc.Channel:
        channel = grpc.insecure_channel(receiver.endpoints["grpc"], options=LOCAL, **options)
        channels.append(channel)
        return channel

    yield make
    for channel in channels:
        channel.close()


def eventually(holds: Callable[[], bool], timeout_secs: float = 10.0) -> bool:
    """
    Ask until it holds, or until the time is over.
    """
    deadline = time.monotonic() + timeout_secs
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


@pytest.fixture
def poll() -> Callable[..., bool]:
    """
    Return ``eventually``.
    """
    return eventually
