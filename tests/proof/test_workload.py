"""
The verifiable producer: what it says of its own requests is true, and repeats exactly.
"""

import itertools
from collections import Counter
from decimal import Decimal

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.metrics.v1.metrics_pb2 import AggregationTemporality, NumberDataPoint

from meterline.testing.workload import Request, Workload


def make(count: int, seed: int = 7, name: str = "a") -> list[Request]:
    """
    Return the first requests of a workload whose clock starts at 1 s and moves 1 ms a reading.
    """
    ticks = itertools.count(1_000_000_000, 1_000_000)
    workload = Workload(seed, name, clock=lambda: next(ticks))
    return [workload.next() for _ in range(count)]


def reading(point: NumberDataPoint) -> Decimal:
    """
    Return the exact value of a point.
    """
    return Decimal(point.as_int) if point.WhichOneof("value") == "as_int" else Decimal(repr(point.as_double))


def test_same_seed_same_bytes() -> None:
    """
    Equal seed, name and clock give equal bytes; another seed gives others.
    """
    assert [request.body for request in make(40)] == [request.body for request in make(40)]
    assert [request.body for request in make(40)] != [request.body for request in make(40, seed=8)]


def test_every_effect_has_a_key_of_its_own() -> None:
    """
    No two points of a workload share customer, dimension and time, and all four kinds occur.
    """
    effects = [effect for request in make(200) for effect in request.effects]
    assert max(Counter(effect.key for effect in effects).values()) == 1
    assert {effect.dimension for effect in effects} == {"cumulative", "delta", "bare", "calls"}


def test_cumulative_effects_telescope_to_the_last_reading() -> None:
    """
    The effects of a counter add up to its last reading, int and double alike.
    """
    totals: dict[str, Decimal] = {}
    for request in make(300):
        if request.signal == "logs":
            continue
        metric = ExportMetricsServiceRequest.FromString(request.body).resource_metrics[0].scope_metrics[0].metrics[0]
        for point, effect in zip(metric.sum.data_points, request.effects, strict=True):
            if metric.sum.aggregation_temporality == AggregationTemporality.AGGREGATION_TEMPORALITY_CUMULATIVE:
                totals[effect.customer] = totals.get(effect.customer, Decimal(0)) + effect.value
                assert reading(point) == totals[effect.customer]
            else:
                assert reading(point) == effect.value
    assert len(totals) == 6


def test_log_effects_are_in_the_body() -> None:
    """
    Each log record carries the amount and the time that its effect names, and an event id of its own.
    """
    seen = set()
    for request in make(100):
        if request.signal == "logs":
            records = ExportLogsServiceRequest.FromString(request.body).resource_logs[0].scope_logs[0].log_records
            for record, effect in zip(records, request.effects, strict=True):
                values = {pair.key: pair.value for pair in record.attributes}
                amount = values["amount"]
                exact = amount.int_value if amount.HasField("int_value") else repr(amount.double_value)
                assert (record.time_unix_nano, Decimal(exact)) == (effect.time, effect.value)
                seen.add(values["event.id"].string_value)
    assert len(seen) > 50
