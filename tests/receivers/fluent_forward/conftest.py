"""
A receiver of the forward protocol over an intake that answers what the test says, on a free port.
"""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import structlog

from meterline.api import ReceiverContext, SystemClock
from meterline.receivers.fluent_forward import FluentForwardReceiver
from meterline.testing.fake_intake import FakeIntake
from meterline.testing.forward_client import ForwardClient


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
    assert intake.in_flight == 0, f"{intake.in_flight} bytes are still reserved"


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
