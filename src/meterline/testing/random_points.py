"""
Random points of all types, orders, resets and repeats: each as the reference model sees it, and as it stands in a request.

Times are single nanoseconds, which are the model's cells.
"""

import random
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from itertools import groupby
from typing import Any, Final

from meterline.testing.model import Claim, Content, ModelPoint, Reading
from meterline.testing.otlp import CUMULATIVE, DELTA, Logs, Metrics, Point, put_attributes, put_point

SINCE: Final = 120
"""Since when the rule ``sums`` counts."""

HALF: Final = Fraction(1, 2)
"""The scale of the rule ``half``, which alone writes what it reads."""


class Sender:
    """
    Makes random points, each as the model sees it and as a function that puts it into a request.

    ``told``: as a receiver of our own does, with types, terms and identities beside OTLP.
    """

    told = False

    def __init__(self, draw: random.Random) -> None:
        self.draw = draw
        self.term = 0
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
        claims += [Claim("half", customer, "half", value, factor=HALF, explicit=True)] if name == "sum.b" else []
        kind: Any = "delta" if temporality == DELTA else "cumulative"
        invalid = None
        if self.draw.random() < 0.03:
            value = self.draw.choice([float("nan"), float("inf"), -1, -0.5, 1e20])
            start, time = self.draw.choice([(start, time), (time + 1, time)])
            invalid = (stream, start, time, repr(value), tuple(attributes))
        point = Point(start / 1e9, time / 1e9, value, attributes)  # type: ignore[arg-type]  # Decimals are the model's
        made = ModelPoint(kind, stream, start, time, tuple(claims), invalid=invalid)
        if self.told:
            return self.say(made, point, (name, temporality))
        return Made(made, (name, temporality), lambda points: put_point(points.add(), point))

    def say(self, made: ModelPoint, point: Point, metric: tuple[str, int]) -> "Made":
        """
        Say more of a point than OTLP does: of any sum; what it means only for some is ignored for the others.
        """
        draw = self.draw
        hint = self.hint()
        name = draw.randrange(6) if draw.random() < 0.7 else None
        said: dict[str, Any] = {"prometheus.type": hint} if hint else {}
        said |= {"meterline.term": self.term} if self.term else {}
        if name is not None:
            point = replace(point, point_id=bytes(15) + bytes((name,)))
            made = replace(made, point_id=name, invalid=made.invalid if made.invalid is None else (made.invalid, name))
        if made.kind == "cumulative":
            payload = ("gauge", made.stream, made.start, made.time, repr(point.value), tuple(point.attributes), name)
            invalid = payload if hint == "gauge" else made.invalid
            made = replace(made, writer=self.term, doubtful=hint == "unknown", invalid=invalid)
        return Made(made, (*metric, *said.items()), lambda points: put_point(points.add(), point))

    def hint(self) -> str:
        """
        Return the type that the metric is told to be; now and then another writer takes over.
        """
        if self.draw.random() < 0.2:
            self.term = self.draw.choice([self.term + 1, max(self.term - 1, 0), 0])
        return self.draw.choice(["", "counter", "counter", "unknown", "gauge"])

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


class Told(Sender):
    """
    The same, and more is said of it than OTLP does.
    """

    told = True

    def __init__(self, draw: random.Random) -> None:
        super().__init__(draw)
        self.starts[:2] = [0, 0]


class Replicas(Told):
    """
    Two or more writers of a few counters that only ever name the time of a reading: forward, with a lag, through resets.
    """

    def __init__(self, draw: random.Random) -> None:
        super().__init__(draw)
        self.clock = 100
        self.counters: dict[Any, int] = {}
        self.unit = draw.choice([1, 1, 10])
        self.lag = self.turn = 0
        self.said = "counter"

    def point(self) -> "Made":
        """
        Make the next reading, or repeat one.
        """
        draw = self.draw
        if self.sent and draw.random() < 0.1:
            return draw.choice(self.sent[-5:])
        name, pod = draw.choice(["sum.a", "sum.b"]), draw.randrange(2)
        self.clock += draw.randrange(3)
        attributes = {"customer.id": "acme", "pod": pod}
        stream = (name, CUMULATIVE, tuple(sorted(attributes.items())))
        self.counters[stream] = self.counters.get(stream, 0) + draw.randrange(12)
        if draw.random() < 0.06:
            self.counters[stream] = draw.randrange(6)
        self.turn = max(0, self.counters[stream] - self.lag)
        made = self.number(stream, "acme", attributes, (0, self.clock - (draw.random() < 0.1)))
        self.sent.append(made)
        return made

    def value(self, start: int, time: int) -> Reading:  # noqa: ARG002 - it is the counter that says it
        """
        Return what the present writer reads of the counter whose turn it is.
        """
        return self.turn if self.unit == 1 else self.turn / self.unit

    def hint(self) -> str:
        """
        Return the type, which seldom changes; with another writer comes another lag.
        """
        draw = self.draw
        if draw.random() < 0.08:
            self.term, self.lag = self.term + draw.choice([1, 1, 1, -self.term]), draw.choice([0, 5, 40])
        if draw.random() < 0.05:
            self.said = draw.choice(["", "counter", "counter", "unknown", "gauge"])
        return self.said


class Made:
    """
    A point, the metric it belongs to (name, temporality, metadata; None for logs), and how it is put there.
    """

    def __init__(self, point: ModelPoint, metric: tuple[Any, ...] | None, put: Callable[[Any], Any]) -> None:
        self.point = point
        self.metric = metric
        self.put = put


def metrics_request(made: list[Made]) -> tuple[bytes, list[ModelPoint]]:
    """
    Build a request, neighbours of one metric in one; return its points as they are stepped: by time within a metric.
    """
    request, order = Metrics(), []
    for (name, temporality, *said), group in groupby(made, lambda each: each.metric or ("", 0)):
        points = list(group)
        message = request.metric(name)
        put_attributes(message.metadata, dict(said))
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
