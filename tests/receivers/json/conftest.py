"""
A JSON receiver on a free port, over an intake that stores everything, and one way to ask it something.
"""

import http.client
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import pytest
import structlog

from meterline.api import Answer, ReceiverContext, SystemClock
from meterline.receivers.json import JsonReceiver
from meterline.testing.fake_intake import STORED, FakeIntake

ALL = ["auto", "vector", "logstash", "fluent_bit", "cloudevents", "amplitude", "mixpanel"]


@dataclass
class Asked:
    """
    An answer.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """
        Return the body as JSON.
        """
        return json.loads(self.body)


class Door:
    """
    A receiver and its intake.
    """

    def __init__(self, receiver: JsonReceiver, intake: FakeIntake) -> None:
        self.receiver = receiver
        self.intake = intake

    def ask(self, method: str, target: str, body: bytes | str = b"", **headers: str) -> Asked:
        """
        Send one request; underscores in names of headers become hyphens.
        """
        connection = http.client.HTTPConnection(self.receiver.endpoints["http"], timeout=20)
        try:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, target, body, named)
            response = connection.getresponse()
            found = {name.lower(): value for name, value in response.getheaders()}
            return Asked(response.status, found, response.read())
        finally:
            connection.close()

    def post(self, target: str, document: Any, **headers: str) -> Asked:
        """
        Send JSON.
        """
        return self.ask("POST", target, json.dumps(document), **{"content-type": "application/json", **headers})


@pytest.fixture
def opened() -> Iterator[Callable[..., Door]]:
    """
    Return what starts a receiver with these options; all formats are on unless they say otherwise.
    """
    with ExitStack() as stack:

        def open_door(answer: Answer = STORED, **options: Any) -> Door:
            intake = FakeIntake()
            intake.answer = answer
            context = ReceiverContext(intake, SystemClock(), structlog.get_logger())
            config = {"type": "json", "endpoint": "127.0.0.1:0", "formats": ALL, **options}
            receiver = JsonReceiver("events", JsonReceiver.Config.model_validate(config), context)
            receiver.start()
            stack.callback(receiver.stop, 5)
            return Door(receiver, intake)

        yield open_door
