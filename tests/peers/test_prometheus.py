"""
Real Prometheus servers write to a real gateway: both versions, through restarts and kill -9, alone and as a pair.
"""

import random
import re
import threading
import urllib.request
from collections import Counter
from collections.abc import Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from meterline.testing.evidence import check_balance
from meterline.testing.process import wait_until
from meterline.testing.prometheus import Prometheus, Target, serving
from meterline.testing.site import Site

pytestmark = [pytest.mark.peer, pytest.mark.timeout(900)]

RULES = """
rules:
  - name: calls
    match: {metric: calls_total}
    customer: attributes["customer"]
    dimension: calls
  - name: work
    match: {metric: work_seconds_count}
    customer: attributes["customer"]
    dimension: work
  - name: seconds
    match: {metric: work_seconds_sum}
    customer: attributes["customer"]
    dimension: seconds
  - name: no-gauge
    match: {metric: "open_*", type: sum}
    customer: attributes["customer"]
    dimension: never
"""
V2 = {"protobuf_message": "io.prometheus.write.v2.Request"}
TYPES = "type-and-unit-labels"  # metadata-wal-records sends none in 3.13
FAMILIES = 3
DROPPED = "meterline_prometheus_replica_samples_dropped_total"


class WriteSite(Site):
    """
    A gateway with the Prometheus receiver in place of OTLP's.
    """

    receiver = "prometheus"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/api/v1/write"

    def metric(self, name: str) -> float:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics_port}/metrics", timeout=10) as page:
            found = re.findall(rf"^{name}(?:{{[^}}]*}})? (\S+)$", page.read().decode(), re.MULTILINE)
        return sum(map(float, found))

    def received(self) -> float:
        return self.metric("meterline_receiver_accepted_metric_points_total")


class HaSite(WriteSite):
    """
    The same with a quick failover.
    """

    options = ", ha: {failover_secs: 1.5}"


class Load:
    """
    Moves a target's counters until it is finished.
    """

    def __init__(self, target: Target, rng: random.Random) -> None:
        self._target = target
        self._rng = rng
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def _run(self) -> None:
        while not self._done.wait(0.02):
            name = self._rng.choice(self._target.names)
            self._target.count(name, self._rng.randrange(50), self._rng.randrange(5))

    def finish(self) -> Mapping[tuple[str, str], Decimal]:
        self._done.set()
        self._thread.join(5)
        return used(self._target)


def used(target: Target) -> dict[tuple[str, str], Decimal]:
    """
    Return the totals of what a target counted.
    """
    totals = {(name, "calls"): Decimal(count) for name, count in target.calls.items()}
    totals |= {(name, "work"): Decimal(count) for name, count in target.work.items()}
    totals |= {(name, "seconds"): Decimal(count) / 4 for name, count in target.work.items()}
    return {key: value for key, value in totals.items() if value}


@pytest.fixture
def target() -> Iterator[tuple[Target, int]]:
    """
    Serve a target with ten customers.
    """
    made = Target(10)
    with serving(made) as port:
        yield made, port


def wait_for_types(site: WriteSite, version: Mapping[str, Any]) -> None:
    """
    Wait until metadata has come: with the samples in 2.0, once a second beside them in 1.0.
    """
    if not version:
        wait_until(lambda: site.metric("meterline_prometheus_families") >= FAMILIES, 60, "metadata", every_secs=0.1)


def wait_for_scrapes(site: WriteSite, target: Target, scrapes: int) -> None:
    """
    Wait until so many more scrapes are stored, whoever sent them.
    """
    series = 7 * len(target.names)
    goal = site.received() + scrapes * series
    wait_until(lambda: site.received() >= goal, 60, "samples to be stored", every_secs=0.1)


@pytest.mark.parametrize("write", [{}, V2], ids=["1.0", "2.0"])
def test_sums_are_exact_through_restarts_and_kills(tmp_path: Path, target: Any, rng: random.Random, write: Any) -> None:
    """
    The gateway is killed twice and restarted once while the counters move; the totals are what the target counted.
    """
    made, port = target
    site = WriteSite(tmp_path, rules=RULES)
    prometheus = Prometheus(tmp_path / "prometheus", port, site.url, write=write, features=TYPES if write else "")
    with site.gateway, prometheus:
        site.gateway.start()
        prometheus.start()
        wait_for_scrapes(site, made, 3)
        wait_for_types(site, write)
        load = Load(made, rng)
        load.start()
        for end in (site.gateway.kill, site.gateway.terminate, site.gateway.kill):
            wait_for_scrapes(site, made, 5)
            end()
            threading.Event().wait(1)
            site.gateway.start()
        wait_for_scrapes(site, made, 3)
        site.settle(load.finish(), timeout_secs=60)
        check_balance(tmp_path)
        assert "non-recoverable" not in prometheus.output()
        assert "ERROR" not in prometheus.output()


def test_a_pair_is_billed_once_through_a_failover_and_back(tmp_path: Path, target: Any, rng: random.Random) -> None:
    """
    Two servers scrape the same target; the elected one is killed under load, and later the other one.

    What the target counted is billed once: the skew between the two is no reset. The gateway is killed meanwhile.
    """
    made, port = target
    site = HaSite(tmp_path, rules=RULES)
    pair = [
        Prometheus(
            tmp_path / name,
            port,
            site.url,
            external={"cluster": "demo", "__replica__": name},
            write=version,
            features=on,
        )
        for name, version, on in (("a", {}, ""), ("b", V2, TYPES))
    ]
    with site.gateway, pair[0], pair[1]:
        site.gateway.start()
        pair[0].start()
        wait_for_scrapes(site, made, 3)
        wait_for_types(site, {})
        pair[1].start()
        load = Load(made, rng)
        load.start()
        wait_until(lambda: site.metric(DROPPED) > 0, 60, "samples of the other server", every_secs=0.1)
        for falls, stays in ((pair[0], pair[1]), (pair[1], pair[0])):
            wait_for_scrapes(site, made, 5)
            falls.kill()
            wait_for_scrapes(site, made, 5)
            site.gateway.kill()
            site.gateway.start()
            wait_for_scrapes(site, made, 5)
            falls.start()
            wait_until(lambda: site.metric(DROPPED) > 0, 60, "samples of the other server", every_secs=0.1)
            assert "non-recoverable" not in stays.output()
        site.settle(load.finish(), timeout_secs=60)
        check_balance(tmp_path)


def test_a_counter_that_begins_anew_is_billed_from_zero(tmp_path: Path, target: Any, rng: random.Random) -> None:
    """
    The scraped process restarts twice; what it counted in all its lives is billed, but for what no scrape saw.
    """
    made, port = target
    site = WriteSite(tmp_path, rules=RULES)
    with site.gateway, Prometheus(tmp_path / "prometheus", port, site.url) as prometheus:
        site.gateway.start()
        prometheus.start()
        wait_for_scrapes(site, made, 3)
        wait_for_types(site, {})
        expected: Counter[tuple[str, str]] = Counter()
        for life in range(3):
            for name in made.names:
                made.count(name, rng.randrange(20, 50) * (3 - life), rng.randrange(20, 50) * (3 - life))
            wait_for_scrapes(site, made, 4)
            expected.update(used(made))
            if life < 2:
                made.restart()
                wait_for_scrapes(site, made, 4)
        site.settle(expected, timeout_secs=60)
        check_balance(tmp_path)


def test_with_start_timestamps_nothing_is_missing_at_the_ends_of_a_life(tmp_path: Path, rng: random.Random) -> None:
    """
    Prometheus passes on since when a counter counts: its first reading is usage, and so is each one after a restart, also when
    the new life is further than the old one ever was.
    """
    made = Target(5, created=True)
    site = WriteSite(tmp_path, rules=RULES)
    features = f"{TYPES},st-storage,xor2-encoding"
    expected: Counter[tuple[str, str]] = Counter()
    with site.gateway, serving(made) as port:
        site.gateway.start()
        made.restart()
        with Prometheus(tmp_path / "prometheus", port, site.url, write=V2, features=features) as prometheus:
            for life in range(3):
                for name in made.names:
                    made.count(name, rng.randrange(20, 50) * (1 + life), 0)
                if not life:
                    prometheus.start()
                wait_for_scrapes(site, made, 4)
                expected.update(used(made))
                made.restart()
        expected = +expected
        site.settle(expected, timeout_secs=60)
        check_balance(tmp_path)
