"""
Random input of all types through a real gateway process, restarted and killed in between, against the model.

The records in the file, the totals and the balance must be the model's, to the last digit. One cell of the model is a
microsecond here.
"""

import json
import random
import time
from collections import Counter
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from meterline.testing.evidence import check_balance
from meterline.testing.model import Claim, Model, ModelPoint
from meterline.testing.otlp import CUMULATIVE, DELTA, Logs, Metrics, put_attributes, put_value
from meterline.testing.sender import OtlpClient
from meterline.testing.site import FILE, Site
from meterline.testing.verdict import nanoseconds
from meterline.testing.workload import Signal

CELL = 1_000
RULES = """\
rules:
  - {name: sums, match: {metric: "sum.*"}, customer: 'attributes["customer.id"]', dimension: sums}
  - {name: half, match: {metric: sum.b}, customer: 'attributes["customer.id"]', dimension: half, scale: 0.5}
  - {name: counts, match: {metric: "hist.*"}, customer: 'attributes["customer.id"]', dimension: counts, value: count}
  - {name: sizes, match: {metric: "hist.*"}, customer: 'attributes["customer.id"]', dimension: sizes, value: sum}
  - name: calls
    match: {log: true}
    customer: attributes["customer.id"]
    dimension: calls
    identity: attributes["event.id"]
    value: attributes["amount"]
"""


@dataclass(frozen=True)
class Sent:
    """
    A request: its bytes, and its points as the model sees them.
    """

    signal: Signal
    body: bytes
    points: tuple[ModelPoint, ...]

    @property
    def marked(self) -> bool:
        """
        Say whether it has points that only the request's digest can tell from a repeat.
        """
        known = (point for point in self.points if point.kind == "delta" and point.claims and point.invalid is None)
        return any(point.start in {0, point.time} for point in known)


class Source:
    """
    Makes random requests, from a seed.
    """

    def __init__(self, draw: random.Random, epoch: int) -> None:
        self.draw = draw
        self.epoch = epoch
        self.starts = [0, *sorted(draw.sample(range(1, 300), 6))]
        self.last: dict[Any, int] = {}

    def request(self) -> Sent:
        """
        Make a request of one signal with up to 8 points.
        """
        count = self.draw.randrange(1, 9)
        if self.draw.random() < 0.3:
            logs = Logs()
            return Sent("logs", *self._encoded(logs, [self.log(logs) for _ in range(count)]))
        metrics = Metrics()
        kinds = [self.number, self.number, self.number, self.histogram, self.summary, self.gauge, self.stray]
        return Sent("metrics", *self._encoded(metrics, [self.draw.choice(kinds)(metrics) for _ in range(count)]))

    @staticmethod
    def _encoded(request: Metrics | Logs, points: list[ModelPoint]) -> tuple[bytes, tuple[ModelPoint, ...]]:
        return bytes(request), tuple(points)

    def attributes(self) -> tuple[str | None, dict[str, Any]]:
        """
        Choose a customer, now and then none, and attributes with it.
        """
        customer = self.draw.choice(["acme", "acme", "acme", "globex", None])
        return customer, {"pod": self.draw.randrange(2)} | ({"customer.id": customer} if customer else {})

    def window(self, stream: Any, temporality: int) -> tuple[int, int]:
        """
        Choose start and time: mostly the next, else late, equal, another epoch, without width, without start.
        """
        draw, last = self.draw, self.last.get(stream, 1)
        start = last if temporality == DELTA else self.starts[1]
        if draw.random() < 0.3:
            start = draw.choice(self.starts)
        end = max(1, start, last) + draw.choice([1, 1, 2, 5])
        if draw.random() < 0.2:
            end = max(1, start) + draw.choice([0, 1, 3, 20])
        self.last[stream] = max(last, end)
        return start, end

    def at(self, cell: int) -> int:
        """
        Return the time of a cell; 0 stays "unset".
        """
        return self.epoch + cell * CELL if cell else 0

    def place(self, name: str, temporality: int) -> tuple[Any, str | None, dict[str, Any], tuple[int, int]]:
        """
        Choose a stream and a window on it.
        """
        customer, attributes = self.attributes()
        stream = (name, temporality, tuple(attributes.items()))
        return stream, customer, attributes, self.window(stream, temporality)

    def number(self, request: Metrics) -> ModelPoint:
        """
        Add a point of a sum: an int, a double, one with many digits.
        """
        name, temporality = self.draw.choice(["sum.a", "sum.b"]), self.draw.choice([CUMULATIVE, DELTA])
        stream, customer, attributes, (start, end) = self.place(name, temporality)
        steps = (end - start) * 3 if self.draw.random() < 0.8 else self.draw.randrange(50)
        value = self.draw.choice([steps, steps, steps / 10, steps + 1e-7, steps * 10**15])
        data = request.metric(name).sum
        data.aggregation_temporality, data.is_monotonic = temporality, True
        self.fill(data.data_points.add(), attributes, start, end, value)
        claims = [Claim("sums", customer, "sums", value)]
        claims += [Claim("half", customer, "half", value, factor=Fraction(1, 2))] if name == "sum.b" else []
        return ModelPoint(kind(temporality), stream, start, end, tuple(claims))

    def fill(self, point: Any, attributes: dict[str, Any], start: int, end: int, value: float | None) -> None:
        """
        Fill what all metric points have.
        """
        point.start_time_unix_nano, point.time_unix_nano = self.at(start), self.at(end)
        put_attributes(point.attributes, attributes)
        if isinstance(value, int):
            point.as_int = value
        elif value is not None:
            point.as_double = value

    def histogram(self, request: Metrics) -> ModelPoint:
        """
        Add a point of a histogram or an exponential histogram, without buckets.
        """
        name, temporality = self.draw.choice(["hist.h", "hist.e"]), self.draw.choice([CUMULATIVE, DELTA])
        stream, customer, attributes, (start, end) = self.place(name, temporality)
        metric = request.metric(name)
        data = metric.histogram if name == "hist.h" else metric.exponential_histogram
        data.aggregation_temporality = temporality
        point = data.data_points.add()
        self.fill(point, attributes, start, end, None)
        point.count = max(0, end - start) * 2
        point.sum = point.count * 0.1
        if name == "hist.e":
            point.zero_count = point.count
        return ModelPoint(kind(temporality), stream, start, end, tracks(customer, point))

    def summary(self, request: Metrics) -> ModelPoint:
        """
        Add a point of a summary, which is always cumulative.
        """
        stream, customer, attributes, (start, end) = self.place("hist.s", CUMULATIVE)
        point = request.metric("hist.s").summary.data_points.add()
        self.fill(point, attributes, start, end, None)
        point.count = max(0, end - start) * 2
        point.sum = point.count * 0.1
        return ModelPoint("cumulative", stream, start, end, tracks(customer, point))

    def gauge(self, request: Metrics) -> ModelPoint:
        """
        Add a gauge, which no rule here can bill: it is quarantined once, and known again.
        """
        stream, customer, attributes, (start, end) = self.place("sum.g", 0)
        data = request.metric("sum.g").gauge
        self.fill(data.data_points.add(), attributes, start, end, 7)
        claims = (Claim("sums", customer, "sums", 7),)
        return ModelPoint("delta", stream, start, end, claims, invalid=(stream, start, end))

    def stray(self, request: Metrics) -> ModelPoint:
        """
        Add a point that no rule wants.
        """
        data = request.metric("other").sum
        data.aggregation_temporality, data.is_monotonic = DELTA, True
        self.fill(data.data_points.add(), self.attributes()[1], 1, 2, 7)
        return ModelPoint("delta", "stray", 1, 2)

    def log(self, request: Logs) -> ModelPoint:
        """
        Add a log record that its event tells apart; an event said twice with another amount is a conflict.
        """
        customer, attributes = self.attributes()
        event, amount = self.draw.randrange(60), self.draw.choice([1, 1, 1, 2, 0.5, 0])
        end = self.draw.randrange(1, 300)
        record = request._scope.log_records.add(time_unix_nano=self.at(end))
        put_value(record.body, "text")
        put_attributes(record.attributes, attributes | {"event.id": event, "amount": amount})
        claim = Claim("calls", customer, "calls", amount, raw=customer is None)
        stream = (tuple(attributes.items()), event, amount, end)
        return ModelPoint("log", stream, 0, end, (claim,), (("calls", (customer, event)),))


def kind(temporality: int) -> Any:
    """
    Return the model's word.
    """
    return "delta" if temporality == DELTA else "cumulative"


def tracks(customer: str | None, point: Any) -> tuple[Claim, ...]:
    """
    Return the claims of both rules over histograms.
    """
    count = Claim("counts", customer, "counts", point.count, track="count")
    return count, Claim("sizes", customer, "sizes", point.sum, track="sum")


class Play:
    """
    One gateway and one model, fed the same.
    """

    def __init__(self, folder: Path, seed: int) -> None:
        self.site = Site(folder, rules=RULES)
        self.draw = random.Random(seed)
        self.model = Model()
        self.history: list[Sent] = []
        self.answers: dict[bytes, int] = {}

    def run(self, requests: int, restarts: int) -> None:
        """
        Send, repeat, restart; then compare.
        """
        self.site.gateway.start()
        self.epoch = time.time_ns()
        source = Source(self.draw, self.epoch)
        breaks = set(self.draw.sample(range(1, requests), restarts))
        client = OtlpClient(self.site.target)
        for index in range(requests):
            if index in breaks:
                self.restart()
            again = self.history and self.draw.random() < 0.15
            self.send(client, self.draw.choice(self.history) if again else source.request())
        client.close()
        assert self.site.gateway.terminate() == 0
        self.compare()

    def restart(self) -> None:
        """
        End the gateway, by SIGTERM or SIGKILL, and start it again.
        """
        if self.draw.random() < 0.5:
            self.site.gateway.kill()
        else:
            self.site.gateway.terminate()
        self.site.gateway.start()

    def send(self, client: OtlpClient, sent: Sent) -> None:
        """
        Send to both; the answer rejects the points that the model quarantines, and a recognised repeat is answered alike.
        """
        before = self.model.balance["quarantined"]
        if sent.body in self.answers:
            self.model.repeat(sent.points)
            expected = self.answers[sent.body]
        else:
            self.model.feed(sent.points)
            expected = self.model.balance["quarantined"] - before
        if sent.marked:
            self.answers.setdefault(sent.body, expected)
        self.history.append(sent)
        assert client.send(sent.signal, sent.body) == expected, sent.points

    def compare(self) -> None:
        """
        File, totals and balance are the model's.
        """
        rows = [json.loads(line) for line in (self.site.folder / FILE).read_text(encoding="utf-8").splitlines()]
        assert len({row["id"] for row in rows}) == len(rows)
        assert Counter(map(self.record, rows)) == self.model.records
        totals = {key: Fraction(value) for key, value in self.site.totals().items()}
        assert totals == {key: value for key, value in self.model.totals.items() if value}
        balance = check_balance(self.site.folder)
        names = ("recorded", "quarantined", "duplicate", "no_usage", "unmatched")
        assert {name: balance[name] for name in names} == {name: self.model.balance[name] for name in names}

    def record(self, row: dict[str, Any]) -> tuple[Any, ...]:
        """
        Return a line of the file as the model writes its records.
        """
        start = None if row["start_timestamp"] is None else self.cell(row["start_timestamp"])
        names = (row["rule"], row["customer_id"], row["dimension_id"], Fraction(row["value"]))
        return (*names, start, self.cell(row["timestamp"]))

    def cell(self, text: str) -> int:
        """
        Return the cell of a time.
        """
        cell, rest = divmod(nanoseconds(text) - self.epoch, CELL)
        assert rest == 0, text
        return cell


def play(folder: Path, seed: int, requests: int, restarts: int) -> None:
    """
    Play one history; prints the seed that repeats it.
    """
    print(f"seed {seed}")  # noqa: T201 - shown when it fails
    run = Play(folder, seed)
    with run.site.gateway:
        run.run(requests, restarts)


def test_a_short_history(tmp_path: Path, rng: random.Random) -> None:
    """
    A hundred requests and two restarts.
    """
    play(tmp_path, rng.randrange(10**6), 100, 2)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_long_histories(tmp_path: Path, rng: random.Random) -> None:
    """
    Six histories of 600 requests and five restarts each.
    """
    for number in range(6):
        folder = tmp_path / str(number)
        folder.mkdir()
        play(folder, rng.randrange(10**6), 600, 5)
