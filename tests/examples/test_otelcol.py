"""
examples/otelcol with a real Collector, examples/rotel with a real rotel: their very files, apart from ports.
"""

import json
import os
import re
import subprocess
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from meterline.cli.demo.producer import Producer
from meterline.testing.peers import Collector, rotel
from meterline.testing.process import GatewayProcess, Program, free_port, wait_until

PORTS = (14317, 14318, 4317, 4318, 8889, 13134)
TELEMETRY = "\ntelemetry: {metrics: {endpoint: 127.0.0.1:8889}, health: {endpoint: 127.0.0.1:13134}}\n"
AFTER_OUTAGE_SECS = 60

pytestmark = [pytest.mark.peer, pytest.mark.timeout(1900)]


@dataclass(frozen=True)
class Example:
    """
    A copy of an example's files, with every port replaced by a free one, the same in all of them.
    """

    folder: Path
    ports: Mapping[int, int]

    def gateway(self) -> GatewayProcess:
        """
        Return the gateway of its meterline.yaml.
        """
        config = self.folder / "meterline.yaml"
        text = config.read_text("utf-8")
        listening = [self.ports[port] for port in (4317, 4318) if f"127.0.0.1:{self.ports[port]}" in text]
        return GatewayProcess(config, listening)


def copied(source: Path, folder: Path) -> Example:
    """
    Copy an example.
    """
    ports = {port: free_port() for port in PORTS}
    for path in source.iterdir():
        text = path.read_text("utf-8")
        if path.name == "meterline.yaml" and "telemetry:" not in text:
            text += TELEMETRY
        text = re.sub(r"127\.0\.0\.1:(\d+)", lambda found: f"127.0.0.1:{ports[int(found[1])]}", text)
        (folder / path.name).write_text(text, "utf-8")
    return Example(folder, ports)


def send_across_an_outage(example: Example, gateway: GatewayProcess) -> None:
    """
    Send through the agent, also while the gateway is away; the sums must be what was sent.
    """
    producer = Producer(f"127.0.0.1:{example.ports[14317]}", seed=7)
    producer.run(1, threading.Event())
    assert gateway.terminate() == 0
    producer.run(2, threading.Event())
    gateway.start()
    producer.run(1, threading.Event())
    producer.finish()
    expected = sorted((*usage, str(count)) for usage, count in producer.tally.usage.items())
    wait_until(lambda: totals(gateway) == expected, AFTER_OUTAGE_SECS, "the sums to be what was sent", 0.5)
    assert gateway.terminate() == 0
    delivered = [json.loads(line) for line in (example.folder / "usage.ndjson").read_text("utf-8").splitlines()]
    assert len({record["id"] for record in delivered}) == len(delivered)
    assert sum(int(record["value"]) for record in delivered) == sum(producer.tally.usage.values())


def totals(gateway: GatewayProcess) -> list[tuple[str, str, str]]:
    """
    Ask the command line for customer, dimension, value.
    """
    rows = map(json.loads, gateway.ask("totals", "--json").stdout.splitlines())
    return [(row["customer_id"], row["dimension_id"], row["value"]) for row in rows]


@pytest.mark.parametrize("name", ["collector.yaml", "collector-http.yaml"])
def test_sums_through_a_collector_that_was_cut_off(root: Path, tmp_path: Path, name: str) -> None:
    """What an SDK sends through the Collector is recorded exactly, also what came while Meterline was away."""
    example = copied(root / "examples" / "otelcol", tmp_path)
    queue = {"QUEUE_DIR": str(tmp_path / "queue")}
    with (
        example.gateway() as gateway,
        Collector(tmp_path / name, tmp_path, [example.ports[14317]], queue) as collector,
    ):
        gateway.start()
        collector.start()
        send_across_an_outage(example, gateway)


def environment(file: Path) -> dict[str, str]:
    """
    Return what a shell sets that is told to read this file.
    """
    shell = ["sh", "-c", f"set -a; . {file}; env -0"]
    found = subprocess.run(shell, capture_output=True, text=True, check=True, env={"PATH": os.environ["PATH"]}).stdout
    return {
        name: value
        for name, _, value in (line.partition("=") for line in found.split("\0"))
        if name.startswith("ROTEL_")
    }


def test_sums_through_rotel_that_was_cut_off(root: Path, tmp_path: Path) -> None:
    """The same through rotel, as long as it lives."""
    example = copied(root / "examples" / "rotel", tmp_path)
    settings = environment(tmp_path / "rotel.env")
    agent = Program([str(rotel()), "start"], tmp_path / "rotel.out", ports=[example.ports[14317]], env=settings)
    with example.gateway() as gateway, agent:
        gateway.start()
        agent.start()
        send_across_an_outage(example, gateway)
