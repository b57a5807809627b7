"""
The OTLP exporter against a real OpenTelemetry Collector, which writes what it got to files.
"""

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import json_format
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from meterline.api import NotConnectedError, Verdict
from meterline.testing.batches import FixedBatch, some_records
from meterline.testing.otlp_server import LOGS, METRICS, OtlpRequest, records_in
from meterline.testing.peers import Collector
from meterline.testing.process import free_port, wait_until
from meterline.testing.rig import record_json

pytestmark = [pytest.mark.peer, pytest.mark.slow]

CONFIG = """
extensions: {{bearertokenauth: {{token: s3cret}}}}
receivers: {{otlp: {{protocols: {{grpc: {{endpoint: "127.0.0.1:{port}", auth: {{authenticator: bearertokenauth}}}}}}}}}}
exporters:
  file/logs: {{path: {folder}/logs.json, flush_interval: 100ms}}
  file/metrics: {{path: {folder}/metrics.json, flush_interval: 100ms}}
service:
  extensions: [bearertokenauth]
  telemetry: {{metrics: {{level: none}}}}
  pipelines:
    logs: {{receivers: [otlp], exporters: [file/logs]}}
    metrics: {{receivers: [otlp], exporters: [file/metrics]}}
"""


@pytest.fixture
def endpoint(tmp_path: Path) -> Iterator[str]:
    """
    Return the endpoint of a Collector that wants a token and writes into this test's folder.
    """
    port = free_port()
    config = tmp_path / "collector.yaml"
    config.write_text(CONFIG.format(port=port, folder=tmp_path))
    process = Collector(config, tmp_path, [port])
    with process:
        process.start()
        yield f"127.0.0.1:{port}"


def arrived(folder: Path, signal: str) -> dict[str, dict[str, Any]]:
    """
    Return the records of all lines that the Collector has finished, by id.
    """
    path = folder / f"{signal}.json"
    lines = path.read_bytes().split(b"\n")[:-1] if path.exists() else []
    kind, method = (ExportLogsServiceRequest, LOGS) if signal == "logs" else (ExportMetricsServiceRequest, METRICS)
    requests = [json_format.ParseDict(json.loads(line), kind()).SerializeToString() for line in lines]
    records = [record for body in requests for record in records_in(OtlpRequest(method, {}, body))]
    assert len({record["id"] for record in records}) == len(records), "a record is there twice"
    return {record["id"]: record for record in records}


@pytest.mark.parametrize("signal", ["logs", "metrics"])
def test_a_real_collector_has_every_record(
    endpoint: str, exporter_for: Any, rng: random.Random, tmp_path: Path, signal: str
) -> None:
    """
    After OK each record is in the Collector's file once, with its exact value, times and texts.
    """
    exporter = exporter_for(endpoint, signal=signal, headers={"authorization": "Bearer s3cret"})
    exporter.connect(None)
    values = () if signal == "logs" else ("7", "0.1", "-2", str(2**63 - 1), "1000000.000001")
    batches = [FixedBatch(some_records(rng, 200, values), number) for number in range(1, 6)]

    receipts = [exporter.send(batch) for batch in batches]

    assert {receipt.default.verdict for receipt in receipts} == {Verdict.DELIVERED}
    sent = {record.id: record_json(record) for batch in batches for record in batch.records}
    wait_until(lambda: len(arrived(tmp_path, signal)) >= len(sent), 20, "all records in the file")
    assert arrived(tmp_path, signal) == sent


def test_a_real_collector_refuses_a_wrong_token(endpoint: str, exporter_for: Any) -> None:
    """
    The Collector's word for a wrong token is found when connecting, before a record is sent.
    """
    exporter = exporter_for(endpoint, headers={"authorization": "Bearer wrong"})

    with pytest.raises(NotConnectedError, match="UNAUTHENTICATED"):
        exporter.connect(None)
