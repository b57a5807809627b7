"""
The usage receiver in a real gateway: what is told reaches exporters as it was told, once, and `meterline record` works on it.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
import urllib3

from meterline._proto.meterline.usage.v1 import usage_pb2 as pb
from meterline.encodings.times import nanoseconds
from meterline.receivers.usage.grpc_api import PATH
from meterline.testing.process import GatewayProcess, free_port, wait_until

CONFIG = """\
ledger: {{path: ./ledger.db}}
receivers:
  usage:
    http: {{endpoint: "127.0.0.1:{http}", auth: {auth}}}
    grpc: {{endpoint: "127.0.0.1:{grpc}"}}
exporters: {{out: {{type: file, path: ./out.ndjson, batch: {{max_wait_secs: 0.05}}}}}}
telemetry:
  metrics: {{endpoint: "127.0.0.1:{metrics}"}}
  health: {{endpoint: "127.0.0.1:{health}"}}
"""
AUTH = '{keys: [{name: crm, token: "t0ken", customers: [acme]}]}'


class Usage:
    """
    A gateway with this receiver, in a folder of its own.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ports = {name: free_port() for name in ("http", "grpc", "metrics", "health")}
        self.config = folder / "m.yaml"
        self.config.write_text(CONFIG.format(auth=AUTH, **self.ports), encoding="utf-8")
        self.gateway = GatewayProcess(self.config, [self.ports["http"], self.ports["grpc"]])

    def post(self, data: Any, token: str = "t0ken") -> Any:  # noqa: S107 - a test's own
        """
        Send JSON over HTTP; return status and answer.
        """
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {token}"}
        url = f"http://127.0.0.1:{self.ports['http']}/v1/usage"
        with urllib3.PoolManager(retries=False) as pool:
            answer = pool.request("POST", url, body=json.dumps(data), headers=headers, timeout=20)
            return answer.status, answer.json()

    def call(self, *items: pb.UsageItem) -> Any:
        """
        Send items over gRPC; return their results.
        """
        with grpc.insecure_channel(f"127.0.0.1:{self.ports['grpc']}") as channel:
            message = pb.RecordUsageRequest(items=items).SerializeToString()
            return pb.RecordUsageResponse.FromString(channel.unary_unary(PATH)(message, timeout=20)).results

    def lines(self) -> list[dict[str, Any]]:
        """
        Return what the exporter has written.
        """
        path = self.folder / "out.ndjson"
        return [json.loads(line) for line in path.read_text("utf-8").splitlines()] if path.exists() else []

    def asked(self, *arguments: str) -> list[dict[str, Any]]:
        """
        Ask the command line, in JSON lines.
        """
        done = self.gateway.ask(*arguments, "--json")
        assert done.returncode == 0, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture
def usage(tmp_path: Path) -> Iterator[Usage]:
    """
    A running one.
    """
    made = Usage(tmp_path)
    with made.gateway:
        made.gateway.start()
        yield made


@pytest.mark.timeout(180)
def test_told_once_and_delivered(usage: Usage, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Over HTTP, gRPC and by hand, with a kill between: exporter and totals have each record once, and answers name their ids.
    """
    monkeypatch.setenv("METERLINE_API_KEY", "t0ken")
    told = {"customerId": "acme", "dimensionId": "seats", "recordValue": "0.1", "metadata": {"plan": "pro"}}
    (now,) = usage.asked("record", "--customer=acme", "--dimension=seats", "--value=0.2")
    items = [{**told, "timestamp": now["timestamp"], "id": number} for number in range(20)]
    status, answer = usage.post([*items, {**items[0], "customerId": "other"}])
    assert (status, answer["recorded"], answer["results"][20]["reason"]) == (200, 20, "forbidden_customer")
    usage.gateway.kill()
    usage.gateway.start()
    assert usage.post(items)[1]["duplicate"] == 20
    assert usage.post(items, "wrong")[0] == 401
    (result,) = usage.call(
        pb.UsageItem(customer_id="b", dimension_id="d", record_value="3", timestamp=nanoseconds(now["timestamp"]))
    )
    assert result.outcome == pb.USAGE_OUTCOME_RECORDED
    wait_until(lambda: len(usage.lines()) == 22, 60, "all records in the file")
    lines = usage.lines()
    ids = {now["id"], result.id.hex(), *(each["id"] for each in answer["results"][:20])}
    assert {line["id"] for line in lines} == ids
    assert {(line["kind"], line["rule"], line["source"]["stream"]) for line in lines} == {("manual", "manual", None)}
    assert {line["source"]["principal"] for line in lines} == {"crm", "anonymous"}
    totals = {row["customer_id"]: row["value"] for row in usage.asked("totals")}
    assert totals == {"acme": "2.2", "b": "3"}
    (entry,) = usage.asked("quarantine", "ls")
    assert (entry["reason"], entry["rule"]) == ("forbidden_customer", "manual")
