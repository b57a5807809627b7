"""
The Fluentd exporter against a real server: the OpenTelemetry Collector's fluentforward receiver, which acknowledges.
"""

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from meterline.api import Verdict
from meterline.testing.batches import FixedBatch, some_records
from meterline.testing.peers import Collector
from meterline.testing.process import free_port, wait_until
from meterline.testing.rig import record_json

pytestmark = [pytest.mark.peer, pytest.mark.slow]

CONFIG = """
receivers: {{fluentforward: {{endpoint: "127.0.0.1:{port}"}}}}
exporters: {{file: {{path: {path}, flush_interval: 100ms}}}}
service:
  telemetry: {{metrics: {{level: none}}}}
  pipelines: {{logs: {{receivers: [fluentforward], exporters: [file]}}}}
"""


def plain(value: dict[str, Any]) -> Any:
    """
    Return an OTLP/JSON AnyValue as plain data.
    """
    if "kvlistValue" in value:
        return {pair["key"]: plain(pair["value"]) for pair in value["kvlistValue"].get("values", [])}
    return next(iter(value.values()), None)


def logs_in(path: Path) -> Iterator[dict[str, Any]]:
    """
    Yield the log records of the lines that the Collector has finished.
    """
    for line in path.read_bytes().split(b"\n")[:-1]:
        for resource in json.loads(line)["resourceLogs"]:
            for scope in resource["scopeLogs"]:
                yield from scope["logRecords"]


@pytest.fixture
def collector(tmp_path: Path) -> Iterator[tuple[int, Path]]:
    """
    Return the port of a Collector and the file that it writes.
    """
    port, path = free_port(), tmp_path / "logs.json"
    config = tmp_path / "collector.yaml"
    config.write_text(CONFIG.format(port=port, path=path))
    process = Collector(config, tmp_path, [port])
    with process:
        process.start()
        yield port, path


def test_a_real_server_acknowledges_and_has_every_record(
    collector: tuple[int, Path], exporter_for: Any, rng: random.Random
) -> None:
    """
    After the acknowledgements each record is in the Collector's file, with its fields, exact value and time.
    """
    port, path = collector
    exporter = exporter_for(port)
    exporter.connect(None)
    batches = [FixedBatch(some_records(rng, 200), number) for number in range(1, 6)]

    verdicts = {exporter.send(batch).of(0).verdict for batch in batches}

    assert verdicts == {Verdict.DELIVERED}
    sent = {record.id: record for batch in batches for record in batch.records}
    wait_until(lambda: path.exists() and len(list(logs_in(path))) >= len(sent), 20, "all records in the file")
    arrived = list(logs_in(path))
    assert len(arrived) == len(sent)
    for log in arrived:
        fields = {pair["key"]: plain(pair["value"]) for pair in log["attributes"]}
        assert fields.pop("fluent.tag") == "meterline.usage"
        record = sent[fields["id"]]
        assert fields == record_json(record)
        assert int(log["timeUnixNano"]) == record.timestamp
