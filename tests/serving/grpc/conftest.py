"""
A gRPC listener with methods of the test's own, over an intake that answers what the test says.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import grpc
import pytest
import structlog

from meterline.api import Answer, Body, Format, ReceiverContext, SystemClock
from meterline.serving.config import GrpcListenerConfig
from meterline.serving.listeners import OpenListeners, Registration
from meterline.serving.seam import Call, Decoded, Method
from meterline.testing.fake_intake import FakeIntake

LOCAL = (("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0))


@dataclass
class Service:
    """
    One method ``/test.<name>/Send`` that stores what it is sent; ``error`` is raised instead.
    """

    name: str = "One"
    signal: str = "events"
    error: Exception | None = None
    calls: list[Call] = field(default_factory=list)
    bodies: Callable[[bytes], tuple[Body, ...]] = lambda message: (Body(Format.OTLP_LOGS, message),)

    @property
    def path(self) -> str:
        return f"/test.{self.name}/Send"

    def decode(self, call: Call) -> Decoded:
        self.calls.append(call)
        if self.error is not None:
            raise self.error
        return Decoded(self.bodies(call.message), note="noted")

    def respond(self, call: Call, decoded: Decoded, answer: Answer) -> bytes:
        return f"{decoded.note} {answer.points}/{answer.rejected}".encode()

    def method(self) -> Method:
        return Method(self.path, self.signal, self.decode, self.respond)


@pytest.fixture
def intake() -> FakeIntake:
    """
    Return an intake that stores everything.
    """
    return FakeIntake()


@pytest.fixture
def listeners() -> OpenListeners:
    """
    Return the ports of one gateway.
    """
    return OpenListeners(SystemClock(), settled=True)


Open = Callable[..., Registration]


@pytest.fixture
def open_port(intake: FakeIntake, listeners: OpenListeners) -> Iterator[Open]:
    """
    Return a function that opens services for a receiver; all are closed at the end.
    """
    opened: list[Registration] = []

    def of(*services: Service, receiver: str = "r", top: Any = None, **keys: Any) -> Registration:
        config = GrpcListenerConfig.model_validate({"endpoint": "127.0.0.1:0", **keys})
        context = ReceiverContext(intake, SystemClock(), structlog.get_logger(), {}, listeners, top)
        registration = listeners.grpc(receiver, config, context, [each.method() for each in services])
        opened.append(registration)
        return registration

    yield of
    for registration in opened:
        registration.stop(5)


Connect = Callable[[str], grpc.Channel]


@pytest.fixture
def connect() -> Iterator[Connect]:
    """
    Return a function that opens a channel to an address; all are closed at the end.
    """
    channels: list[grpc.Channel] = []

    def to(address: str) -> grpc.Channel:
        channels.append(grpc.insecure_channel(address, options=LOCAL))
        return channels[-1]

    yield to
    for channel in channels:
        channel.close()


@pytest.fixture
def service() -> type[Service]:
    """
    Return the class of services.
    """
    return Service


@pytest.fixture
def ports(open_port: Open, connect: Connect) -> Callable[[Service], grpc.Channel]:
    """
    Return a function that opens a port for one service and a channel to it.
    """
    return lambda one: connect(open_port(one).endpoint)
