"""
Random histories through the kernel's seam and through the model that shares no code: requests among restarts, snapshots,
evictions, rollbacks and edited rules. Records, totals and balance must be equal to the last digit.
"""

import json
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from typing import Any, Final

from meterline.api.receiver import Format, Principal
from meterline.kernel import load_kernel
from meterline.kernel.seam import Charge, LogIdentity, Track
from meterline.testing.kernel import KernelHarness
from meterline.testing.model import Model, ModelPoint
from meterline.testing.random_points import SINCE, Made, Sender, logs_request, metrics_request
from meterline.testing.rules import SimpleRule

POINTS: Final = ("recorded", "quarantined", "duplicate", "no_usage", "unmatched")
CLAIMS: Final = {
    "recorded": "claim_records",
    "quarantined": "claim_quarantined",
    "duplicate": "claim_duplicate",
    "no_usage": "claim_no_usage",
}
_EVENT: Final = ("attributes", "event.id")
_AMOUNT: Final = ("attributes", "amount")

RULES: Final = (
    SimpleRule("sums", "sum.*", dimension="sums", charge=Charge("", None, None, since=SINCE)),
    SimpleRule("half", "sum.b", dimension="half", charge=Charge("", None, None, factor=10**12 // 2, explicit=True)),
    SimpleRule("counts", "hist.*", dimension="counts", charge=Charge("", None, None, track=Track.COUNT)),
    SimpleRule("totals", "hist.*", dimension="totals", charge=Charge("", None, None, track=Track.SUM)),
    SimpleRule("selected", None, dimension="selected", charge=Charge("", None, None, identity=_EVENT, value=_AMOUNT)),
    SimpleRule("content", None, dimension="content", charge=Charge("", None, None, identity=LogIdentity.CONTENT)),
    SimpleRule("none", None, dimension="none", charge=Charge("", None, None, identity=LogIdentity.NONE)),
)
"""What the model is told of each: ``random_points``."""


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
    alike = point.kind == "delta" and point.start in {0, point.time} and point.point_id is None
    return "none" in rules or (alike and bool(rules))


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


def play(seed: int, requests: int, size: int, make: Callable[[random.Random], Sender] = Sender) -> Run:
    """
    Play one random history; ``make``: who sends its metrics.
    """
    draw = random.Random(seed)
    run, metrics, logs = Run(draw), make(draw), Sender(draw)
    fmt = Format.TRANSCODED_METRICS if metrics.told else Format.OTLP_METRICS
    for _ in range(requests):
        count = draw.randrange(1, size)
        if draw.random() < 0.7:
            run.send([metrics.point() for _ in range(count)], fmt)
        else:
            run.send([logs.log() for _ in range(count)], Format.OTLP_LOGS)
    run.check()
    return run
