"""
A real gateway that reads files and is killed at any moment: the totals are what was written.
"""

import json
import os
import random
import shutil
import time
from decimal import Decimal
from pathlib import Path

import pytest
import zstandard
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from meterline.testing.process import GatewayProcess, free_port, wait_until
from meterline.testing.site import totals_of

CONFIG = """
ledger: {{path: ./meterline.db}}
receivers:
  events: {{type: files, include: ["events*.log*"], poll_secs: 0.05, batch_max_bytes: 4000}}
  exported: {{type: files, include: ["exported*.bin"], poll_secs: 0.05, batch_max_bytes: 4000}}
rules:
  - name: placed
    match: {{log: true, body: {{kind: placed}}}}
    customer: body.customer
    dimension: placed
    value: body.quantity
    identity: attributes["log.record.uid"]
  - name: anonymous
    match: {{log: true, body: {{kind: anonymous}}}}
    customer: body.customer
    dimension: anonymous
    value: body.quantity
    identity: none
  - name: calls
    match: {{metric: calls}}
    customer: attributes["customer"]
    dimension: calls
exporters:
  usage: {{type: file, path: ./usage.ndjson}}
telemetry: {{metrics: {{endpoint: 127.0.0.1:{metrics}}}, health: {{endpoint: 127.0.0.1:{health}}}}}
"""


class Writer:
    """Writes to both files, rotates them, and knows what it has written."""

    def __init__(self, folder: Path, rng: random.Random) -> None:
        self.folder = folder
        self.rng = rng
        self.time = time.time_ns() - 3600 * 10**9
        self.written: dict[tuple[str, str], Decimal] = {}
        self.rotations = 0

    def count(self, dimension: str, quantity: Decimal) -> None:
        key = ("acme", dimension)
        self.written[key] = self.written.get(key, Decimal(0)) + quantity

    def write(self) -> None:
        """
        Append some events with a broken line among them, and some requests; sometimes rotate.

        Always more events than a file is known by: a short file that is copied is told from its copy by time alone.
        """
        self.time += 10**9
        with (self.folder / "events.log").open("ab") as file:
            for _ in range(self.rng.randrange(15, 40)):
                file.write(self.event())
            file.write(b"broken\n")
        with (self.folder / "exported.bin").open("ab") as file:
            for _ in range(self.rng.randrange(1, 20)):
                data = zstandard.compress(self.request())
                file.write(len(data).to_bytes(4) + data)
        if self.rng.random() < 0.4:
            self.rotate()

    def event(self) -> bytes:
        kind = self.rng.choice(["placed", "anonymous"])
        quantity = self.rng.choice(["0.1", "1", "2.25"])
        self.count(kind, Decimal(quantity))
        stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self.time // 10**9))
        event = {"kind": kind, "customer": "acme", "quantity": float(quantity), "timestamp": stamp}
        return json.dumps(event).encode() + b"\n"

    def request(self) -> bytes:
        start, self.time = self.time, self.time + 1000
        request = ExportMetricsServiceRequest()
        metric = request.resource_metrics.add().scope_metrics.add().metrics.add(name="calls")
        metric.sum.is_monotonic, metric.sum.aggregation_temporality = True, 1
        point = metric.sum.data_points.add(start_time_unix_nano=start, time_unix_nano=self.time, as_int=3)
        point.attributes.add(key="customer").value.string_value = "acme"
        self.count("calls", Decimal(3))
        return request.SerializeToString()

    def rotate(self) -> None:
        self.rotations += 1
        (self.folder / "exported.bin").rename(self.folder / f"exported-{self.rotations}.bin")
        shutil.copyfile(self.folder / "events.log", self.folder / f"events.log.{self.rotations}")
        os.truncate(self.folder / "events.log", 0)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_totals_are_what_was_written_whenever_it_is_killed(tmp_path: Path, rng: random.Random) -> None:
    """Events with and without identity, broken lines and compressed requests, rotated and killed at random: exact sums."""
    config = tmp_path / "meterline.yaml"
    health = free_port()
    config.write_text(CONFIG.format(metrics=free_port(), health=health))
    writer = Writer(tmp_path, rng)
    with GatewayProcess(config, [health]) as gateway:
        for _ in range(3):
            writer.write()
            gateway.start()
            for _ in range(rng.randrange(4)):
                writer.write()
                gateway.wait(rng.uniform(0, 0.3))  # whatever it does by then
            gateway.kill()
        gateway.start()
        wait_until(lambda: totals_of(gateway) == writer.written, 180, "the sums to be what was written", every_secs=0.5)
        assert gateway.terminate() == 0
    values = [json.loads(line) for line in (tmp_path / "usage.ndjson").read_text("utf-8").splitlines()]
    assert len({value["id"] for value in values}) == len(values)
    assert sum(Decimal(value["value"]) for value in values) == sum(writer.written.values())
