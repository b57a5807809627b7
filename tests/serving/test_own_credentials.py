"""
Credentials of one listener, on both protocols: its own in place of the top-level ones, and what a fault in checking them is.
"""

import http.client
import time
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest
import structlog

from meterline.api import ReceiverContext, SystemClock
from meterline.clock import NANOS
from meterline.receivers.otlp import OtlpReceiver
from meterline.serving.auth.keys import KeyRing
from meterline.serving.auth_config import AuthConfig
from meterline.testing.fake_intake import FakeIntake

METRICS = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export"
TOP = {"keys": [{"name": "top", "token": "of-all"}]}
OWN = {"keys": [{"name": "own", "token": "of-one"}]}
CANARY = "key-store-canary"

Start = Callable[..., OtlpReceiver]
both = pytest.mark.parametrize("protocol", ["http", "grpc"])


@pytest.fixture
def intake() -> FakeIntake:
    """
    Return an intake that stores everything.
    """
    return FakeIntake()


@pytest.fixture
def start(intake: FakeIntake) -> Iterator[Start]:
    """
    Return a function that starts a receiver under the top-level section, one protocol of which has these options.
    """
    started: list[OtlpReceiver] = []

    def run(protocol: str, **options: Any) -> OtlpReceiver:
        config = OtlpReceiver.Config.model_validate({"type": "otlp", protocol: {"endpoint": "127.0.0.1:0", **options}})
        context = ReceiverContext(intake, SystemClock(), structlog.get_logger(), auth=AuthConfig.model_validate(TOP))
        started.append(OtlpReceiver("otlp", config, context))
        started[-1].start()
        return started[-1]

    yield run
    for receiver in started:
        receiver.stop(5)


def send(receiver: OtlpReceiver, protocol: str, token: str) -> str:
    """
    Send an empty request with a key, and say what became of it. No answer has the canary in it.
    """
    address = receiver.endpoints[protocol]
    if protocol == "grpc":
        return _call(address, token)
    connection = http.client.HTTPConnection(address, timeout=30)
    connection.request("POST", "/v1/metrics", b"", {"content-type": "application/x-protobuf", "x-api-key": token})
    answer = connection.getresponse()
    assert CANARY not in f"{answer.headers}{answer.read()!r}"
    connection.close()
    return {200: "stored", 401: "refused", 503: "later"}[answer.status]


def _call(address: str, token: str) -> str:
    codes = {grpc.StatusCode.UNAUTHENTICATED: "refused", grpc.StatusCode.UNAVAILABLE: "later"}
    with grpc.insecure_channel(address, [("grpc.use_local_subchannel_pool", 1)]) as channel:
        try:
            channel.unary_unary(METRICS)(b"", metadata=(("x-api-key", token),), timeout=30)
        except grpc.RpcError as error:
            refused = error
        else:
            return "stored"
    assert CANARY not in f"{refused.details()}{refused.trailing_metadata()}"
    return codes[refused.code()]


@both
def test_a_section_of_its_own_takes_the_place_of_the_top_level_one(
    start: Start, intake: FakeIntake, protocol: str
) -> None:
    """
    With an ``auth`` of its own a listener knows nobody of the top-level one; without, nobody else.
    """
    own, default = start(protocol, auth=OWN), start(protocol)

    answers = {
        (name, token): send(receiver, protocol, token)
        for name, receiver in (("own", own), ("default", default))
        for token in ("of-one", "of-all")
    }

    assert answers == {
        ("own", "of-one"): "stored",
        ("own", "of-all"): "refused",
        ("default", "of-one"): "refused",
        ("default", "of-all"): "stored",
    }
    assert [sender.name for _, sender in intake.senders] == ["own", "top"]


@both
def test_when_a_key_was_last_used_is_a_metric(start: Start, protocol: str) -> None:
    """
    What the listener counts has it for each key that is in force there, and it is the time of the request.
    """
    receiver = start(protocol, auth={"keys": [*OWN["keys"], {"name": "own", "token": "next"}]})
    before = time.time_ns() // NANOS
    send(receiver, protocol, "next")

    used = {
        (s.labels["transport"], s.labels["key"], s.labels["place"]): s.value
        for s in receiver.samples()
        if s.name == "meterline_receiver_key_used_seconds"
    }

    assert used.keys() == {(protocol, "own", "0"), (protocol, "own", "1")}
    assert used[protocol, "own", "0"] == 0
    assert before <= used[protocol, "own", "1"] <= time.time_ns() // NANOS


@both
def test_a_fault_in_checking_is_no_wrong_credential(
    start: Start, intake: FakeIntake, monkeypatch: pytest.MonkeyPatch, protocol: str
) -> None:
    """
    While the verifier itself fails, nobody is let in, and nobody is told that the key is wrong, which senders drop on, or why.
    """
    receiver = start(protocol)

    def fail(*_: object) -> None:
        raise OSError(CANARY)

    monkeypatch.setattr(KeyRing, "find", fail)

    assert send(receiver, protocol, "of-all") == "later"
    assert intake.bodies == []
