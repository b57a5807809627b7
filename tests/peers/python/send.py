"""
Send counters, a histogram and logs through the OpenTelemetry Python SDK over OTLP, in several exports.

usage: send.py TARGET NAME ROUNDS TEMPORALITY [PROTOCOL] -> prints what must be billed, as {"customer dimension": total}
PROTOCOL: grpc (default) or http/protobuf, as in OTEL_EXPORTER_OTLP_PROTOCOL; the SDK has no JSON
"""

import json
import sys
from collections import Counter as Totals

from opentelemetry._logs import LogRecord
from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter as GrpcLogs
from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter as GrpcMetrics
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter as HttpLogs
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter as HttpMetrics
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor, LogRecordExporter
from opentelemetry.sdk.metrics import Counter, Histogram, MeterProvider
from opentelemetry.sdk.metrics.export import AggregationTemporality, MetricExporter, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource


def exporters(
    target: str, temporality: AggregationTemporality, protocol: str
) -> tuple[MetricExporter, LogRecordExporter]:
    """
    Make the exporters of a protocol.
    """
    preferred = {Counter: temporality, Histogram: temporality}
    if protocol == "grpc":
        metrics = GrpcMetrics(endpoint=target, insecure=True, preferred_temporality=preferred)
        return metrics, GrpcLogs(endpoint=target, insecure=True)
    gzip = Compression.Gzip
    url = f"http://{target}/v1/"
    return (
        HttpMetrics(endpoint=f"{url}metrics", compression=gzip, preferred_temporality=preferred),
        HttpLogs(endpoint=f"{url}logs", compression=gzip),
    )


def providers(name: str, exporter: tuple[MetricExporter, LogRecordExporter]) -> tuple[MeterProvider, LoggerProvider]:
    """
    Set up the SDK so that it exports only when told to.
    """
    resource = Resource({"service.name": "python", "service.instance.id": name})
    reader = PeriodicExportingMetricReader(exporter[0], export_interval_millis=3_600_000)
    logs = LoggerProvider(resource)
    logs.add_log_record_processor(BatchLogRecordProcessor(exporter[1]))
    return MeterProvider([reader], resource), logs


def main(target: str, name: str, rounds: int, temporality: str, protocol: str = "grpc") -> None:
    """
    Send, flush after each round, and print the totals.
    """
    meters, logs = providers(name, exporters(target, AggregationTemporality[temporality], protocol))
    meter, logger = meters.get_meter("peer"), logs.get_logger("peer")
    requests = meter.create_counter("sdk.requests", unit="{request}")
    work = meter.create_counter("sdk.work", unit="s")
    sizes = meter.create_histogram("sdk.size", unit="By")
    totals: Totals[str] = Totals()
    for turn in range(1, rounds + 1):
        for index in range(5):
            customer = f"{name}-{index}"
            attributes = {"customer.id": customer}
            requests.add(turn * 7 + index, attributes)
            work.add(turn / 4, attributes)
            sizes.record(turn * 100 + index, attributes)
            event = {**attributes, "event": "call", "event.id": f"{name}/{turn}/{index}", "amount": turn}
            logger.emit(LogRecord(body="call", attributes=event))
            totals[f"{customer} requests"] += turn * 7 + index
            totals[f"{customer} work"] += turn / 4  # type: ignore[assignment]
            totals[f"{customer} size"] += turn * 100 + index
            totals[f"{customer} calls"] += turn
        meters.force_flush()
        logs.force_flush()
    meters.shutdown()
    logs.shutdown()  # type: ignore[no-untyped-call]
    print(json.dumps(totals))  # noqa: T201 - what a test reads


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), *sys.argv[4:6])
