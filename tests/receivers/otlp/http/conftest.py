"""
An OTLP receiver over HTTP before an intake that answers what the test says, and a client of it.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.client import HTTPConnection
from typing import Any

import pytest
import structlog

from meterline.api import Answer, Body, Format, Principal, ReceiverContext, Status, SystemClock, Ticket
from meterline.receivers.otlp import OtlpReceiver

PROTOBUF = "application/x-protobuf"


@dataclass
class FakeIntake:
    """
    Answers each body with ``answers`` by its format, or else ``answer``, and keeps what it was given.
    """

    answer: Answer = field(default_factory=lambda: Answer(Status.STORED, points=1))
    answers: dict[Format, Answer] = field(default_factory=dict)
    bodies: list[Body] = field(default_factory=list)
    principals: list[Principal] = field(default_factory=list)
    ready: bool = True

    def reserve(self, nbytes: int) -> bool:
        return True

    def release(self, nbytes: int) -> None:
        pass

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
        self.bodies.append(Body(fmt, body))
        self.principals.append(principal)
        ticket.resolve(self.answers.get(fmt, self.answer))


@dataclass(frozen=True)
class Got:
    """
    An answer.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def media_type(self) -> str:
        return self.headers.get("content-type", "")


class Client:
    """
    Requests to one receiver.
    """

    def __init__(self, endpoint: str) -> None:
        self._endpoint = endpoint

    def post(
        self, path: str, body: bytes = b"", media_type: str | None = PROTOBUF, method: str = "POST", **headers: str
    ) -> Got:
        """
        Send one request; ``_`` in a header's name stands for ``-``.
        """
        http = HTTPConnection(self._endpoint, timeout=20)
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if media_type is not None:
            sent["Content-Type"] = media_type
        try:
            http.request(method, path, body, sent)
            answer = http.getresponse()
            return Got(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())
        finally:
            http.close()


@pytest.fixture
def intake() -> FakeIntake:
    """
    Return an intake that stores everything.
    """
    return FakeIntake()


Start = Callable[..., Client]


@pytest.fixture
def start(intake: FakeIntake) -> Iterator[Start]:
    """
    Return a function that starts a receiver with these keys under ``http``, and returns a client; all stop at the end.
    """
    started: list[OtlpReceiver] = []

    def make(**keys: Any) -> Client:
        section = {"endpoint": "127.0.0.1:0", **keys}
        config = OtlpReceiver.Config.model_validate({"type": "otlp", "http": section})
        receiver = OtlpReceiver("otlp", config, ReceiverContext(intake, SystemClock(), structlog.get_logger()))
        started.append(receiver)
        receiver.start()
        return Client(receiver.endpoints["http"])

    yield make
    for receiver in started:
        receiver.stop(5)
