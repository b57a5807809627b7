"""
What the gateway must make of random input, worked out another way: sets of time cells, ``fractions``, no code of the kernel.

One unit of time is one cell; cell t stands for (t - 1, t]. What was counted of a stream is a set of cells, so a window overlaps
when it has a cell in common. Meanings: semantics.md 1-4. Slow, short, and the judge of the tests that use it.
"""

from collections import Counter, defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from typing import Literal, TypeAlias

Reading: TypeAlias = int | float | Decimal
Fate: TypeAlias = Literal["usage", "duplicate", "no_usage", "quarantined", "conflict"]
Answer: TypeAlias = tuple[Fate, Fraction, int]

EPOCHS = 16
WINDOWS = 16
SPANS = 32


def exact(reading: Reading) -> Fraction:
    """
    Return a reading by its shortest decimal, to the nearest 10^-18, half-even.
    """
    number = Fraction(repr(reading)) if isinstance(reading, float) else Fraction(reading)
    return Fraction(round(number * 10**18), 10**18)


class Covered:
    """
    Cells that were counted, in at most 32 runs; the oldest run goes first, and its end is the floor.
    """

    def __init__(self) -> None:
        self.cells: set[int] = set()
        self.floor = 0

    def add(self, cells: set[int]) -> None:
        """
        Count cells.
        """
        self.cells |= cells
        firsts = sorted(cell for cell in self.cells if cell - 1 not in self.cells)
        if len(firsts) > SPANS:
            gone = {cell for cell in self.cells if cell < firsts[1]}
            self.cells -= gone
            self.floor = max(self.floor, *gone)


class DeltaStream:
    """
    A delta sum whose points have a start before their time.
    """

    def __init__(self) -> None:
        self.covered = Covered()
        self.windows: set[tuple[int, int, Fraction]] = set()

    def step(self, start: int, time: int, value: Fraction) -> Answer:
        """
        Take one window.
        """
        window = set(range(start + 1, time + 1))
        values = {kept for end, begin, kept in self.windows if (begin, end) == (start, time)}
        forgotten = len(self.windows) == WINDOWS and time < min(self.windows)[0]
        contained = window <= self.covered.cells and start >= self.covered.floor
        if value in values or (not values and contained and forgotten):
            return "duplicate", value, start
        self.windows = set(sorted(self.windows | {(time, start, value)})[-WINDOWS:])
        if values or start < self.covered.floor or window & self.covered.cells:
            return "quarantined", value, start
        self.covered.add(window)
        return "usage", value, start


@dataclass
class Epoch:
    """
    One life of a counter. ``value``: the largest reading; ``read``, ``writer``: the last reading, and whose it was.
    """

    last: int
    value: Fraction
    writer: int = 0
    read: Fraction = Fraction(0)
    cells: set[int] = field(default_factory=set)
    disputed: bool = False
    count: Fraction | None = None


class CumulativeStream:
    """
    A counter; start 0 is a start that nobody said.
    """

    def __init__(self) -> None:
        self.epochs: dict[int, Epoch] = {}
        self.old = Covered()

    def step(self, start: int, time: int, value: Fraction, count: Fraction | None = None, writer: int = 0) -> Answer:
        """
        Take one reading. ``count``: what a histogram's sum came with, by which a new beginning is told.
        """
        epoch = self.epochs.get(start)
        if epoch is None:
            answer = self._open(start, time, value)
            if start in self.epochs:
                self.epochs[start].count = count
                self.epochs[start].writer, self.epochs[start].read = writer, value
            return answer
        if time <= epoch.last:
            other: Fate = "conflict" if writer == epoch.writer else "no_usage"
            fate: Fate = "no_usage" if time < epoch.last else "duplicate" if value == epoch.read else other
            return fate, value, start
        self._grow(start, epoch, set(range(epoch.last + 1, time + 1)))
        slow = epoch.value / 2 <= epoch.read <= value and epoch.read < epoch.value
        behind = value < epoch.value and (slow or (writer != epoch.writer and value < epoch.read))
        epoch.read, epoch.writer = value, writer
        if behind:
            epoch.last = time
            return "no_usage", value, start
        fewer = count is not None and epoch.count is not None and count < epoch.count
        fell, began = fewer or value < epoch.value, epoch.last
        usage = value if fell else value - epoch.value
        epoch.last, epoch.value, epoch.count = time, value, count
        if fell and start:
            return "quarantined", usage, began
        return self._fate(epoch, usage), usage, began

    def _open(self, start: int, time: int, value: Fraction) -> Answer:
        window = set(range(start + 1, time + 1))
        if start not in {0, time} and window <= self.old.cells:
            return "no_usage", value, start
        epoch = self.epochs[start] = Epoch(time, value)
        if start in {0, time}:
            fate: Fate = "no_usage"
        else:
            beyond = start < self.old.floor and not window & self.old.cells
            epoch.disputed = beyond
            self._grow(start, epoch, window)
            fate = "quarantined" if beyond else self._fate(epoch, value)
        self._forget()
        return fate, value, start

    def _grow(self, start: int, epoch: Epoch, cells: set[int]) -> None:
        others = [other.cells for key, other in self.epochs.items() if key != start and not other.disputed]
        epoch.disputed = epoch.disputed or bool(cells & self.old.cells.union(*others))
        if not epoch.disputed:
            epoch.cells |= cells

    @staticmethod
    def _fate(epoch: Epoch, usage: Fraction) -> Fate:
        if not usage:
            return "no_usage"
        return "quarantined" if epoch.disputed else "usage"

    def _forget(self) -> None:
        known = sorted(start for start in self.epochs if start)
        if len(known) > EPOCHS:
            oldest = self.epochs.pop(known[0])
            cells = oldest.cells or (set() if oldest.disputed else {known[0] + 1})
            if cells and max(cells) > self.old.floor:
                self.old.add(cells)


@dataclass(frozen=True)
class Claim:
    """
    A point as one rule reads it: the reading, and who is charged. ``customer`` None: missing. ``since``: activation.

    ``raw``: this claim alone holds the point up before any step. ``explicit``: it counts what may be no counter.
    """

    rule: str
    customer: str | None
    dimension: str
    reading: Reading
    since: int = 0
    track: str = "number"
    factor: Fraction = Fraction(1)
    raw: bool = False
    explicit: bool = False


@dataclass(frozen=True)
class Content:
    """
    Identity of a log by all that it says; equal ones in one request are told apart by how many came before.
    """

    said: Hashable


@dataclass(frozen=True)
class ModelPoint:
    """
    A point of a request. ``stream``: identity of a stream. No claim: unmatched. ``identities``: of a log, by rule; a rule
    that is not there equals no other log. ``invalid``: quarantined raw before anything else, and by what it is known again.
    ``writer``: one of several of a counter. ``doubtful``: it may be no counter. ``point_id``: of a delta without a window.
    """

    kind: Literal["delta", "cumulative", "log"]
    stream: Hashable
    start: int
    time: int
    claims: tuple[Claim, ...] = ()
    identities: tuple[tuple[str, Hashable], ...] = ()
    invalid: Hashable = None
    writer: int = 0
    doubtful: bool = False
    point_id: Hashable = None


Record: TypeAlias = tuple[str, str, str, Fraction, int | None, int]
"""Rule, customer, dimension, value, start, time."""


class Model:
    """
    Feed it requests; ``totals``, ``records``, ``balance`` (points) and ``claims`` are what must come out.
    """

    def __init__(self) -> None:
        self.streams: dict[Hashable, DeltaStream | CumulativeStream] = {}
        self.seen: dict[Hashable, set[Fraction]] = defaultdict(set)
        self.named: dict[Hashable, tuple[int, Fraction]] = {}
        self.records: Counter[Record] = Counter()
        self.totals: dict[tuple[str, str], Fraction] = defaultdict(Fraction)
        self.balance: Counter[str] = Counter()
        self.claims: Counter[str] = Counter()
        self.sender = ""

    def feed(self, request: Sequence[ModelPoint], sender: str = "") -> list[str]:
        """
        Take one request; return what became of each point. What is quarantined raw is known again by its sender.
        """
        self.sender = sender
        repeats: Counter[Hashable] = Counter()
        fates = [self._point(point, repeats) for point in request]
        self.balance.update(fates)
        return fates

    def repeat(self, request: Sequence[ModelPoint]) -> None:
        """
        Take a request that is known by its digest.
        """
        self.balance["duplicate"] += len(request)

    def _point(self, point: ModelPoint, repeats: Counter[Hashable]) -> str:
        if point.invalid is not None and point.claims:
            raw = self._raw(point.invalid)
            self.claims[raw] += len(point.claims)
            return raw
        steps: dict[Hashable, Answer] = {}
        fates = {self._claim(point, claim, steps, repeats) for claim in point.claims}
        for fate in ("recorded", "quarantined", "duplicate", "no_usage"):
            if fate in fates:
                return fate
        return "unmatched"

    def _claim(self, point: ModelPoint, claim: Claim, steps: dict[Hashable, Answer], repeats: Counter[Hashable]) -> str:
        if claim.raw:
            fate: str = self._raw((claim.rule, point.stream))
        else:
            fate = self._stage_four(point, claim, self._answer(point, claim, steps, repeats))
        self.claims[fate] += 1
        return fate

    def _answer(
        self, point: ModelPoint, claim: Claim, steps: dict[Hashable, Answer], repeats: Counter[Hashable]
    ) -> Answer:
        if point.kind == "log":
            return self._log(point, claim, repeats)
        if claim.track not in steps:
            steps[claim.track] = self._step(point, claim.track, exact(claim.reading), repeats)
        return steps[claim.track]

    def _step(self, point: ModelPoint, track: str, value: Fraction, repeats: Counter[Hashable]) -> Answer:
        if point.kind == "delta" and point.start in {0, point.time}:
            if point.point_id is not None:
                return self._named(point, track, value), value, point.start
            same = (point.stream, track, point.time, value)
            repeats[same] += 1
            known = self.seen[*same, repeats[same]]
            fate: Fate = "duplicate" if known else "usage"
            known.add(value)
            return fate, value, point.start
        kind = DeltaStream if point.kind == "delta" else CumulativeStream
        stream = self.streams.setdefault((point.stream, track), kind())
        if isinstance(stream, CumulativeStream):
            counts = [exact(claim.reading) for claim in point.claims if claim.track == "count" and track == "sum"]
            count = counts[0] if counts else None
            fate, usage, began = stream.step(point.start, point.time, value, count, point.writer)
        else:
            fate, usage, began = stream.step(point.start, point.time, value)
        if fate == "conflict":
            fate = self._again("conflict", point.stream, track, point.start, point.time, value)
        return fate, usage, began

    def _named(self, point: ModelPoint, track: str, value: Fraction) -> Fate:
        key, said = (point.stream, track, point.point_id), (point.time, value)
        if key not in self.named:
            self.named[key] = said
            return "usage"
        return "duplicate" if self.named[key] == said else self._again("other", key, said)

    def _raw(self, key: Hashable) -> Fate:
        return self._again("raw", self.sender, key)

    def _again(self, *key: Hashable) -> Fate:
        """
        Quarantine once; the same again is a duplicate.
        """
        known = self.seen[key]
        fate: Fate = "duplicate" if known else "quarantined"
        known.add(Fraction(1))
        return fate

    def _log(self, point: ModelPoint, claim: Claim, repeats: Counter[Hashable]) -> Answer:
        value = exact(claim.reading)
        identity = dict(point.identities).get(claim.rule)
        if identity is None:
            return "usage", value, 0
        if isinstance(identity, Content):
            repeats[claim.rule, identity] += 1
            identity = (identity, repeats[claim.rule, identity])
        known = self.seen[claim.rule, identity]
        fate: Fate = "duplicate" if value in known else "quarantined" if known else "usage"
        known.add(value)
        return fate, value, 0

    def _stage_four(self, point: ModelPoint, claim: Claim, answer: Answer) -> str:
        fate, value, began = answer
        if fate != "usage":
            return fate
        if not value or (point.kind == "cumulative" and began < claim.since):
            return "no_usage"
        if claim.customer is None or (point.doubtful and not claim.explicit):
            return "quarantined"
        start = None if point.kind == "log" or (point.kind == "delta" and not point.start) else began
        value *= claim.factor
        self.records[claim.rule, claim.customer, claim.dimension, value, start, point.time] += 1
        self.totals[claim.customer, claim.dimension] += value
        return "recorded"
