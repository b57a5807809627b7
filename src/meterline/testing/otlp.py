"""
OTLP requests in a line or two, for tests: made with opentelemetry-proto, which shares no code with the kernel's walk.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

DELTA = 1
CUMULATIVE = 2
SECOND = 10**9


@dataclass(frozen=True)
class Point:
    """
    A number point: times in seconds (``start`` 0: unset), an int or a float or None, and attributes.

    ``point_id``: the identity of its own that transcoded points may have, as the trace id of an exemplar.
    """

    start: float
    time: float
    value: int | float | None
    attributes: Mapping[str, Any] = field(default_factory=lambda: {"customer.id": "acme"})
    flags: int = 0
    point_id: bytes = b""


def put_value(target: Any, value: Any) -> None:
    """
    Fill an AnyValue message.
    """
    if isinstance(value, bool):
        target.bool_value = value
    elif isinstance(value, int):
        target.int_value = value
    elif isinstance(value, float):
        target.double_value = value
    elif isinstance(value, str):
        target.string_value = value
    elif isinstance(value, bytes):
        target.bytes_value = value
    elif isinstance(value, Mapping):
        target.kvlist_value.SetInParent()
        put_attributes(target.kvlist_value.values, value)
    elif value is not None:
        target.array_value.SetInParent()
        for item in value:
            put_value(target.array_value.values.add(), item)


def plain(value: Any) -> Any:
    """
    Read an AnyValue message back as plain data.
    """
    kind = value.WhichOneof("value")
    if kind == "kvlist_value":
        return {pair.key: plain(pair.value) for pair in value.kvlist_value.values}
    if kind == "array_value":
        return [plain(item) for item in value.array_value.values]
    return None if kind is None else getattr(value, kind)


def put_attributes(target: Any, attributes: Mapping[str, Any]) -> None:
    """
    Fill a repeated KeyValue field.
    """
    for key, value in attributes.items():
        entry = target.add(key=key)
        put_value(entry.value, value)


def put_point(target: Any, point: Point) -> None:
    """
    Fill a NumberDataPoint message.
    """
    target.start_time_unix_nano = round(point.start * SECOND)
    target.time_unix_nano = round(point.time * SECOND)
    target.flags = point.flags
    if isinstance(point.value, int):
        target.as_int = point.value
    elif point.value is not None:
        target.as_double = point.value
    if point.point_id:
        target.exemplars.add(trace_id=point.point_id)
    put_attributes(target.attributes, point.attributes)


class Metrics:
    """
    A metrics request that is built up; ``bytes(...)`` gives the body.
    """

    def __init__(self, resource: Mapping[str, Any] | None = None, scope: str = "test") -> None:
        """
        Begin with one resource and one scope.
        """
        self.message = ExportMetricsServiceRequest()
        self._resource = self.message.resource_metrics.add()
        put_attributes(self._resource.resource.attributes, resource or {"service.name": "shop"})
        self._scope = self._resource.scope_metrics.add()
        self._scope.scope.name = scope

    def metric(self, name: str, unit: str = "") -> Any:
        """
        Add a metric without data; return its message.
        """
        return self._scope.metrics.add(name=name, unit=unit)

    def sum(
        self,
        points: Iterable[Point],
        *,
        name: str = "requests",
        temporality: int = CUMULATIVE,
        monotonic: bool = True,
        unit: str = "",
        metadata: Mapping[str, Any] | None = None,
    ) -> "Metrics":
        """
        Add a sum.
        """
        metric = self.metric(name, unit)
        put_attributes(metric.metadata, metadata or {})
        data = metric.sum
        data.aggregation_temporality = temporality
        data.is_monotonic = monotonic
        for point in points:
            put_point(data.data_points.add(), point)
        return self

    def gauge(self, points: Iterable[Point], *, name: str = "level") -> "Metrics":
        """
        Add a gauge.
        """
        data = self.metric(name).gauge
        data.SetInParent()
        for point in points:
            put_point(data.data_points.add(), point)
        return self

    @staticmethod
    def message_of(body: bytes) -> Any:
        """
        Return the one metric of a request of one.
        """
        (metric,) = ExportMetricsServiceRequest.FromString(body).resource_metrics[0].scope_metrics[0].metrics
        return metric

    def __bytes__(self) -> bytes:
        return self.message.SerializeToString()


class Logs:
    """
    A logs request that is built up; ``bytes(...)`` gives the body.
    """

    def __init__(self, resource: Mapping[str, Any] | None = None) -> None:
        """
        Begin with one resource and one scope.
        """
        self.message = ExportLogsServiceRequest()
        resource_logs = self.message.resource_logs.add()
        put_attributes(resource_logs.resource.attributes, resource or {"service.name": "shop"})
        self._scope = resource_logs.scope_logs.add()

    def record(self, time: float, body: Any = None, attributes: Mapping[str, Any] | None = None, **more: Any) -> "Logs":
        """
        Add a record; ``time`` in seconds, ``more``: other fields of LogRecord.
        """
        message = self._scope.log_records.add(time_unix_nano=round(time * SECOND), **more)
        if body is not None:
            put_value(message.body, body)
        put_attributes(message.attributes, attributes if attributes is not None else {"customer.id": "acme"})
        return self

    def __bytes__(self) -> bytes:
        return self.message.SerializeToString()
