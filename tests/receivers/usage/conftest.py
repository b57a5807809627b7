"""
A usage receiver on free ports, over an intake with a real kernel behind it.
"""

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import grpc
import pytest
import structlog
import urllib3

from meterline._proto.meterline.usage.v1 import usage_pb2 as pb
from meterline.api import Answer, Body, Format, Principal, ReceiverContext, Status, SystemClock, Ticket
from meterline.errors import UndecodableError
from meterline.kernel import load_kernel
from meterline.receivers.usage import UsageReceiver
from meterline.receivers.usage.grpc_api import PATH
from meterline.testing.fake_intake import FakeIntake
from meterline.testing.kernel import SECOND, KernelHarness

NOW = 1_795_370_400 * SECOND
"""2026-11-22T18:00:00Z, when everything is received."""


class KernelIntake(FakeIntake):
    """
    Applies each body to a kernel and answers as the engine does. ``status``: in place of STORED.
    """

    def __init__(self) -> None:
        super().__init__()
        self.kernel = KernelHarness(load_kernel("python"))
        self.kernel.received_at = NOW
        self.status = Status.STORED
        self.lock = threading.Lock()

    def _take(self, body: Body, principal: Principal, ticket: Ticket) -> None:
        ticket.resolve(self._answer(body.data, body.fmt, principal))

    def _answer(self, body: bytes, fmt: Format, principal: Principal) -> Answer:
        if self.status is not Status.STORED:
            return Answer(self.status, message="as the test says")
        try:
            with self.lock:
                applied = self.kernel.send(body, fmt, principal=principal)
        except UndecodableError as error:
            return Answer(Status.UNDECODABLE, message=str(error))
        return Answer(Status.STORED, applied.points, applied.quarantined, items=applied.items)


class FixedClock(SystemClock):
    """
    A clock that says ``NOW``.
    """

    def now_ns(self) -> int:
        """Return it."""
        return NOW


@dataclass
class Site:
    """
    A running receiver and its clients.
    """

    receiver: UsageReceiver
    intake: KernelIntake
    pool: urllib3.PoolManager
    channel: Any

    @property
    def url(self) -> str:
        return f"http://{self.receiver.endpoints['http']}"

    def request(self, method: str, path: str, body: bytes = b"", **headers: str) -> urllib3.BaseHTTPResponse:
        return self.pool.request(
            method,
            self.url + path,
            body=body or None,
            headers={key.replace("_", "-"): text for key, text in headers.items()},
        )

    def post(self, data: Any, media_type: str = "application/json", **headers: str) -> urllib3.BaseHTTPResponse:
        body = data if isinstance(data, bytes) else json.dumps(data).encode()
        return self.request("POST", "/v1/usage", body, Content_Type=media_type, **headers)

    def results(self, data: Any, media_type: str = "application/json", **headers: str) -> Any:
        answer = self.post(data, media_type, **headers)
        assert answer.status == 200, answer.data
        return answer.json()["results"]

    def call(self, request: pb.RecordUsageRequest | bytes, **metadata: str) -> pb.RecordUsageResponse:
        message = request if isinstance(request, bytes) else request.SerializeToString()
        answer = self.channel.unary_unary(PATH)(message, timeout=20, metadata=tuple(metadata.items()))
        return pb.RecordUsageResponse.FromString(answer)


Make = Callable[..., Site]


@pytest.fixture
def make() -> Iterator[Make]:
    """
    Start a receiver with more options.
    """
    with ExitStack() as stack:

        def start(http: Mapping[str, Any] | None = None, **options: Any) -> Site:
            free = {"endpoint": "127.0.0.1:0"}
            config = UsageReceiver.Config.model_validate(
                {"type": "usage", "http": {**free, **(http or {})}, "grpc": {**free, **(http or {})}, **options}
            )
            intake = KernelIntake()
            receiver = UsageReceiver("usage", config, ReceiverContext(intake, FixedClock(), structlog.get_logger()))
            receiver.start()
            stack.callback(receiver.stop, 5)
            pool = stack.enter_context(urllib3.PoolManager(retries=False))
            local = (("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0))
            channel = stack.enter_context(grpc.insecure_channel(receiver.endpoints["grpc"], options=local))
            return Site(receiver, intake, pool, channel)

        yield start


@pytest.fixture
def site(make: Make) -> Site:
    """
    A receiver with its defaults.
    """
    return make()
