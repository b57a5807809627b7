"""
examples/otelcol with a real Collector: its very files, apart from ports.
"""

import json
import threading
from pathlib import Path

import pytest

from meterline.cli.demo.producer import Producer
from meterline.testing.peers import Collector
from meterline.testing.process import GatewayProcess, free_port, wait_until

PORTS = (":14317", ":14318", ":4317", ":8889", ":13134")
AFTER_OUTAGE_SECS = 60


@pytest.fixture
def example(root: Path, tmp_path: Path) -> tuple[Path, dict[str, int]]:
    """
    Copy the example with every port replaced by a free one, the same in both files.
    """
    ports = {port: free_port() for port in PORTS}
    for name in ("collector.yaml", "meterline.yaml"):
        text = (root / "examples" / "otelcol" / name).read_text("utf-8")
        for port, free in ports.items():
            text = text.replace(f"127.0.0.1{port}", f"127.0.0.1:{free}")
        (tmp_path / name).write_text(text, "utf-8")
    return tmp_path, ports


@pytest.mark.peer
@pytest.mark.timeout(1900)
def test_sums_through_a_collector_that_was_cut_off(example: tuple[Path, dict[str, int]]) -> None:
    """What an SDK sends through the Collector is recorded exactly, also what came while Meterline was away."""
    folder, ports = example
    gateway = GatewayProcess(folder / "meterline.yaml", [ports[":4317"]])
    queue = {"QUEUE_DIR": str(folder / "queue")}
    with gateway, Collector(folder / "collector.yaml", folder, [ports[":14317"]], queue) as collector:
        gateway.start()
        collector.start()
        producer = Producer(f"127.0.0.1:{ports[':14317']}", seed=7)
        producer.run(1, threading.Event())
        assert gateway.terminate() == 0
        producer.run(2, threading.Event())
        gateway.start()
        producer.run(1, threading.Event())
        producer.finish()
        expected = sorted((*usage, str(count)) for usage, count in producer.tally.usage.items())
        wait_until(lambda: totals(gateway) == expected, AFTER_OUTAGE_SECS, "the sums to be what was sent", 0.5)
        assert gateway.terminate() == 0
    delivered = [json.loads(line) for line in (folder / "usage.ndjson").read_text("utf-8").splitlines()]

    assert len({record["id"] for record in delivered}) == len(delivered)
    assert sum(int(record["value"]) for record in delivered) == sum(producer.tally.usage.values())


def totals(gateway: GatewayProcess) -> list[tuple[str, str, str]]:
    """
    Ask the command line for customer, dimension, value.
    """
    rows = map(json.loads, gateway.ask("totals", "--json").stdout.splitlines())
    return [(row["customer_id"], row["dimension_id"], row["value"]) for row in rows]
