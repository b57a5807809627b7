"""
Send counters, a histogram and logs through the OpenTelemetry Python SDK over OTLP/gRPC, in several exports.

usage: send.py TARGET NAME ROUNDS TEMPORALITY -> prints what must be billed, as {"customer dimension": total}
"""

import json
import sys
from collections import Counter as Totals

from opentelemetry._logs import LogRecord
from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.metrics import Counter, Histogram, MeterProvider
from opentelemetry.sdk.metrics.export import AggregationTemporality, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource


def providers(target: str, name: str, temporality: AggregationTemporality) -> tuple[MeterProvider, LoggerProvider]:
    """
    Set up the SDK so that it exports only when told to.
    """
    resource = Resource({"service.name": "python", "service.instance.id": name})
    preferred = {Counter: temporality, Histogram: temporality}
    exporter = OTLPMetricExporter(endpoint=target, insecure=True, preferred_temporality=preferred)
    reader = PeriodicExportingMetricReader(exporter, export_interval_millis=3_600_000)
    logs = LoggerProvider(resource)
    logs.add_log_record_processor(BatchLogRecordProcessor(OTLPLogExporter(endpoint=target, insecure=True)))
    return MeterProvider([reader], resource), logs


def main(target: str, name: str, rounds: int, temporality: str) -> None:
    """
    Send, flush after each round, and print the totals.
    """
    meters, logs = providers(target, name, AggregationTemporality[temporality])
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
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4])
