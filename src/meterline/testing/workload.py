"""
Seeded OTLP requests of which each says what it must become: the intents of a verifiable producer.

Every point of a workload has a (customer, dimension, time) of its own, so that a record that was lost, invented or
doubled can be named without trusting the gateway's own ids. Each producer is a resource of its own and keeps the
order of its streams.
"""

import random
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Final, Literal, TypeAlias

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.metrics.v1 import metrics_pb2
from opentelemetry.proto.metrics.v1.metrics_pb2 import NumberDataPoint

Signal: TypeAlias = Literal["metrics", "logs"]
CUMULATIVE: Final = metrics_pb2.AGGREGATION_TEMPORALITY_CUMULATIVE
DELTA: Final = metrics_pb2.AGGREGATION_TEMPORALITY_DELTA
Key: TypeAlias = tuple[str, str, int]
"""Customer, dimension, time in nanoseconds."""

RULES = """\
rules:
  - name: counters
    match: {metric: proof.cumulative}
    customer: attributes["customer.id"]
    dimension: cumulative
  - name: windows
    match: {metric: proof.delta}
    customer: attributes["customer.id"]
    dimension: delta
  - name: instants
    match: {metric: proof.bare}
    customer: attributes["customer.id"]
    dimension: bare
  - name: calls
    match: {log: true, attributes: {event: call}}
    customer: attributes["customer.id"]
    dimension: calls
    identity: attributes["event.id"]
    value: attributes["amount"]
"""
"""The ``rules`` section of a config under which every effect of a workload holds."""


@dataclass(frozen=True, slots=True)
class Effect:
    """
    What one point must become: exactly one record of this value.
    """

    customer: str
    dimension: str
    time: int
    value: Decimal

    @property
    def key(self) -> Key:
        """
        Return what is unique for this effect.
        """
        return (self.customer, self.dimension, self.time)


@dataclass(frozen=True, slots=True)
class Request:
    """
    One body with its number within its producer, and the effects of its points.
    """

    number: int
    signal: Signal
    body: bytes
    effects: tuple[Effect, ...]


def attribute(key: str, value: str | float) -> KeyValue:
    """
    Return an attribute of the value's own type.
    """
    if isinstance(value, str):
        return KeyValue(key=key, value=AnyValue(string_value=value))
    if isinstance(value, int):
        return KeyValue(key=key, value=AnyValue(int_value=value))
    return KeyValue(key=key, value=AnyValue(double_value=value))


class Workload:
    """
    The requests of one producer, in order: cumulative, delta and start-less sums, ints and doubles, and logs.

    The same seed, name and clock give the same requests. ``clock`` returns nanoseconds; times only ever grow, and
    the epochs of the counters begin when the workload is made: make it after the gateway has committed its rules.
    """

    def __init__(
        self, seed: int, name: str, streams: int = 6, per_request: int = 6, clock: Callable[[], int] = time.time_ns
    ) -> None:
        self.name = name
        self._random = random.Random(f"{seed}/{name}")
        self._clock = clock
        self._epoch = self._last = clock()
        self._per_request = per_request
        self._readings: list[int | Decimal] = [Decimal(0) if index % 3 == 0 else 0 for index in range(streams)]
        self._ends = [self._epoch] * streams
        self._number = 0

    def next(self) -> Request:
        """
        Make the next request.
        """
        kind = self._random.choice((self.cumulative, self.delta, self.bare, self.logs))
        return kind()

    def _tick(self) -> int:
        self._last = max(self._clock(), self._last + 1_000)
        return self._last

    def _chosen(self) -> list[int]:
        self._number += 1
        return self._random.sample(range(len(self._readings)), min(self._per_request, len(self._readings)))

    def _customer(self, kind: str, stream: int) -> str:
        return f"{self.name}-{kind}{stream}"

    def _step(self, stream: int) -> int | Decimal:
        """
        Return an increment above zero: whole, or, for every third stream, with one digit after the point.
        """
        step = self._random.randint(1, 1000)
        return Decimal(step) / 10 if stream % 3 == 0 else step

    def cumulative(self) -> Request:
        """
        Make a request of counters: int and double, each advanced once.
        """
        points, effects = [], []
        for stream in self._chosen():
            step, now = self._step(stream), self._tick()
            self._readings[stream] += step
            customer = self._customer("c", stream)
            points.append(number_point(customer, self._epoch, now, self._readings[stream]))
            effects.append(Effect(customer, "cumulative", now, Decimal(step)))
        return self._metrics("proof.cumulative", CUMULATIVE, points, effects)

    def delta(self) -> Request:
        """
        Make a request of delta sums, each window right after the one before.
        """
        points, effects = [], []
        for stream in self._chosen():
            step, now = self._step(stream), self._tick()
            customer = self._customer("d", stream)
            points.append(number_point(customer, self._ends[stream], now, step))
            self._ends[stream] = now
            effects.append(Effect(customer, "delta", now, Decimal(step)))
        return self._metrics("proof.delta", DELTA, points, effects)

    def bare(self) -> Request:
        """
        Make a request of delta sums without a start: only the request itself tells a repeat.
        """
        points, effects = [], []
        for stream in self._chosen():
            step, now = self._step(stream), self._tick()
            customer = self._customer("b", stream)
            points.append(number_point(customer, 0, now, step))
            effects.append(Effect(customer, "bare", now, Decimal(step)))
        return self._metrics("proof.bare", DELTA, points, effects)

    def _metrics(
        self,
        name: str,
        temporality: metrics_pb2.AggregationTemporality.ValueType,
        points: list[NumberDataPoint],
        effects: list[Effect],
    ) -> Request:
        return Request(self._number, "metrics", sum_body(name, temporality, points, self.name), tuple(effects))

    def logs(self) -> Request:
        """
        Make a request of log records with an event id and an amount.
        """
        request, effects = ExportLogsServiceRequest(), []
        resource = request.resource_logs.add()
        resource.resource.attributes.append(attribute("service.instance.id", self.name))
        records = resource.scope_logs.add().log_records
        for stream in self._chosen():
            step, now = self._step(stream), self._tick()
            customer = self._customer("l", stream)
            record = records.add(time_unix_nano=now)
            event = f"{self.name}/{self._number}/{stream}"
            amount = attribute("amount", step if isinstance(step, int) else float(step))
            record.attributes.extend(
                [attribute("event", "call"), attribute("customer.id", customer), attribute("event.id", event), amount]
            )
            effects.append(Effect(customer, "calls", now, Decimal(step)))
        return Request(self._number, "logs", request.SerializeToString(), tuple(effects))


def sum_body(
    name: str,
    temporality: metrics_pb2.AggregationTemporality.ValueType,
    points: Iterable[NumberDataPoint],
    instance: str = "one",
) -> bytes:
    """
    Encode a request of one monotonic sum, of the resource with this ``service.instance.id``.
    """
    request = ExportMetricsServiceRequest()
    resource = request.resource_metrics.add()
    resource.resource.attributes.append(attribute("service.instance.id", instance))
    metric = resource.scope_metrics.add().metrics.add(name=name, unit="1")
    metric.sum.is_monotonic = True
    metric.sum.aggregation_temporality = temporality
    metric.sum.data_points.extend(points)
    return request.SerializeToString()


def number_point(customer: str | None, start: int, now: int, value: float | Decimal) -> NumberDataPoint:
    """
    Make a point with the customer as its attribute: int as it is, anything else as a double.
    """
    point = NumberDataPoint(start_time_unix_nano=start, time_unix_nano=now)
    if customer is not None:
        point.attributes.append(attribute("customer.id", customer))
    if isinstance(value, int):
        point.as_int = value
    else:
        point.as_double = float(value)
    return point
