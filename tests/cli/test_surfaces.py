"""
Foreign text through every surface of the command line: what senders choose never reaches the terminal as it is.
"""

import json
import os
import time
from pathlib import Path

import pytest
from click.testing import CliRunner
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from meterline.cli import main
from meterline.config import load_config
from meterline.gateway import Gateway
from meterline.testing.sender import OtlpClient
from meterline.testing.workload import attribute

CONFIG = """\
ledger: {path: ./ledger.db}
receivers: {otlp: {grpc: {endpoint: "127.0.0.1:0"}}}
rules:
  - name: calls
    match: {log: true}
    customer: attributes["customer.id"]
    dimension: attributes["dimension"]
    value: attributes["amount"]
    identity: attributes["event.id"]
"""
CORPUS = (
    "\x1b[2J\x1b[31mred",
    "a\r\nb",
    "\x07bell",
    "\u202egnp.exe",
    "\x9b31m",
    "\u2028line",
    "=HYPERLINK(1)",
    "[bold]x[/bold]",
    "ü",
)


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """
    A ledger whose customers, dimensions and quarantined values are the corpus.
    """
    path = tmp_path_factory.mktemp("surfaces") / "m.yaml"
    path.write_text(CONFIG, encoding="utf-8")
    gateway = Gateway(load_config(path, os.environ))
    gateway.start()
    client = OtlpClient(gateway.endpoints["otlp"]["grpc"])
    assert client.send("logs", body()) == len(CORPUS)
    client.close()
    gateway.stop(5)
    return path


def body() -> bytes:
    """
    Make two log records of each hostile text: one that is usage, and one whose amount is no number.
    """
    request = ExportLogsServiceRequest()
    records = request.resource_logs.add().scope_logs.add().log_records
    for number, text in enumerate(CORPUS):
        for good in (True, False):
            record = records.add(time_unix_nano=time.time_ns())
            values = {"customer.id": text, "dimension": text, "event.id": f"{text}/{number}/{good}"}
            record.attributes.extend(attribute(key, value) for key, value in values.items())
            record.attributes.append(attribute("amount", 1 if good else text))
    return request.SerializeToString()


def output(*arguments: str) -> str:
    """
    Run a command that must pass.
    """
    result = CliRunner().invoke(main, list(arguments))
    assert result.exit_code == 0, result.output
    return result.output


@pytest.mark.parametrize(
    ("arguments", "rows"),
    [(("totals",), len(CORPUS)), (("totals", "--by", "customer"), len(CORPUS)), (("quarantine", "ls"), 1)],
)
def test_tables_show_and_do_not_send(config: Path, arguments: tuple[str, ...], rows: int) -> None:
    """Every line of a table can be printed, and there is one for each entry: nothing forges a row or moves a cursor."""
    lines = output(*arguments, str(config)).removesuffix("\n").split("\n")

    assert len(lines) == 1 + rows
    assert all(line.isprintable() for line in lines)


def test_json_brings_the_texts_back(config: Path) -> None:
    """JSON is plain ASCII, and holds exactly what was sent."""
    text = output("totals", str(config), "--json")
    rows = [json.loads(line) for line in text.splitlines()]

    assert text.isascii()
    assert {row["customer_id"] for row in rows} == {row["dimension_id"] for row in rows} == set(CORPUS)
