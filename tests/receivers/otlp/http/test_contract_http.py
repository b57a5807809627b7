"""
The receiver contract kit on OTLP over HTTP: protobuf and JSON, each signal, with every request compressed another way.
"""

import gzip
import itertools
import json
import zlib
from collections.abc import Callable, Mapping, Sequence
from http.client import HTTPConnection
from typing import Any, ClassVar

import zstandard
from google.rpc import code_pb2, status_pb2
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest, ExportLogsServiceResponse
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)

from meterline.api import Receiver, ReceiverContext
from meterline.receivers.otlp import OtlpReceiver
from meterline.testing.receivers import ID_KEY, Connection, Fate, Harness, Reply, receiver_suite

PROTOBUF, JSON = "application/x-protobuf", "application/json"
COMPRESSIONS: Mapping[str, Callable[[bytes], bytes]] = {
    "": bytes,
    "gzip": gzip.compress,
    "zstd": zstandard.compress,
    "deflate": zlib.compress,
}
FATES = {503: (Fate.AGAIN, code_pb2.UNAVAILABLE), 400: (Fate.REFUSED, code_pb2.INVALID_ARGUMENT)}


def attributes(point_id: str) -> list[dict[str, Any]]:
    """
    Return the attributes of a point in JSON.
    """
    return [{"key": ID_KEY, "value": {"stringValue": point_id}}]


def json_request(signal: str, ids: Sequence[str]) -> bytes:
    """
    Return a request with one point for each id, in JSON.
    """
    if signal == "logs":
        records = [{"timeUnixNano": "1", "attributes": attributes(point_id)} for point_id in ids]
        return json.dumps({"resourceLogs": [{"scopeLogs": [{"logRecords": records}]}]}).encode()
    points = [
        {"startTimeUnixNano": "1", "timeUnixNano": 2 + number, "asInt": "1", "attributes": attributes(point_id)}
        for number, point_id in enumerate(ids)
    ]
    metric = {"name": "calls", "sum": {"aggregationTemporality": 1, "dataPoints": points}}
    return json.dumps({"resourceMetrics": [{"scopeMetrics": [{"metrics": [metric]}]}]}).encode()


def protobuf_request(signal: str, ids: Sequence[str]) -> bytes:
    """
    Return the same in protobuf.
    """
    if signal == "logs":
        logs = ExportLogsServiceRequest()
        scope = logs.resource_logs.add().scope_logs.add()
        for point_id in ids:
            scope.log_records.add(time_unix_nano=1).attributes.add(key=ID_KEY).value.string_value = point_id
        return logs.SerializeToString()
    request = ExportMetricsServiceRequest()
    metric = request.resource_metrics.add().scope_metrics.add().metrics.add(name="calls")
    metric.sum.aggregation_temporality = 1
    for number, point_id in enumerate(ids):
        point = metric.sum.data_points.add(time_unix_nano=2 + number, start_time_unix_nano=1, as_int=1)
        point.attributes.add(key=ID_KEY).value.string_value = point_id
    return request.SerializeToString()


class _Client(Connection):
    def __init__(self, endpoint: str, signal: str, media_type: str) -> None:
        self._http = HTTPConnection(endpoint, timeout=20)
        self._signal = signal
        self._media_type = media_type
        self._compressions = itertools.cycle(COMPRESSIONS)

    def send(self, ids: Sequence[str]) -> Reply:
        make = json_request if self._media_type == JSON else protobuf_request
        compression = next(self._compressions)
        headers = {"Content-Type": self._media_type}
        if compression:
            headers["Content-Encoding"] = compression
        body = COMPRESSIONS[compression](make(self._signal, ids))
        self._http.request("POST", f"/v1/{self._signal}", body, headers)
        answer = self._http.getresponse()
        content = answer.read()
        assert answer.headers["content-type"] == self._media_type
        if answer.status == 200:
            return Reply(Fate.STORED, self._rejected(content))
        fate, code = FATES[answer.status]
        assert self._code(content) == code
        assert ("retry-after" in answer.headers) == (fate is Fate.AGAIN)
        return Reply(fate)

    def _rejected(self, content: bytes) -> int:
        if self._media_type == JSON:
            name = "rejectedLogRecords" if self._signal == "logs" else "rejectedDataPoints"
            return int(json.loads(content).get("partialSuccess", {}).get(name, "0"))
        if self._signal == "logs":
            return ExportLogsServiceResponse.FromString(content).partial_success.rejected_log_records
        return ExportMetricsServiceResponse.FromString(content).partial_success.rejected_data_points

    def _code(self, content: bytes) -> int:
        code: int = (
            json.loads(content)["code"] if self._media_type == JSON else status_pb2.Status.FromString(content).code
        )
        return code

    def close(self) -> None:
        self._http.close()


class _Http(Harness):
    signal: ClassVar = "metrics"
    media_type: ClassVar = PROTOBUF

    def receiver(self, context: ReceiverContext) -> Receiver[Any]:
        config = OtlpReceiver.Config.model_validate({"type": "otlp", "http": {"endpoint": "127.0.0.1:0"}})
        return OtlpReceiver("contract", config, context)

    def connect(self, endpoints: Mapping[str, str]) -> Connection:
        return _Client(endpoints["http"], self.signal, self.media_type)


class ProtobufMetrics(_Http):
    """
    Metrics in protobuf.
    """


class JsonMetrics(_Http):
    """
    Metrics in JSON.
    """

    media_type = JSON


class ProtobufLogs(_Http):
    """
    Logs in protobuf.
    """

    signal = "logs"


class JsonLogs(_Http):
    """
    Logs in JSON.
    """

    signal = "logs"
    media_type = JSON


TestProtobufMetrics = receiver_suite(ProtobufMetrics)
TestJsonMetrics = receiver_suite(JsonMetrics)
TestProtobufLogs = receiver_suite(ProtobufLogs)
TestJsonLogs = receiver_suite(JsonLogs)
