"""
The receiver contract kit on the OTLP receiver, for each signal and compression, with raw gRPC calls.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import grpc
import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest, ExportLogsServiceResponse
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)

from meterline.api import Receiver, ReceiverContext
from meterline.receivers.otlp import OtlpReceiver
from meterline.testing.grpc_connection import GrpcConnection
from meterline.testing.receivers import (
    ID_KEY,
    Connection,
    Fate,
    Harness,
    Reply,
    Sent,
    drive,
    judge,
    receiver_suite,
    running,
)
from meterline.testing.scripted_intake import Books, Script


def metrics_request(ids: Sequence[str]) -> bytes:
    """
    Return a request with one delta sum point per id.
    """
    request = ExportMetricsServiceRequest()
    metric = request.resource_metrics.add().scope_metrics.add().metrics.add(name="calls")
    metric.sum.aggregation_temporality = 1
    for number, point_id in enumerate(ids):
        point = metric.sum.data_points.add(time_unix_nano=2 + number, start_time_unix_nano=1, as_int=1)
        point.attributes.add(key=ID_KEY).value.string_value = point_id
    return request.SerializeToString()


def logs_request(ids: Sequence[str]) -> bytes:
    """
    Return a request with one log record per id.
    """
    request = ExportLogsServiceRequest()
    scope = request.resource_logs.add().scope_logs.add()
    for point_id in ids:
        scope.log_records.add(time_unix_nano=1).attributes.add(key=ID_KEY).value.string_value = point_id
    return request.SerializeToString()


def metrics_rejected(answer: bytes) -> int:
    """
    Return how many points are in quarantine.
    """
    return ExportMetricsServiceResponse.FromString(answer).partial_success.rejected_data_points


def logs_rejected(answer: bytes) -> int:
    """
    Return how many log records are in quarantine.
    """
    return ExportLogsServiceResponse.FromString(answer).partial_success.rejected_log_records


CALLS: Mapping[str, tuple[Callable[[Sequence[str]], bytes], Callable[[bytes], int]]] = {
    "metrics": (metrics_request, metrics_rejected),
    "logs": (logs_request, logs_rejected),
}


class _Otlp(Harness):
    signal = "metrics"
    compression = grpc.Compression.NoCompression

    def receiver(self, context: ReceiverContext) -> Receiver[Any]:
        config = OtlpReceiver.Config.model_validate({"type": "otlp", "grpc": {"endpoint": "127.0.0.1:0"}})
        return OtlpReceiver("contract", config, context)

    def connect(self, endpoints: Mapping[str, str]) -> Connection:
        path = f"/opentelemetry.proto.collector.{self.signal}.v1.{self.signal.title()}Service/Export"
        return GrpcConnection(endpoints["grpc"], path, *CALLS[self.signal], self.compression)


class Metrics(_Otlp):
    """
    Metrics, plain.
    """


class GzippedLogs(_Otlp):
    """
    Logs, with gzip.
    """

    signal = "logs"
    compression = grpc.Compression.Gzip


TestMetrics = receiver_suite(Metrics)
TestGzippedLogs = receiver_suite(GzippedLogs)


class _Liar(Metrics):
    """
    A receiver that tells senders that refused requests are stored.
    """

    def connect(self, endpoints: Mapping[str, str]) -> Connection:
        client = super().connect(endpoints)

        class Lying(Connection):
            def send(self, ids: Sequence[str]) -> Reply:
                reply = client.send(ids)
                return reply if reply.fate is Fate.STORED else Reply(Fate.STORED)

            def close(self) -> None:
                client.close()

        return Lying()


@pytest.mark.parametrize("script", [Script(stored=1, retry=1), Script(stored=1, undecodable=1)])
def test_the_kit_finds_a_receiver_that_answers_stored_for_refused(script: Script) -> None:
    """
    The verdict fails when senders drop what was never stored.
    """
    harness = _Liar()
    with running(harness, script, seed=1) as (receiver, intake):
        sent = drive(harness, receiver.endpoints, seed=1)

    with pytest.raises(AssertionError, match=r"told is (stored|refused)"):
        judge(sent, intake.books)


def test_the_kit_finds_points_stored_twice() -> None:
    """
    The verdict fails when an id is in the books twice.
    """
    books = Books()
    books.stored.update(["a", "a"])

    with pytest.raises(AssertionError, match="stored twice"):
        judge(Sent(stored=["a"]), books)


def test_the_kit_finds_lost_and_invented_points() -> None:
    """
    The verdict fails when the books lack an id, and when they hold one that nobody sent.
    """
    books = Books()
    books.stored.update(["a", "b"])

    for told in (["a"], ["a", "b", "c"]):
        with pytest.raises(AssertionError, match="told is stored"):
            judge(Sent(stored=told), books)
