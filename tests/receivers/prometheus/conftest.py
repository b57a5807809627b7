"""
The write endpoint without a listener: requests handed to it, and what it makes of them.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import cramjam
import pytest
import structlog
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from meterline.api import ANONYMOUS, Answer, Format, Principal, ReceiverContext, Status
from meterline.receivers.prometheus import PrometheusReceiver
from meterline.receivers.prometheus.endpoint import WriteEndpoint
from meterline.serving.seam import Decoded, Head, Reply, Request
from meterline.testing.remote_write import request_v1, request_v2

NOW = 1_795_346_017_935_926_001
V2 = {"proto": "io.prometheus.write.v2.Request"}


class Hand:
    """
    A clock that stands still until it is moved.
    """

    def __init__(self) -> None:
        self.secs = 1000.0

    def now_ns(self) -> int:
        """
        Return the time of day.
        """
        return NOW + int((self.secs - 1000.0) * 1e9)

    def monotonic(self) -> float:
        """
        Return the time.
        """
        return self.secs


class Point(NamedTuple):
    """
    What a test looks at of a point.
    """

    name: str
    kind: str
    term: int
    value: float


class Written:
    """
    An endpoint, with what is on disk: what was remembered with stored requests.
    """

    def __init__(self, clock: Hand, state: Mapping[str, bytes], **keys: Any) -> None:
        self.clock = clock
        self.disk = dict(state)
        self._keys = {"type": "prometheus", **keys}
        self.start()

    def start(self) -> None:
        """
        Begin anew with what is on disk.
        """
        config = PrometheusReceiver.Config.model_validate(self._keys)
        context: Any = ReceiverContext(None, self.clock, structlog.get_logger(), state=dict(self.disk))  # type: ignore[arg-type]
        self.endpoint = WriteEndpoint(config, context)

    def request(self, body: bytes, *, v2: bool = False, tenant: str = "", principal: Principal = ANONYMOUS) -> Request:
        """
        Return a request as the listener hands it on.
        """
        head = Head(
            "POST", "/api/v1/write", {}, {"content-encoding": "snappy"}, "application/x-protobuf", V2 if v2 else {}
        )
        return Request(head, body, principal, tenant, self.clock.now_ns())

    def send(
        self, series: Any, *, v2: bool = False, metadata: Any = (), stored: bool = True, **keys: Any
    ) -> list[Point]:
        """
        Decode a request, and unless it is to be lost store what it asks to be remembered, and answer it.
        """
        request = self.request(request_v2(series) if v2 else request_v1(series, metadata), v2=v2, **keys)
        decoded = self.endpoint.decode(request)
        if stored:
            self.store(request, decoded)
        return points(decoded)

    def store(self, request: Request, decoded: Decoded) -> Reply:
        """
        Do what the intake does with a request that is stored.
        """
        for key, value in decoded.remember.items():
            if value:
                self.disk[key] = value
            else:
                self.disk.pop(key, None)
        return self.endpoint.answer(request, decoded, Answer(Status.STORED, 1))


def points(decoded: Decoded) -> list[Point]:
    """
    Return the points of the transcoded metrics.
    """
    found = []
    for body in decoded.bodies:
        assert body.fmt is Format.TRANSCODED_METRICS
        for metric in ExportMetricsServiceRequest.FromString(body.data).resource_metrics[0].scope_metrics[0].metrics:
            said = {pair.key: pair.value for pair in metric.metadata}
            term = said["meterline.term"].int_value if "meterline.term" in said else 0
            kind = said["prometheus.type"].string_value
            found += [Point(metric.name, kind, term, point.as_double) for point in metric.sum.data_points]
    return found


@pytest.fixture
def clock() -> Hand:
    """
    Return a clock that the test moves.
    """
    return Hand()


@pytest.fixture
def written(clock: Hand) -> Any:
    """
    Return a function that makes an endpoint with these options.
    """

    def make(state: Mapping[str, bytes] | None = None, **keys: Any) -> Written:
        return Written(clock, state or {}, **keys)

    return make


@pytest.fixture
def snappy() -> Any:
    """
    Return snappy's block compression.
    """
    return lambda body: bytes(cramjam.snappy.compress_raw(body))
