"""
Records as OTLP requests. Pure, and byte-identical for the same records.

Logs are the default, since every value has its exact decimal text there. A metric point holds an int64 or a double: a value
that is neither, to the last digit, is refused.
"""

from collections.abc import Callable, Sequence
from typing import Any

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.metrics.v1.metrics_pb2 import AGGREGATION_TEMPORALITY_DELTA, Metric, NumberDataPoint

from meterline.api import Quantity, UsageRecord

NAME = "meterline.usage"
"""Name of the scope, of the event that a log is, and of the metric."""

NOT_REPRESENTABLE = "not_representable"

_INT64 = range(-(2**63), 2**63)


def logs_request(records: Sequence[UsageRecord], ledger_id: str) -> bytes:
    """
    Return an ExportLogsServiceRequest with one log record per usage record.
    """
    request = ExportLogsServiceRequest()
    resource = request.resource_logs.add()
    _describe(resource.resource, ledger_id)
    scope = resource.scope_logs.add()
    scope.scope.name = NAME
    for record in records:
        log = scope.log_records.add(
            time_unix_nano=record.timestamp, observed_time_unix_nano=record.timestamp, event_name=NAME
        )
        text = _texts(log.attributes)
        _attributes(record, text)
        text("usage.value", str(record.value))
        if record.start_timestamp is not None:
            log.attributes.add(key="usage.start_time_unix_nano").value.int_value = record.start_timestamp
    return request.SerializeToString(deterministic=True)


def metrics_request(records: Sequence[UsageRecord], ledger_id: str) -> bytes:
    """
    Return an ExportMetricsServiceRequest with one delta sum point per usage record, each of which ``fits``.
    """
    request = ExportMetricsServiceRequest()
    resource = request.resource_metrics.add()
    _describe(resource.resource, ledger_id)
    scope = resource.scope_metrics.add()
    scope.scope.name = NAME
    for monotonic in (True, False):
        chosen = [record for record in records if (record.value.units >= 0) is monotonic]
        if chosen:
            metric = scope.metrics.add(name=NAME)
            _delta_sum(metric, chosen, monotonic=monotonic)
    return request.SerializeToString(deterministic=True)


def fits(value: Quantity) -> bool:
    """
    Say whether a metric point can hold this very value.
    """
    return (value.is_integral and int(value) in _INT64) or value.as_double() is not None


def _delta_sum(metric: Metric, records: Sequence[UsageRecord], *, monotonic: bool) -> None:
    metric.sum.aggregation_temporality = AGGREGATION_TEMPORALITY_DELTA
    metric.sum.is_monotonic = monotonic
    for record in records:
        start = record.start_timestamp or 0
        point = metric.sum.data_points.add(time_unix_nano=record.timestamp, start_time_unix_nano=start)
        _attributes(record, _texts(point.attributes))
        _set_value(point, record.value)


def _set_value(point: NumberDataPoint, value: Quantity) -> None:
    if value.is_integral and int(value) in _INT64:
        point.as_int = int(value)
        return
    double = value.as_double()
    if double is None:
        raise ValueError(f"encoding value {value}: neither an int64 nor a double")
    point.as_double = double


def _attributes(record: UsageRecord, text: Callable[[str, str], None]) -> None:
    text("usage.id", record.id)
    text("usage.customer_id", record.customer_id)
    text("usage.dimension_id", record.dimension_id)
    text("usage.rule", record.rule)
    text("usage.kind", record.kind)
    text("usage.source.receiver", record.source.receiver)
    if record.source.stream is not None:
        text("usage.source.stream", record.source.stream)
    text("usage.source.principal", record.source.principal)
    text("usage.source.rules_hash", record.source.rules_hash)
    for key, value in record.metadata.items():
        text(f"usage.metadata.{key}", value)


def _texts(attributes: Any) -> Callable[[str, str], None]:
    def add(key: str, value: str) -> None:
        attributes.add(key=key).value.string_value = value

    return add


def _describe(resource: Any, ledger_id: str) -> None:
    text = _texts(resource.attributes)
    text("service.name", "meterline")
    text("meterline.ledger.id", ledger_id)
