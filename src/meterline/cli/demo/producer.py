"""
A program such as customers run: an OpenTelemetry SDK that counts requests and logs calls, and keeps its own tally.
"""

import logging
import os
import random
import threading
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from opentelemetry._logs import SeverityNumber
from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource

CUSTOMERS = ("acme", "globex", "initech")
ROUTES = ("/v1/search", "/v1/items", "/v1/items/{id}")
TICK_SECS = 0.05
EXPORT_SECS = 0.5

Usage = tuple[str, str]
"""Customer and dimension."""


@dataclass(slots=True)
class Tally:
    """
    What was sent, counted by the sender itself: usage that must be recorded, and what must not.
    """

    usage: Counter[Usage] = field(default_factory=Counter)
    without_customer: int = 0
    repeated_logs: int = 0


class Producer:
    """
    One service instance. ``run`` works for a while; ``finish`` sends what is left and waits until it is stored.
    """

    def __init__(self, endpoint: str, seed: int) -> None:
        """
        Connect nothing yet; ``endpoint`` is host:port of an OTLP/gRPC receiver.
        """
        self.tally = Tally()
        self._random = random.Random(seed)  # noqa: S311 - made-up traffic
        resource = Resource.create({"service.name": "shop", "service.instance.id": f"demo-{seed}-{time.time_ns()}"})
        exporter = OTLPMetricExporter(endpoint=endpoint, insecure=True)
        reader = PeriodicExportingMetricReader(exporter, export_interval_millis=EXPORT_SECS * 1000)
        self._meters = MeterProvider([reader], resource, shutdown_on_exit=False)
        self._loggers = LoggerProvider(resource, shutdown_on_exit=False)
        logs = OTLPLogExporter(endpoint=endpoint, insecure=True)
        self._loggers.add_log_record_processor(BatchLogRecordProcessor(logs, schedule_delay_millis=EXPORT_SECS * 1000))
        self._requests = self._meters.get_meter("shop").create_counter("http.server.request.count", "{request}")
        self._calls = self._loggers.get_logger("shop")
        self._events = 0

    def run(self, secs: float, stop: threading.Event) -> None:
        """
        Serve made-up requests and calls until the time is over, or ``stop`` is set.
        """
        end = time.monotonic() + secs
        while time.monotonic() < end and not stop.wait(TICK_SECS):
            self._serve()
            if self._random.random() < 0.5:
                self._call()

    def finish(self) -> None:
        """
        Send what is left and close. Logs an error of the SDK's own when the gateway cannot be reached.
        """
        self._meters.shutdown()
        self._loggers.shutdown()

    def _serve(self) -> None:
        customer, count = self._random.choice(CUSTOMERS), self._random.randint(1, 20)
        route = self._random.choice(ROUTES)
        self._count(count, {"customer.id": customer, "http.route": route, "http.request.method": "GET"})
        self.tally.usage[customer, "api-requests"] += count
        self._count(1, {"customer.id": customer, "http.route": route, "http.request.method": "POST"})  # no rule: free
        if self._random.random() < 0.1:
            self._count(1, {"http.route": route, "http.request.method": "GET"})
            self.tally.without_customer += 1

    def _count(self, amount: int, attributes: Mapping[str, str]) -> None:
        self._requests.add(amount, attributes)

    def _call(self) -> None:
        self._events += 1
        customer = self._random.choice(CUSTOMERS)
        self._log(customer)
        self.tally.usage[customer, "calls"] += 1
        if self._events % 10 == 0:  # a client that retries, as they do: the same event once more
            self._log(customer)
            self.tally.repeated_logs += 1

    def _log(self, customer: str) -> None:
        self._calls.emit(
            timestamp=time.time_ns(),
            severity_number=SeverityNumber.INFO,
            body="call finished",
            attributes={"event": "call", "event.id": f"call-{self._events}", "customer.id": customer},
        )


def plain_sdk() -> None:
    """
    Let nothing of this shell redirect or switch off the demo's SDK, and keep its chatter off the screen.
    """
    for name in [name for name in os.environ if name.startswith("OTEL_")]:
        del os.environ[name]
    logging.getLogger("opentelemetry").setLevel(logging.ERROR)
