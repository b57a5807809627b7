"""
Random input of all types, orders, resets, repeats and restarts through the seam, against the model that shares no code.

Records, totals and balance must be equal to the last digit. Times are single nanoseconds, which are the model's cells.
"""

import json
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from itertools import groupby
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meterline.api.receiver import Format, Principal
from meterline.kernel import load_kernel
from meterline.kernel.seam import Charge, LogIdentity, Track
from meterline.testing.kernel import KernelHarness
from meterline.testing.model import Claim, Content, Model, ModelPoint, Reading
from meterline.testing.otlp import CUMULATIVE, DELTA, Logs, Metrics, Point, put_attributes, put_point
from meterline.testing.rules import SimpleRule

SINCE = 120
HALF = Fraction(1, 2)
POINTS = ("recorded", "quarantined", "duplicate", "no_usage", "unmatched")
CLAIMS = {
    "recorded": "claim_records",
    "quarantined": "claim_quarantined",
    "duplicate": "claim_duplicate",
    "no_usage": "claim_no_usage",
}
EVENT = ("attributes", "event.id")
AMOUNT = ("attributes", "amount")

RULES = (
    SimpleRule("sums", "sum.*", dimension="sums", charge=Charge("", None, None, since=SINCE)),
    SimpleRule("half", "sum.b", dimension="half", charge=Charge("", None, None, factor=10**12 // 2)),
    SimpleRule("counts", "hist.*", dimension="counts", charge=Charge("", None, None, track=Track.COUNT)),
    SimpleRule("totals", "hist.*", dimension="totals", charge=Charge("", None, None, track=Track.SUM)),
    SimpleRule("selected", None, dimension="selected", charge=Charge("", None, None, identity=EVENT, value=AMOUNT)),
    SimpleRule("content", None, dimension="content", charge=Charge("", None, None, identity=LogIdentity.CONTENT)),
    SimpleRule("none", None, dimension="none", charge=Charge("", None, None, identity=LogIdentity.NONE)),
)


class Sender:
    """
    Makes random points, each as the model sees it and as a function that puts it into a request.
    """

    def __init__(self, draw: random.Random) -> None:
        self.draw = draw
        self.spread = draw.choice([40, 200, 400])
        self.starts = [0, *(draw.randrange(1, self.spread) for _ in range(draw.choice([1, 2, 8, 40])))]
        self.last: dict[Any, int] = {}
        self.sent: list[Made] = []

    def point(self) -> "Made":
        """
        Make one point, or take one that was sent before.
        """
        if self.sent and self.draw.random() < 0.2:
            return self.draw.choice(self.sent)
        made = self.draw.choice(
            [self.cumulative, self.cumulative, self.delta, self.delta, self.histogram, self.stray]
        )()
        self.sent.append(made)
        return made

    def attributes(self) -> tuple[str | None, dict[str, Any]]:
        """
        Return a customer, now and then none, and attributes with it, in any order.
        """
        customer = self.draw.choice(["acme", "acme", "globex", None]) if self.draw.random() < 0.3 else "acme"
        items = [("pod", self.draw.randrange(2)), ("route", "/v1")]
        items += [("customer.id", customer)] if customer else []
        self.draw.shuffle(items)
        return customer, dict(items)

    def window(self, stream: Any) -> tuple[int, int]:
        """
        Return start and time of a point: next, late, equal, without start, or of no width.
        """
        start = self.draw.choice(self.starts) if self.draw.random() < 0.5 else self.starts[1]
        last = max(self.last.get(stream, 1), start, 1)
        time = max(start, 1, last + self.draw.choice([0, 1, 1, 2, 5, -1, -7]))
        self.last[stream] = max(last, time)
        return start, time

    def value(self, start: int, time: int) -> Reading:
        """
        Return a reading that mostly grows with time; an int, a double, sometimes a fine one.
        """
        draw = self.draw
        value = (time - start) * 3 if draw.random() < 0.8 else draw.randrange(50)
        if draw.random() < 0.1:
            return draw.choice([value + 2**62, value * 10**15, value * 1e15, value * 1.7e-18, 9.9e19])
        return draw.choice([value, value, float(value), value / 10, value + 1e-7])

    def cumulative(self) -> "Made":
        """
        Make a point of a counter.
        """
        name, (customer, attributes) = self.draw.choice(["sum.a", "sum.b"]), self.attributes()
        stream = (name, CUMULATIVE, tuple(sorted(attributes.items())))
        start, time = self.window(stream)
        return self.number(stream, customer, attributes, (start, time))

    def delta(self) -> "Made":
        """
        Make a point of a delta sum: the next window, or any.
        """
        name, (customer, attributes) = self.draw.choice(["sum.a", "sum.b"]), self.attributes()
        stream = (name, DELTA, tuple(sorted(attributes.items())))
        last = self.last.get(stream, 1)
        start, time = last, last + self.draw.randrange(1, 3)
        if self.draw.random() < 0.4:
            start = self.draw.randrange(1, self.spread)
            time = start + self.draw.choice([1, 1, 3, 9])
        self.last[stream] = max(last, time)
        if self.draw.random() < 0.15:
            start = self.draw.choice([0, time])
        return self.number(stream, customer, attributes, (start, time))

    def number(self, stream: Any, customer: str | None, attributes: dict[str, Any], window: tuple[int, int]) -> "Made":
        """
        Make a number point and its claims.
        """
        (name, temporality, _), (start, time) = stream, window
        value = self.value(start, time)
        claims = [Claim("sums", customer, "sums", value, SINCE)]
        claims += [Claim("half", customer, "half", value, factor=HALF)] if name == "sum.b" else []
        kind: Any = "delta" if temporality == DELTA else "cumulative"
        invalid = None
        if self.draw.random() < 0.03:
            value = self.draw.choice([float("nan"), float("inf"), -1, -0.5, 1e20])
            start, time = self.draw.choice([(start, time), (time + 1, time)])
            invalid = (stream, start, time, repr(value), tuple(attributes))
        point = Point(start / 1e9, time / 1e9, value, attributes)
        made = ModelPoint(kind, stream, start, time, tuple(claims), invalid=invalid)
        return Made(made, (name, temporality), lambda points: put_point(points.add(), point))

    def histogram(self) -> "Made":
        """
        Make a histogram point without buckets: two tracks of one stream.
        """
        temporality, (customer, attributes) = self.draw.choice([CUMULATIVE, DELTA]), self.attributes()
        stream = ("hist.h", temporality, tuple(sorted(attributes.items())))
        start, time = self.window(stream)
        count = (time - start) * 2
        if self.draw.random() < 0.2:
            count = self.draw.randrange(50)
        total = count * 0.1 if self.draw.random() < 0.8 else min(count, 1) * self.draw.randrange(50)
        claims = (
            Claim("counts", customer, "counts", count, track="count"),
            Claim("totals", customer, "totals", total, track="sum"),
        )

        def put(points: Any) -> None:
            point = points.add(start_time_unix_nano=start, time_unix_nano=time, count=count, sum=total)
            put_attributes(point.attributes, attributes)

        kind: Any = "delta" if temporality == DELTA else "cumulative"
        return Made(ModelPoint(kind, stream, start, time, claims), ("hist.h", temporality), put)

    def stray(self) -> "Made":
        """
        Make a point that no rule wants.
        """
        point = Point(1e-9, 2e-9, 7, self.attributes()[1])
        made = ModelPoint("delta", "stray", 1, 2)
        return Made(made, ("other", DELTA), lambda points: put_point(points.add(), point))

    def log(self) -> "Made":
        """
        Make a log record: told apart by its event, by what it says, and by its request alone.
        """
        if self.sent and self.draw.random() < 0.3:
            return self.draw.choice(self.sent)
        customer, attributes = self.attributes()
        event, amount, time = self.draw.randrange(8), self.draw.choice([1, 1, 2, 0.5, 0]), self.draw.randrange(1, 9)
        attributes |= {"event.id": event, "amount": amount}
        content = (time, "text", tuple(sorted((key, repr(value)) for key, value in attributes.items())))
        claims = (
            Claim("selected", customer, "selected", amount, raw=customer is None),
            Claim("content", customer, "content", 1),
            Claim("none", customer, "none", 1),
        )
        identities = (("selected", (customer, event)), ("content", Content(content)))
        point = ModelPoint("log", (content, tuple(attributes)), 0, time, claims, identities)
        made = Made(point, None, lambda request: request.record(time / 1e9, "text", attributes))
        self.sent.append(made)
        return made


class Made:
    """
    A point, the metric it belongs to (name, temporality; None for logs), and how it is put there.
    """

    def __init__(self, point: ModelPoint, metric: tuple[str, int] | None, put: Callable[[Any], Any]) -> None:
        self.point = point
        self.metric = metric
        self.put = put


def metrics_request(made: list[Made]) -> tuple[bytes, list[ModelPoint]]:
    """
    Build a request, neighbours of one metric in one; return its points as they are stepped: by time within a metric.
    """
    request, order = Metrics(), []
    for (name, temporality), group in groupby(made, lambda each: each.metric or ("", 0)):
        points = list(group)
        message = request.metric(name)
        data = message.histogram if name.startswith("hist") else message.sum
        data.aggregation_temporality = temporality
        if name != "hist.h":
            message.sum.is_monotonic = True
        for each in points:
            each.put(data.data_points)
        order += sorted((each.point for each in points), key=lambda point: point.time)
    return bytes(request), order


def logs_request(made: list[Made]) -> tuple[bytes, list[ModelPoint]]:
    """
    Build a request of log records.
    """
    request = Logs()
    for each in made:
        each.put(request)
    return bytes(request), [each.point for each in made]


class Run:
    """
    A gateway of sorts and the model beside it.
    """

    def __init__(self, draw: random.Random) -> None:
        self.draw = draw
        self.harness = KernelHarness(load_kernel(), *RULES)
        self.model = Model()
        self.digests: set[bytes] = set()
        self.bodies: list[tuple[bytes, list[ModelPoint], Format]] = []

    def request(self, made: list[Made], fmt: Format) -> tuple[bytes, list[ModelPoint], Format]:
        """
        Build a request of these points, or take one that was sent before.
        """
        if self.bodies and self.draw.random() < 0.15:
            return self.draw.choice(self.bodies)
        if fmt is Format.OTLP_LOGS:
            return *logs_request(made), fmt
        if self.draw.random() < 0.5:
            made = sorted(made, key=lambda each: str(each.metric))
        return *metrics_request(made), fmt

    def send(self, made: list[Made], fmt: Format) -> None:
        """
        Send a request to both, among disturbances that must change nothing.
        """
        body, points, fmt = self.request(made, fmt)
        principal = Principal(self.draw.choice(["one", "two"]))
        disturb(self)
        commit = self.draw.random() < 0.6
        applied = self.harness.send(body, fmt, principal=principal, commit=commit)
        before = Counter(self.model.balance)
        key = body + principal.name.encode()
        if key in self.digests:
            self.model.repeat(points)
        else:
            self.model.feed(points, principal.name)
            if any(marked(point) for point in points):
                self.digests.add(key)
        self.bodies.append((body, points, fmt))
        answered = {name: getattr(applied, name) for name in POINTS}
        assert answered == {name: self.model.balance[name] - before[name] for name in POINTS}, points

    def check(self) -> None:
        """
        Compare all that comes out.
        """
        self.harness.commit(flush=True)
        assert self.records() == self.model.records
        assert self.totals() == {key: value for key, value in self.model.totals.items() if value}
        balance = {name: self.harness.balance(name) for name in POINTS}
        assert balance == {name: self.model.balance[name] for name in balance}
        claims = {fate: self.harness.balance(name) for fate, name in CLAIMS.items()}
        assert claims == {fate: self.model.claims[fate] for fate in CLAIMS}

    def records(self) -> Counter[tuple[Any, ...]]:
        """
        Return the expanded records as the model has them; every id stands once.
        """
        batches = [self.harness.kernel.records(frame.body, self.harness.names) for frame in self.harness.frames]
        lines = b"".join(batch.encode("ndjson", range(len(batch))) for batch in batches)
        records = [json.loads(line) for line in lines.splitlines()]
        assert len({record["id"] for record in records}) == len(records)
        return Counter(map(as_the_model_has_it, records))

    def totals(self) -> dict[tuple[str, str], Fraction]:
        """
        Return the flushed totals by customer and dimension.
        """
        sums: dict[tuple[str, str], Fraction] = {}
        for (customer, dimension, _), (value, _) in self.harness.totals.items():
            sums[customer, dimension] = sums.get((customer, dimension), Fraction(0)) + Fraction(value, 10**30)
        return {key: value for key, value in sums.items() if value}


def as_the_model_has_it(record: dict[str, Any]) -> tuple[Any, ...]:
    """
    Return a line of the file as a record of the model.
    """
    start, time = (
        text and int(text.split(".")[1].rstrip("Z")) for text in (record["start_timestamp"], record["timestamp"])
    )
    value = Fraction(record["value"])
    return record["rule"], record["customer_id"], record["dimension_id"], value, start, time


def edited(draw: random.Random) -> tuple[SimpleRule, ...]:
    """
    Return the rules with other metadata: an edit after which nothing may be billed again.
    """
    metadata = (("edit", str(draw.random())),)
    return tuple(replace(rule, charge=replace(rule.charge, metadata=metadata)) for rule in RULES)


def marked(point: ModelPoint) -> bool:
    """
    Say whether a point cannot be told from a repeat by itself, so that its request's digest is kept.
    """
    rules = {claim.rule for claim in point.claims}
    return "none" in rules or (point.kind == "delta" and point.start in {0, point.time} and bool(rules))


def disturb(run: Run) -> None:
    """
    Restart, snapshot, evict, roll back, edit the rules: nothing of it may be seen in what comes out.
    """
    chance, harness, draw = run.draw.random(), run.harness, run.draw
    if chance < 0.1:
        harness.commit(flush=True)
        harness.restart(draw.choice(["frames", "snapshot"]))
    elif chance < 0.2:
        harness.commit(flush=True)
        harness.evict(10**18 + len(harness.frames) * 10**15, limit=draw.choice([1, 3, 1000]))
    elif chance < 0.3 and run.bodies:
        harness.commit(flush=True)
        seq = len(harness.frames) + 1
        for body, _, fmt in draw.choices(run.bodies, k=3):
            harness.send(body, fmt, commit=False)
        harness.meter.rollback(seq)
    elif chance < 0.35:
        harness.commit(flush=True)
        harness.new_rules(*edited(draw))


def play(seed: int, requests: int, size: int) -> None:
    """
    Play one random history.
    """
    draw = random.Random(seed)
    run, metrics, logs = Run(draw), Sender(draw), Sender(draw)
    for _ in range(requests):
        count = draw.randrange(1, size)
        if draw.random() < 0.7:
            run.send([metrics.point() for _ in range(count)], Format.OTLP_METRICS)
        else:
            run.send([logs.log() for _ in range(count)], Format.OTLP_LOGS)
    run.check()


@given(st.integers(0, 2**32), st.integers(1, 40), st.sampled_from([2, 4, 20]))
def test_records_totals_and_balance_are_the_models(seed: int, requests: int, size: int) -> None:
    """
    Random points of all types, in requests of all sizes, resent, rolled back, restarted, evicted: equal to the last digit.
    """
    play(seed, requests, size)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_long_histories() -> None:
    """
    The same for longer, so that epochs, intervals and windows run out.
    """
    first = random.randrange(2**32)
    print(f"seeds from {first}")  # noqa: T201 - shown when it fails
    for seed in range(first, first + 30):
        play(seed, requests=250, size=6)


@given(st.integers(0, 2**32), st.sampled_from([2, 3, 7]))
def test_the_size_of_requests_does_not_matter(seed: int, size: int) -> None:
    """
    The same points one by one, in requests of any size mixed with other metrics, or all at once: the same records.
    """
    sender = Sender(random.Random(seed))
    drawn = [sender.point() for _ in range(40)]
    made = [each for each in drawn if not marked(each.point) and each.point.invalid is None]
    made.sort(key=lambda each: each.point.time)  # the order in which the points of one request are stepped
    records = []
    for step in (1, size, len(made) + 1):
        run = Run(random.Random(seed))
        for at in range(0, len(made), step):
            run.harness.send(metrics_request(made[at : at + step])[0])
        records.append(run.records())
    assert records[0] == records[1] == records[2]


@pytest.mark.parametrize("restart", [None, "frames", "snapshot"])
def test_a_double_that_only_repeats_an_int_is_not_forgotten(restart: Any) -> None:
    """
    The stream is in another scale from then on, and must be after a replay, or its next increment is wrong.
    """
    harness = KernelHarness(load_kernel())
    harness.send(Metrics().sum([Point(132, 132, 0)]))
    harness.send(Metrics().sum([Point(132, 132, 0.0)]).sum([Point(132, 134, 0.6)]))
    if restart:
        harness.restart(restart)
    harness.send(Metrics().sum([Point(132, 135, 0.9)]))
    assert harness.values() == {"acme": "0.9"}


def test_the_model_itself_on_the_vectors() -> None:
    """
    The judge agrees with the specification: T5, T8, T10 and T11 by hand.
    """
    histories = {
        36: [(100, 110, 10), (100, 120, 30), (125, 130, 4), (125, 140, 6)],
        15: [(0, 110, 1000), (0, 120, 1010), (0, 130, 3), (0, 140, 5)],
        105: [(100, 110, 100), (100, 120, 40), (100, 130, 45)],
        10 + 5: [(100, 110, 10), (105, 111, 3), (100, 120, 15)],
    }
    for expected, readings in histories.items():
        model = Model()
        point = ModelPoint("cumulative", "s", 0, 0)
        for start, time, value in readings:
            model.feed([replace(point, start=start, time=time, claims=(Claim("r", "c", "d", value),))])
        assert model.totals["c", "d"] == expected
