"""
Random bodies through a kernel that is rolled back, restarted and emptied at random, against one that lives in peace.
"""

import random
from collections.abc import Callable
from typing import Any

import pytest

from meterline.api.receiver import Format
from meterline.kernel.reasons import Reason
from meterline.kernel.seam import Charge, LogIdentity, Track
from meterline.testing.kernel import SECOND, KernelHarness
from meterline.testing.otlp import CUMULATIVE, DELTA, Logs, Metrics, Point, put_attributes
from meterline.testing.rules import SimpleRule

Make = Callable[..., KernelHarness]
Body = tuple[bytes, Format]

EVENT = ("attributes", "event.id")

RULES = (
    SimpleRule("sums", "sum.*", charge=Charge("", None, None, since=20 * SECOND)),
    SimpleRule("half", "sum.int", dimension="half", charge=Charge("", None, None, factor=5 * 10**11)),
    SimpleRule("counts", "hist.*", charge=Charge("", None, None, track=Track.COUNT)),
    SimpleRule("totals", "hist.*", dimension="totals", charge=Charge("", None, None, track=Track.SUM)),
    SimpleRule("gauges", "gauge", charge=Charge("", None, None, raw=Reason.NEEDS_CONVERSION)),
    SimpleRule("selected", None, dimension="selected", charge=Charge("", None, None, identity=EVENT)),
    SimpleRule("content", None, dimension="content", charge=Charge("", None, None, identity=LogIdentity.CONTENT)),
    SimpleRule("none", None, dimension="none", charge=Charge("", None, None, identity=LogIdentity.NONE)),
)


class Sender:
    """Makes bodies of all types; the same seed makes the same bodies."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.clock = 100
        self.counters: dict[Any, tuple[int, int]] = {}

    def attributes(self) -> dict[str, Any]:
        """Attributes of one of a few streams; now and then without the customer, or the SDK's overflow."""
        rng = self.rng
        attributes: dict[str, Any] = {"customer.id": f"c{rng.randrange(3)}", "pod": rng.randrange(3)}
        if rng.random() < 0.05:
            del attributes["customer.id"]
        if rng.random() < 0.02:
            attributes["otel.metric.overflow"] = True
        items = list(attributes.items())
        rng.shuffle(items)
        return dict(items)

    def window(self, key: Any) -> tuple[int, int]:
        """Start and time of the next point of a counter: late, reset, without start, or as it should be."""
        rng = self.rng
        start, last = self.counters.get(key, (rng.choice((0, 30, 50)), 60))
        if rng.random() < 0.1:
            start = rng.choice((0, last, last - 2))
        time = max(start, last + rng.choice((1, 1, 1, 1, 0, -3)))
        self.counters[key] = (start, max(last, time))
        return start, time

    def value(self, kind: str) -> int | float | None:
        """A value: small numbers so that repeats and decreases happen, sometimes one that is not valid."""
        rng = self.rng
        if rng.random() < 0.03:
            return rng.choice((None, float("nan"), -1, float("inf"), 2**62))
        if kind == "int" or (kind == "mixed" and rng.random() < 0.5):
            return rng.randrange(40)
        return rng.randrange(400) / 10

    def sums(self, request: Metrics) -> None:
        """Add a sum of some kind."""
        rng = self.rng
        kind = rng.choice(("int", "float", "mixed"))
        temporality = rng.choice((CUMULATIVE, CUMULATIVE, DELTA, 0 if rng.random() < 0.1 else DELTA))
        points = []
        for _ in range(rng.randrange(1, 6)):
            attributes = self.attributes()
            key = (kind, temporality, tuple(sorted(map(str, attributes.items()))))
            start, time = self.window(key)
            if temporality == DELTA and rng.random() < 0.7:
                start = time - 1
            points.append(Point(start, time, self.value(kind), attributes, flags=int(rng.random() < 0.03)))
        name = f"sum.{kind}" if rng.random() < 0.9 else "unknown"
        request.sum(points, name=name, temporality=temporality, monotonic=rng.random() < 0.97)

    def histogram(self, request: Metrics) -> None:
        """Add a histogram."""
        rng = self.rng
        data = request.metric("hist.h").histogram
        data.aggregation_temporality = rng.choice((CUMULATIVE, DELTA))
        for _ in range(rng.randrange(1, 4)):
            start, time = self.window(("hist", data.aggregation_temporality))
            low, high = rng.randrange(5), rng.randrange(5)
            point = data.data_points.add(
                start_time_unix_nano=start * SECOND,
                time_unix_nano=time * SECOND,
                count=low + high + (rng.random() < 0.05),
                bucket_counts=[low, high],
                explicit_bounds=[1.0],
            )
            if rng.random() < 0.9 and point.count:
                point.sum = rng.randrange(100) / 4
            put_attributes(point.attributes, self.attributes())

    def body(self) -> Body:
        """Make one body."""
        rng = self.rng
        if rng.random() < 0.3:
            logs = Logs()
            for _ in range(rng.randrange(1, 4)):
                attributes = self.attributes() | {"event.id": rng.randrange(12)}
                logs.record(rng.randrange(50, 60), rng.choice(("a", "b")), attributes)
            return bytes(logs), Format.OTLP_LOGS
        request = Metrics({"service.name": f"s{rng.randrange(2)}"})
        for _ in range(rng.randrange(1, 3)):
            rng.choice((self.sums, self.sums, self.sums, self.histogram))(request)
        if rng.random() < 0.1:
            request.gauge([Point(0, 60, 1, self.attributes())], name="gauge")
        return bytes(request), Format.OTLP_METRICS

    def bodies(self, count: int) -> list[Body]:
        """Make bodies; some of them come twice."""
        made = [self.body() for _ in range(count)]
        return [
            body for each in made for body in ([each, self.rng.choice(made)] if self.rng.random() < 0.2 else [each])
        ]


def disturb(h: KernelHarness, rng: random.Random, spare: list[Body], *, rules: bool) -> None:
    """Do one thing to a kernel that must change nothing."""
    chance = rng.random()
    if chance < 0.25:
        seq = len(h.frames) + 1
        for body, fmt in rng.choices(spare, k=3):
            h.send(body, fmt, commit=False)
            if rng.random() < 0.3:
                h.meter.totals()
            if rng.random() < 0.4:
                h.meter.seal()
        h.meter.rollback(seq)
    elif chance < 0.4:
        h.restart(rng.choice(("frames", "snapshot")))
    elif chance < 0.5:
        h.snapshot()
    elif chance < 0.65:
        h.evict((h.received_at + h.options.idle_ns) * 2, limit=rng.choice((1, 3, 1000)))
    elif chance < 0.75:
        seq = len(h.frames) + 1
        h.meter.evict((h.received_at + h.options.idle_ns) * 2, 1000)
        if rng.random() < 0.5:
            h.meter.seal()
            body, fmt = rng.choice(spare)
            h.send(body, fmt, commit=False)
        h.meter.rollback(seq)


def facts(h: KernelHarness) -> tuple[Any, ...]:
    """What a kernel has made of all that it got, in an order that does not depend on frames."""
    records = sorted((r.id, r.customer_id, r.dimension_id, str(r.value), r.timestamp, r.rule) for r in h.records())
    held = sorted((e.reason.code, e.rule, e.record_id, e.key, e.time, str(e.quantity)) for e in h.quarantine)
    balance = {name: h.balance(name) for name in h.frames[0].balance}
    return records, held, balance


@pytest.mark.parametrize("round_", range(12))
def test_disturbances_change_nothing(harness: Make, rng: random.Random, round_: int) -> None:
    """Rollbacks, restarts, snapshots and evictions between any two bodies leave records, quarantine and balance as they are."""
    sender = Sender(rng)
    bodies, spare = sender.bodies(60), sender.bodies(10)
    calm, shaken = harness(*RULES), harness(*RULES)
    for body, fmt in bodies:
        calm.send(body, fmt)
        shaken.send(body, fmt, commit=rng.random() < 0.6)
        if rng.random() < 0.5:
            shaken.commit(flush=rng.random() < 0.5)
            disturb(shaken, rng, spare, rules=False)
    shaken.commit(flush=True)
    calm.commit(flush=True)
    assert facts(shaken) == facts(calm)
    ids = [record.id for record in calm.records()]
    assert len(ids) == len(set(ids))


def exact(records: list[Any]) -> dict[Any, tuple[int, int]]:
    """Sum records by customer and dimension."""
    sums: dict[Any, tuple[int, int]] = {}
    for record in records:
        value, count = sums.get((record.customer_id, record.dimension_id), (0, 0))
        sums[record.customer_id, record.dimension_id] = (value + record.value.units, count + 1)
    return sums


def test_totals_are_the_records(harness: Make, rng: random.Random) -> None:
    """Totals that were flushed, with rollbacks between, are the exact sums of the records, and of RecordBatch.totals."""
    sender = Sender(rng)
    h = harness(*RULES)
    spare = sender.bodies(10)
    for body, fmt in sender.bodies(80):
        h.send(body, fmt, commit=False)
        h.commit(flush=rng.random() < 0.3)
        if rng.random() < 0.3:
            disturb(h, rng, spare, rules=False)
    h.send(bytes(Metrics().sum([Point(0, 60, 1)], name="unknown")), commit=False)
    h.commit(flush=True)
    flushed: dict[Any, tuple[int, int]] = {}
    for (customer, dimension, _), (value, count) in h.totals.items():
        old = flushed.get((customer, dimension), (0, 0))
        flushed[customer, dimension] = (old[0] + value, old[1] + count)
    assert flushed == exact(h.records())
    expanded: dict[Any, tuple[int, int]] = {}
    for frame in h.frames:
        for row in h.kernel.records(frame.body, h.names).totals():
            old = expanded.get((row.customer, row.dimension, row.hour), (0, 0))
            expanded[row.customer, row.dimension, row.hour] = (old[0] + row.value, old[1] + row.count)
    assert expanded == h.totals
