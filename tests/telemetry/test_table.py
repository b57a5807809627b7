"""
The table of metrics against a real gateway: every sample is in it, with its labels, and nothing in it is dead.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from meterline.config import load_config
from meterline.gateway import Gateway
from meterline.telemetry.metrics import process_samples
from meterline.telemetry.table import METRICS
from meterline.testing.sender import OtlpClient
from meterline.testing.workload import RULES, Workload

CONFIG = """\
ledger: {path: ./ledger.db}
receivers:
  otlp: {grpc: {endpoint: "127.0.0.1:0"}}
  prometheus: {endpoint: "127.0.0.1:0", auth: {keys: [{name: a, token: b}]}}
  json: {endpoint: "127.0.0.1:0"}
  usage: {http: {endpoint: "127.0.0.1:0"}}
  files: {include: [./in/*]}
exporters: {usage: {type: file, path: ./usage.ndjson}}
"""
ONLY_WITH_TLS = {
    "meterline_receiver_certificate_expires_seconds",
    "meterline_receiver_certificate_reloads",
    "meterline_receiver_certificate_reload_failures",
}
ONLY_WHEN_WRONG = {"meterline_intake_undecodable_requests"}


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    """
    A gateway that took metrics and logs, one point of them into quarantine.
    """
    (tmp_path / "m.yaml").write_text(CONFIG + RULES, encoding="utf-8")
    gateway = Gateway(load_config(tmp_path / "m.yaml", {}))
    gateway.start()
    client = OtlpClient(gateway.endpoints["otlp"]["grpc"])
    workload = Workload(1, "table")
    for request in [workload.next() for _ in range(20)]:
        client.send(request.signal, request.body)
        client.send(request.signal, request.body.replace(b"customer.id", b"customer_id"))
    client.close()
    yield gateway
    gateway.stop(5)


def test_every_sample_is_in_the_table_and_none_of_it_is_dead(gateway: Gateway) -> None:
    """Names and labels of what all parts give are those of the table, and each line of it is given by some part."""
    given = {sample.name: set(sample.labels) for sample in (*gateway.samples(), *process_samples())}
    table = {metric.name: set(metric.labels) for metric in METRICS}

    assert {name: labels for name, labels in given.items() if table.get(name) != labels} == {}
    assert set(table) - set(given) <= ONLY_WITH_TLS | ONLY_WHEN_WRONG


def test_points_on_the_page_balance(gateway: Gateway) -> None:
    """What receivers accepted and quarantined is what the intake gave an outcome to."""
    samples = list(gateway.samples())
    received = sum(sample.value for sample in samples if sample.name.startswith("meterline_receiver_accepted_"))
    received += sum(sample.value for sample in samples if sample.name.startswith("meterline_receiver_quarantined_"))

    assert received == sum(sample.value for sample in samples if sample.name == "meterline_intake_points") > 0
