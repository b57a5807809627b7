"""
A real Collector's remote write exporter against a real gateway that is killed meanwhile: both versions of the protocol.
"""

import json
import random
import time
from collections import Counter
from decimal import Decimal
from pathlib import Path

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from meterline.testing.evidence import check_balance
from meterline.testing.peers import collector
from meterline.testing.process import Program, free_port
from meterline.testing.sender import OtlpClient
from meterline.testing.site import Site

pytestmark = [pytest.mark.peer, pytest.mark.timeout(900)]

GATE = "exporter.prometheusremotewritexporter.enableSendingRW2"
CUSTOMERS = 20
RULES = """
rules:
  - name: calls
    match: {metric: api_calls_total}
    customer: attributes["customer_id"]
    dimension: calls
"""


class WriteSite(Site):
    """
    A gateway with the Prometheus receiver in place of OTLP's.
    """

    receiver = "prometheus"


def exporting(folder: Path, url: str, version: str) -> tuple[Program, int]:
    """
    Return a Collector that writes to this URL, and its OTLP port.
    """
    port = free_port()
    exporter = {
        "endpoint": url,
        "tls": {"insecure": True},
        "send_metadata": True,
        "protobuf_message": version,
        "retry_on_failure": {"initial_interval": "50ms", "max_interval": "200ms", "max_elapsed_time": "0s"},
    }
    config = {
        "receivers": {"otlp": {"protocols": {"grpc": {"endpoint": f"127.0.0.1:{port}"}}}},
        "exporters": {"prometheusremotewrite": exporter},
        "service": {
            "telemetry": {"metrics": {"level": "none"}},
            "pipelines": {"metrics": {"receivers": ["otlp"], "exporters": ["prometheusremotewrite"]}},
        },
    }
    path = folder / "collector.yaml"
    path.write_text(json.dumps(config), encoding="utf-8")
    command = [str(collector()), f"--config={path}", f"--feature-gates={GATE}"]
    return Program(command, folder / "collector.log", ports=[port]), port


def readings(start: int, values: Counter[str]) -> bytes:
    """
    Return a request with every counter as it is now.
    """
    request = ExportMetricsServiceRequest()
    resource = request.resource_metrics.add()
    resource.resource.attributes.add(key="service.name").value.string_value = "shop"
    metric = resource.scope_metrics.add().metrics.add(name="api.calls")
    metric.sum.aggregation_temporality = 2
    metric.sum.is_monotonic = True
    for name in sorted(values):
        point = metric.sum.data_points.add(
            start_time_unix_nano=start, time_unix_nano=time.time_ns(), as_int=values[name]
        )
        point.attributes.add(key="customer.id").value.string_value = name
    return request.SerializeToString()


@pytest.mark.parametrize("version", ["prometheus.WriteRequest", "io.prometheus.write.v2.Request"], ids=["1.0", "2.0"])
def test_sums_are_exact_through_kills(tmp_path: Path, rng: random.Random, version: str) -> None:
    """
    What the counters grew by is billed, though the gateway is killed under load and requests come in any order.
    """
    site = WriteSite(tmp_path, rules=RULES)
    agent, port = exporting(tmp_path, f"http://127.0.0.1:{site.port}/api/v1/push", version)
    values = Counter({f"c{n}": 0 for n in range(CUSTOMERS)})
    with site.gateway, agent:
        site.gateway.start()
        agent.start()
        start = time.time_ns()
        client = OtlpClient(f"127.0.0.1:{port}")
        for number in range(120):
            client.send("metrics", readings(start, values))
            if number in {40, 80}:
                site.gateway.kill()
                site.gateway.start()
            if number >= 10:  # at first all of them stand at 0, so that each has a first reading
                values.update(rng.choices(sorted(values), k=5))
            time.sleep(0.02)
        client.send("metrics", readings(start, values))
        client.close()
        site.settle({(name, "calls"): Decimal(count) for name, count in values.items() if count}, timeout_secs=60)
        check_balance(tmp_path)
