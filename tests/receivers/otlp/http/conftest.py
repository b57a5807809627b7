"""
An OTLP receiver over HTTP before an intake that answers what the test says, and a client of it.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from http.client import HTTPConnection
from typing import Any

import pytest
import structlog

from meterline.api import ReceiverContext, SystemClock
from meterline.receivers.otlp import OtlpReceiver
from meterline.testing.fake_intake import FakeIntake

PROTOBUF = "application/x-protobuf"


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
