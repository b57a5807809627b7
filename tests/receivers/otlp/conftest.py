"""
An OTLP receiver over an intake that answers what the test says, on a free port, and clients of it.
"""

from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest
import structlog

from meterline.api import ReceiverContext, SystemClock
from meterline.receivers.otlp import OtlpReceiver
from meterline.testing.fake_intake import FakeIntake

METRICS = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export"
LOGS = "/opentelemetry.proto.collector.logs.v1.LogsService/Export"
LOCAL = (("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0))


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
