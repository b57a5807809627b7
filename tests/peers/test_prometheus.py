"""
Real Prometheus servers write to a real gateway: both versions, through restarts and kill -9, alone and as a pair.
"""

import random
import re
import threading
import urllib.request
from collections.abc import Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from meterline.testing.evidence import check_balance
from meterline.testing.process import wait_until
from meterline.testing.prometheus import Prometheus, Target, serving
from meterline.testing.site import Site

pytestmark = [pytest.mark.peer, pytest.mark.timeout(240)]

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
FAMILIES = 3


class WriteSite(Site):
    """
    A gateway with the Prometheus receiver in place of OTLP's.
    """

    options = ""

    def configure(self, *, grpc: str = "", ledger: str = "", top: str = "") -> None:
        super().configure(grpc=grpc, ledger=ledger, top=top)
        receiver = f"receivers: {{prometheus: {{endpoint: 127.0.0.1:{self.port}{self.options}}}}}"
        text = re.sub(r"^receivers: .*$", receiver, self.config.read_text(encoding="utf-8"), flags=re.MULTILINE)
        self.config.write_text(text, encoding="utf-8")

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
    features = "metadata-wal-records" if write else ""
    prometheus = Prometheus(tmp_path / "prometheus", port, site.url, write=write, features=features)
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
