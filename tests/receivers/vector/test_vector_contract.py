"""
The receiver contract kit on Vector's native protocol, for logs and metrics, driven by grpcio from the .proto file.

PushEventsResponse is empty: points in quarantine are not counted to the sender, so that test of the kit is replaced.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import grpc
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from meterline._proto.vector.vector_pb2 import PushEventsRequest
from meterline.api import Format, Receiver, ReceiverContext
from meterline.receivers.vector import VectorReceiver
from meterline.testing.receivers import ID_KEY, Connection, Fate, Harness, Reply, receiver_suite, running
from meterline.testing.scripted_intake import Script

PUSH = "/vector.Vector/PushEvents"
NOW = 1_795_346_017


def logs_request(ids: Sequence[str]) -> bytes:
    """
    Return a request with one log event per id.
    """
    request = PushEventsRequest()
    for point_id in ids:
        log = request.events.add().log
        log.fields[ID_KEY].raw_bytes = point_id.encode()
        log.fields["timestamp"].timestamp.seconds = NOW
    return request.SerializeToString()


def metrics_request(ids: Sequence[str]) -> bytes:
    """
    Return a request with one incremental counter per id.
    """
    request = PushEventsRequest()
    for number, point_id in enumerate(ids):
        metric = request.events.add().metric
        metric.name = "calls"
        metric.counter.value = 1
        metric.timestamp.seconds = NOW + number
        metric.tags_v1[ID_KEY] = point_id
        metric.metadata_full.source_event_id = number.to_bytes(16, "big")
    return request.SerializeToString()


class _Client(Connection):
    def __init__(self, endpoint: str, build: Callable[[Sequence[str]], bytes]) -> None:
        options = (("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0))
        self._channel = grpc.insecure_channel(endpoint, options=options, compression=grpc.Compression.Gzip)
        self._call = self._channel.unary_unary(PUSH)
        self._build = build

    def send(self, ids: Sequence[str]) -> Reply:
        try:
            answer = self._call(self._build(ids), timeout=20)
        except grpc.RpcError as error:
            codes = {grpc.StatusCode.UNAVAILABLE: Fate.AGAIN, grpc.StatusCode.INVALID_ARGUMENT: Fate.REFUSED}
            return Reply(codes[error.code()])
        assert answer == b""
        return Reply(Fate.STORED)

    def close(self) -> None:
        self._channel.close()


class Metrics(Harness):
    """
    Incremental counters.
    """

    build = staticmethod(metrics_request)

    def receiver(self, context: ReceiverContext) -> Receiver[Any]:
        config = VectorReceiver.Config.model_validate({"type": "vector", "endpoint": "127.0.0.1:0"})
        return VectorReceiver("contract", config, context)

    def connect(self, endpoints: Mapping[str, str]) -> Connection:
        return _Client(endpoints["grpc"], self.build)


class Logs(Metrics):
    """
    Log events.
    """

    build = staticmethod(logs_request)

    def ids(self, body: bytes, fmt: Format) -> list[str]:
        assert fmt is Format.OTLP_LOGS
        request = ExportLogsServiceRequest.FromString(body)
        records = [log for r in request.resource_logs for s in r.scope_logs for log in s.log_records]
        fields = [{pair.key: pair.value for pair in record.body.kvlist_value.values} for record in records]
        return [str(found[ID_KEY].string_value) for found in fields]


class _Suite:
    """
    What takes the place of the kit's test that the protocol has no words for.
    """

    make: Callable[[], Harness]
    _balance: Callable[[Script], Any]

    def test_points_in_quarantine_are_counted_to_the_sender(self) -> None:
        """
        A request is answered OK when all of it is stored, be it in quarantine.
        """
        harness = self.make()
        with running(harness, Script(partial=1)) as (receiver, intake):
            connection = harness.connect(receiver.endpoints)
            assert connection.send(["1", "2"]) == Reply(Fate.STORED)
            connection.close()
        assert intake.books.quarantined.total() > 0

    def test_all_at_random(self) -> None:
        """
        With every kind of answer mixed, sent = stored + refused.
        """
        assert self._balance(Script(stored=4, retry=3, undecodable=1)).stored


class TestMetrics(_Suite, receiver_suite(Metrics)):  # type: ignore[misc]  # made by the kit
    """
    Metrics.
    """


class TestLogs(_Suite, receiver_suite(Logs)):  # type: ignore[misc]  # made by the kit
    """
    Logs.
    """
