"""
Random schedules of one or two Prometheus servers, against a model that knows what the counter really did.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final, NamedTuple

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from meterline.kernel import load_kernel
from meterline.testing.kernel import KernelHarness
from meterline.testing.remote_write import Written as Series
from meterline.testing.remote_write import request_v1, request_v2, sample

TICK_SECS: Final = 5
FAILOVER_SECS: Final = 30
SETTLED_TICKS: Final = 30
MAX_SKEW_MS: Final = 5_000  # of each server: the two read at instants whose stamps are at most 10 s wrong

SWITCHES: Final = ("server a", "server b", "link a", "link b", "gateway", "answers", "torn")
WHATS: Final = ("",) * 24 + ("reset", "reset", "kill", "kill in flight") + SWITCHES
ticks = st.lists(st.tuples(st.integers(0, 9), st.sampled_from(WHATS)), min_size=30, max_size=150)
schedules = settings(
    max_examples=40,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture],
)


class Reading(NamedTuple):
    """
    What a server scraped: when by its own clock, and which life of the counter it was.
    """

    ms: int
    life: int
    value: int
    start: int

    def written(self) -> bytes:
        """
        Return the sample.
        """
        return sample(self.value, self.ms, self.start)


@dataclass
class Server:
    """
    A Prometheus that scrapes every ``interval`` ticks and sends what it has, in order, until it is answered.
    """

    name: str
    skew_ms: int
    interval: int
    phase: int
    v2: bool
    pair: bool
    queue: list[Reading] = field(default_factory=list)

    def body(self, readings: Sequence[Reading]) -> bytes:
        """
        Return a request.
        """
        labels = {"__name__": "calls_total", "customer.id": "acme"}
        pair = {"cluster": "eu", "__replica__": self.name} if self.pair else {}
        series = [Series({**labels, **pair}, [reading.written() for reading in readings])]
        return request_v2(series) if self.v2 else request_v1(series)


class Model:
    """
    What is to be billed: of each life of the counter the most that a server which counted read of it, less the very first
    reading. It knows the lives, which nobody tells the gateway.

    ``sure``: every change of life was such that its readings show it (docs/transcoding.md, what cannot be known).
    """

    def __init__(self, *, first_is_usage: bool) -> None:
        self.elected = ""
        self.heard = 0.0
        self.best: dict[int, int] = {}
        self.first = 0
        self.sure = True
        self._first_is_usage = first_is_usage
        self._newest = 0
        self._elections = 0
        self._last = (0, 0, 0)  # election, life, value
        self._unproved: tuple[int, int, int, int] | None = None  # election, life, its first value, the largest before

    def deliver(self, now: float, server: Server, readings: Sequence[Reading]) -> None:
        """
        Take what is stored of a server.
        """
        if server.name != self.elected and (not self.elected or now - self.heard > FAILOVER_SECS):
            self.elected = server.name
            self._elections += 1
        if server.name == self.elected:
            self.heard = now
            for reading in readings:
                self._read(reading)

    def _read(self, reading: Reading) -> None:
        by, life, value = self._elections, reading.life, reading.value
        if reading.ms <= self._newest or reading.ms < reading.start:
            return
        if not self.best:
            self.first = 0 if self._first_is_usage and reading.start < reading.ms else value
        elif self._unproved is not None:
            election, new, low, top = self._unproved
            self.sure &= (election, new) == (by, life) and 2 * low < top and value < top
            self._unproved = None
        elif life != self._last[1]:
            self._begin_anew(reading)
        self._newest = reading.ms
        self.best[life] = max(self.best.get(life, 0), value)
        self._last = (by, life, value)

    def _begin_anew(self, reading: Reading) -> None:
        """
        Judge the first reading of another life: a start that is after all readings shows it, or a value that fell.
        """
        by, before, low = self._last
        top, shown = self.best[before], self._newest <= reading.start < reading.ms
        if by == self._elections:
            self.sure &= shown or reading.value < low
        elif shown:
            self.sure &= reading.value < top
        else:
            self._unproved = (self._elections, reading.life, reading.value, top)

    @property
    def total(self) -> int:
        """
        Return what is to be billed.
        """
        return sum(self.best.values()) - self.first

    @property
    def certain(self) -> bool:
        """
        Say whether it is to be billed to the last unit; else it is the most that may be.
        """
        return self.sure and self._unproved is None


class World:
    """
    A counter, its servers, and a gateway in memory, with the disk that it has.
    """

    def __init__(self, site: Any, servers: Sequence[Server], *, starts: bool = False) -> None:
        self.site = site
        self.servers = servers
        self.meter = KernelHarness(load_kernel())
        self.model = Model(first_is_usage=starts)
        self.value, self.life = 1_000, 0
        self._starts = starts
        self._on = dict.fromkeys(SWITCHES, True)
        self._ticks = 0
        self._start = self.ms

    @property
    def ms(self) -> int:
        """
        Return the time of the target's clock.
        """
        return int(self.site.clock.now_ns()) // 10**6

    def run(self, schedule: Sequence[tuple[int, str]]) -> None:
        """
        Live through a schedule, and through some quiet ticks after it in which everything works.
        """
        for growth, what in schedule:
            self._tick(growth, what)
        self._on = dict.fromkeys(SWITCHES, True)
        for _ in range(SETTLED_TICKS):
            self._tick(0, "")

    def _tick(self, growth: int, what: str) -> None:
        self.site.clock.secs += TICK_SECS
        self._ticks += 1
        self._happen(what)
        self.value += growth
        for server in self.servers:
            if self._on["server " + server.name]:
                self._scrape(server)
                if self._on["link " + server.name] and self._on["gateway"]:
                    self._send(server, killed=what == "kill in flight")
            else:
                server.queue.clear()  # Prometheus does not send again after a restart

    def _happen(self, what: str) -> None:
        if what in self._on:
            self._on[what] = not self._on[what]
        elif what == "reset":
            self.life, self.value, self._start = self.life + 1, 0, self.ms
        elif what == "kill":
            self._kill()

    def _kill(self) -> None:
        self.site.start()
        self.meter.restart("frames" if self._ticks % 2 else "snapshot")
        self.model.heard = self.site.clock.monotonic()

    def _scrape(self, server: Server) -> None:
        if self._ticks % server.interval == server.phase:
            start = self._start if self._starts else 0
            server.queue.append(Reading(self.ms + server.skew_ms, self.life, self.value, start))

    def _send(self, server: Server, *, killed: bool) -> None:
        parts = [server.queue] if self._on["torn"] else [[reading] for reading in server.queue]
        for readings in filter(None, parts):
            for _ in range(1 if self._on["answers"] else 2):  # a lost answer: the same once more
                self._store(server, readings, killed=killed)
        if not killed:
            server.queue = []

    def _store(self, server: Server, readings: Sequence[Reading], *, killed: bool) -> None:
        request = self.site.request(server.body(readings), v2=server.v2)
        decoded = self.site.endpoint.decode(request)
        if killed:
            self._kill()
            return
        self.meter.received_at = request.received_at
        for body in decoded.bodies:
            self.meter.send(body.data, body.fmt)
        self.site.store(request, decoded)
        self.model.deliver(self.site.clock.monotonic(), server, readings)

    @property
    def billed(self) -> Decimal:
        """
        Return what the gateway billed.
        """
        return Decimal(self.meter.values().get("acme", "0"))


CASES: Final = {"one": ("a", 3, 0), "pair": ("ab", 3, 1), "in turns": ("ab", 24, 12)}
"""Servers, the ticks from scrape to scrape, and those from one server's to the other's."""


@pytest.mark.parametrize("starts", [False, True], ids=["plain", "starts"])
@pytest.mark.parametrize("case", CASES)
@schedules
@given(schedule=ticks, skew=st.tuples(*[st.integers(-MAX_SKEW_MS, MAX_SKEW_MS)] * 2))
def test_what_is_billed_is_what_the_counter_grew(
    written: Any, case: str, schedule: Any, skew: Sequence[int], *, starts: bool
) -> None:
    """
    Through skew, outages, resets, retries, repeats, failovers and kills: never more than the counter grew, and to the last
    unit where its readings tell all; at the end nothing that was read is missing.
    """
    names, interval, after = CASES[case]
    servers = [
        Server(name, ms, interval, at * after, v2=starts or name == "b", pair=len(names) > 1)
        for at, (name, ms) in enumerate(zip(names, skew, strict=False))
    ]
    world = World(written(), servers, starts=starts)

    world.run(schedule)

    assert not world.meter.quarantine
    assert world.model.best[world.life] == world.value
    assert world.billed <= world.model.total
    if world.model.certain:
        assert world.billed == world.model.total
    event(f"certain: {world.model.certain}, lives: {min(world.life, 3)}")
