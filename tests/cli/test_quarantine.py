"""
`meterline quarantine ls`, over the real ledger of a real gateway.
"""

import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from meterline.cli import main
from meterline.config import load_config
from meterline.gateway import Gateway
from meterline.testing.sender import OtlpClient
from meterline.testing.workload import RULES, Workload

CONFIG = 'ledger: {path: ./ledger.db}\nreceivers: {otlp: {grpc: {endpoint: "127.0.0.1:0"}}}\n'


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """
    Write a config.
    """
    path = tmp_path / "m.yaml"
    path.write_text(CONFIG + RULES, encoding="utf-8")
    return path


def ls(config: Path, *options: str) -> Result:
    """
    List the quarantine of a config.
    """
    return CliRunner().invoke(main, ["quarantine", "ls", str(config), *options])


def test_lists_while_the_gateway_runs_and_afterwards(config: Path) -> None:
    """Each entry has the five names that others script against; the same while the gateway runs and when it does not."""
    gateway = Gateway(load_config(config, os.environ))
    gateway.start()
    try:
        client = OtlpClient(gateway.endpoints["otlp"]["grpc"])
        workload = Workload(3, "quarantine")
        for request in [workload.next() for _ in range(8)]:
            client.send(request.signal, request.body.replace(b"customer.id", b"customer_id"))
        client.close()
        running = ls(config, "--json")
    finally:
        gateway.stop(5)
    stopped = ls(config, "--json")
    rows = [json.loads(line) for line in stopped.stdout.splitlines()]

    assert (running.exit_code, stopped.exit_code) == (0, 0)
    assert running.stdout == stopped.stdout
    assert rows
    assert all(list(row)[:5] == ["id", "reason", "rule", "received_at", "detail"] for row in rows)
    assert {row["reason"] for row in rows} <= {"missing_customer", "missing_identity_customer"}
    text = ls(config).stdout.splitlines()
    assert text[0].split() == ["id", "reason", "rule", "received_at", "entries", "detail"]
    assert len(text) == len(rows) + 1


def test_nothing_in_it(config: Path) -> None:
    """A ledger that nobody ever wrote: nothing as JSON, a sentence as text, exit code 0, and no file made."""
    as_json, text = ls(config, "--json"), ls(config)

    assert (as_json.exit_code, as_json.stdout) == (0, "")
    assert (text.exit_code, text.stdout) == (0, "nothing is in quarantine\n")
    assert [path.name for path in config.parent.iterdir()] == ["m.yaml"]
