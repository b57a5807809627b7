"""
An OTLP/gRPC server that keeps requests as they came, told by the test how to answer.
"""

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Final

import grpc
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from meterline.testing.rig import utc

LOGS: Final = "/opentelemetry.proto.collector.logs.v1.LogsService/Export"
METRICS: Final = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export"

Behaviour = Callable[["OtlpRequest", grpc.ServicerContext], bytes]


@dataclass(frozen=True, slots=True)
class OtlpRequest:
    """
    One call: its method, its metadata, its body.
    """

    method: str
    metadata: Mapping[str, str | bytes]
    body: bytes


def accept(_request: OtlpRequest, _context: grpc.ServicerContext) -> bytes:
    """
    Take everything.
    """
    return b""


@dataclass
class OtlpServer:
    """
    Listens on a free port of 127.0.0.1. ``requests`` holds each call with a body before ``behave`` answers it; one
    without, with which a client tries the connection, is for ``greet`` alone.
    """

    behave: Behaviour = accept
    greet: Behaviour = accept
    credentials: grpc.ServerCredentials | None = None
    requests: list[OtlpRequest] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._server = grpc.server(ThreadPoolExecutor(4))
        self._server.add_generic_rpc_handlers((_Handler(self),))
        if self.credentials is None:
            port = self._server.add_insecure_port("127.0.0.1:0")
        else:
            port = self._server.add_secure_port("127.0.0.1:0", self.credentials)
        self.endpoint = f"127.0.0.1:{port}"
        self._server.start()

    def close(self) -> None:
        """
        Stop at once.
        """
        self._server.stop(0).wait(10)


class _Handler(grpc.GenericRpcHandler):
    def __init__(self, server: OtlpServer) -> None:
        self._server = server

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> "grpc.RpcMethodHandler[Any, Any]":
        method = handler_call_details.method

        def export(body: bytes, context: grpc.ServicerContext) -> bytes:
            request = OtlpRequest(method, dict(context.invocation_metadata()), body)
            if not body:
                return self._server.greet(request, context)
            self._server.requests.append(request)
            return self._server.behave(request, context)

        return grpc.unary_unary_rpc_method_handler(export)


def records_in(request: OtlpRequest) -> Iterator[dict[str, Any]]:
    """
    Yield what a request of the ``otlp`` exporter says of each record, as the documented JSON; values as text.
    """
    return _from_logs(request.body) if request.method == LOGS else _from_metrics(request.body)


def _from_logs(body: bytes) -> Iterator[dict[str, Any]]:
    for resource in ExportLogsServiceRequest.FromString(body).resource_logs:
        for scope in resource.scope_logs:
            for log in scope.log_records:
                fields = {pair.key: pair.value for pair in log.attributes}
                value = fields.pop("usage.value").string_value
                start = fields.pop("usage.start_time_unix_nano", None)
                yield _record(fields, value, log.time_unix_nano, None if start is None else start.int_value)


def _from_metrics(body: bytes) -> Iterator[dict[str, Any]]:
    for resource in ExportMetricsServiceRequest.FromString(body).resource_metrics:
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                for point in metric.sum.data_points:
                    fields = {pair.key: pair.value for pair in point.attributes}
                    value = str(point.as_int) if point.WhichOneof("value") == "as_int" else repr(point.as_double)
                    yield _record(fields, value, point.time_unix_nano, point.start_time_unix_nano or None)


def _record(fields: Mapping[str, Any], value: str, time: int, start: int | None) -> dict[str, Any]:
    texts = {key.removeprefix("usage."): any_value.string_value for key, any_value in fields.items()}
    prefix = "metadata."
    source = {name: texts.get(f"source.{name}") for name in ("receiver", "stream", "principal", "rules_hash")}
    return {
        **{name: texts[name] for name in ("id", "customer_id", "dimension_id", "rule", "kind")},
        "value": value,
        "timestamp": utc(time),
        "start_timestamp": None if start is None else utc(start),
        "metadata": {key.removeprefix(prefix): text for key, text in texts.items() if key.startswith(prefix)},
        "source": source,
    }
