"""
Rates at the doors themselves: one account for all ports of a gateway, whatever is spoken there.
"""

import gzip
import http.client
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import grpc
import msgpack
import pytest
import structlog

from meterline.api import Answer, ReceiverContext, Status, SystemClock
from meterline.plugins import load_receiver
from meterline.serving.auth_config import AuthConfig
from meterline.serving.listeners import OpenListeners
from meterline.testing.fake_intake import FakeIntake
from meterline.testing.forward_client import ForwardClient

METRICS = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export"
DOORS = ("http", "grpc", "forward")
STORED, LATER, OTHER = "stored", "later", "refused for good"
ONE_REQUEST = {"requests": 1, "bytes": 50, "points": 4}
"""What a request of 5 points in 100 bytes uses up, of each kind of rate, while the clock stands."""


class StoodClock:
    """
    A clock that stands: nothing is paid off, however slow the machine is.
    """

    def monotonic(self) -> float:
        return 0.0

    def now_ns(self) -> int:
        return 0


@dataclass
class Site:
    """
    The receivers `otlp` and `fluent_forward` of one gateway, and one principal that all of them know.
    """

    intake: FakeIntake
    addresses: dict[str, str]

    def send(self, door: str, body: bytes) -> str:
        """
        Send once, gzipped, and say what became of it.
        """
        return getattr(self, f"_{door}")(self.addresses[door], body)  # type: ignore[no-any-return]

    @staticmethod
    def _http(address: str, body: bytes) -> str:
        connection = http.client.HTTPConnection(address, timeout=30)
        headers = {"content-type": "application/x-protobuf", "content-encoding": "gzip", "x-api-key": "t"}
        connection.request("POST", "/v1/metrics", gzip.compress(body), headers)
        status = connection.getresponse().status
        connection.close()
        return {200: STORED, 503: LATER}.get(status, OTHER)

    @staticmethod
    def _grpc(address: str, body: bytes) -> str:
        with grpc.insecure_channel(address, [("grpc.use_local_subchannel_pool", 1)], grpc.Compression.Gzip) as channel:
            try:
                channel.unary_unary(METRICS)(body, metadata=(("x-api-key", "t"),), timeout=30)
            except grpc.RpcError as error:
                return LATER if error.code() is grpc.StatusCode.UNAVAILABLE else OTHER
        return STORED

    @staticmethod
    def _forward(address: str, body: bytes) -> str:
        """
        The protocol has no words for "later": within message_timeout_secs nothing is acknowledged, and then it ends.
        """
        entries = gzip.compress(msgpack.packb([1_795_346_017, {"filler": body.hex()}]))
        with ForwardClient(address) as client:
            client.log_in("t")
            client.send(msgpack.packb(["tag", entries, {"compressed": "gzip", "chunk": "c"}]))
            return STORED if client.receive() == {"ack": "c"} else LATER


Open = Callable[[dict[str, Any]], Site]


@pytest.fixture
def opened() -> Iterator[Open]:
    """
    Return a function that opens the doors for a principal with these limits.
    """
    receivers: list[Any] = []

    def start(name: str, options: dict[str, Any], context: ReceiverContext) -> Any:
        kind = load_receiver(name)
        receivers.append(kind(name, kind.Config.model_validate({"type": name, **options}), context))
        receivers[-1].start()
        return receivers[-1].endpoints

    def run(limits: dict[str, Any]) -> Site:
        intake, listeners = FakeIntake(), OpenListeners(StoodClock(), settled=True)
        intake.answer = Answer(Status.STORED, points=5)
        key = {"name": "a", "token": "t", "limits": limits}
        auth = AuthConfig.model_validate({"keys": [key]})
        context = ReceiverContext(intake, SystemClock(), structlog.get_logger(), {}, listeners, auth)
        port = {"endpoint": "127.0.0.1:0"}
        found = dict(start("otlp", {"http": port, "grpc": port}, context))
        found |= start("fluent_forward", {**port, "auth": {"shared_key": key}, "message_timeout_secs": 0.3}, context)
        return Site(intake, found)

    yield run
    for receiver in receivers:
        receiver.stop(1)


@pytest.mark.parametrize("kind", ONE_REQUEST)
@pytest.mark.parametrize("first", DOORS)
def test_what_is_spent_at_one_door_is_spent_at_all(opened: Open, first: str, kind: str) -> None:
    """
    Requests, decompressed bytes and points of one request by any protocol are the debt of its principal at every other.
    """
    site = opened({f"max_{kind}_per_sec": ONE_REQUEST[kind]})

    assert site.send(first, b"\x0a" * 100) == STORED
    assert {door: site.send(door, b"\x0a" * 100) for door in DOORS} == dict.fromkeys(DOORS, LATER)
    assert len(site.intake.bodies) == 1


@pytest.mark.parametrize("door", DOORS)
def test_bytes_count_as_they_are_decompressed(opened: Open, door: str) -> None:
    """
    A request of 100 kB in a few hundred bytes of gzip costs its 100 kB.
    """
    site = opened({"max_bytes_per_sec": 10_000})

    assert site.send(door, bytes(1000)) == STORED
    assert site.send(door, bytes(100_000)) == STORED
    assert site.send(door, b"") == LATER


@pytest.mark.parametrize("door", ["http", "grpc"])
def test_bytes_of_which_nothing_can_be_made_are_spent_too(opened: Open, door: str) -> None:
    """
    Whoever sends garbage pays for it: broken bodies are no way around the rate.
    """
    site = opened({"max_bytes_per_sec": 50})
    site.intake.answer = Answer(Status.UNDECODABLE)

    assert [site.send(door, b"\xff" * 100) for _ in range(2)] == [OTHER, LATER]
