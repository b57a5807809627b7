"""
The receiver contract kit on Vector's native protocol, for logs and metrics, driven by grpcio from the .proto file.

PushEventsResponse is empty: points in quarantine are not counted to the sender, which the kit is told.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import grpc

from meterline._proto.vector.vector_pb2 import PushEventsRequest
from meterline.api import Receiver, ReceiverContext
from meterline.receivers.vector import VectorReceiver
from meterline.testing.grpc_connection import GrpcConnection
from meterline.testing.receivers import ID_KEY, Connection, Harness, receiver_suite

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


def nothing_more(answer: bytes) -> int:
    """
    Look at an answer that says "stored".
    """
    assert answer == b""
    return 0


class Metrics(Harness):
    """
    Incremental counters.
    """

    build = staticmethod(metrics_request)

    def receiver(self, context: ReceiverContext) -> Receiver[Any]:
        config = VectorReceiver.Config.model_validate({"type": "vector", "endpoint": "127.0.0.1:0"})
        return VectorReceiver("contract", config, context)

    def connect(self, endpoints: Mapping[str, str]) -> Connection:
        return GrpcConnection(endpoints["grpc"], PUSH, self.build, nothing_more, grpc.Compression.Gzip)


class Logs(Metrics):
    """
    Log events.
    """

    build = staticmethod(logs_request)


TestMetrics = receiver_suite(Metrics, tells_rejected=False)
TestLogs = receiver_suite(Logs, tells_rejected=False)
