"""
A real OpenTelemetry Collector as the sender: gzip, TLS and a token, and what it makes of our answers.
"""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
import trustme
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from meterline.api import Answer, Body, Principal, Status
from meterline.receivers.otlp import OtlpReceiver
from meterline.testing.peers import Collector
from meterline.testing.process import free_port, wait_until

pytestmark = [pytest.mark.peer, pytest.mark.slow]

METRICS = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export"
CONFIG = """
receivers: {{otlp: {{protocols: {{grpc: {{endpoint: "127.0.0.1:{port}"}}}}}}}}
exporters:
  otlp:
    endpoint: {target}
    tls: {{ca_file: {folder}/ca.pem}}
    headers: {{authorization: "Bearer s3cret"}}
    retry_on_failure: {{initial_interval: 50ms, max_interval: 50ms, max_elapsed_time: 0}}
service:
  telemetry: {{metrics: {{level: none}}}}
  pipelines: {{metrics: {{receivers: [otlp], exporters: [otlp]}}}}
"""


def request(value: int) -> ExportMetricsServiceRequest:
    """
    Return a request large enough that the Collector compresses it.
    """
    message = ExportMetricsServiceRequest()
    resource = message.resource_metrics.add()
    scope = resource.scope_metrics.add()
    resource.resource.SetInParent()  # the Collector always writes both
    scope.scope.SetInParent()
    metric = scope.metrics.add(name="calls")
    metric.sum.aggregation_temporality, metric.sum.is_monotonic = 2, True
    for number in range(200):
        point = metric.sum.data_points.add(start_time_unix_nano=1, time_unix_nano=2, as_int=value)
        point.attributes.add(key="customer.id").value.string_value = f"customer-{number}"
    return message


@pytest.fixture
def receiver(start: Any, tmp_path: Path) -> OtlpReceiver:
    """
    Return a receiver with TLS and a key.
    """
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    leaf = authority.issue_cert("localhost")
    leaf.private_key_pem.write_to_path(tmp_path / "key.pem")
    leaf.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    tls = {"cert_file": str(tmp_path / "cert.pem"), "key_file": str(tmp_path / "key.pem")}
    started: OtlpReceiver = start(tls=tls, auth={"keys": [{"name": "fleet", "token": "s3cret"}]})
    return started


@pytest.fixture
def collector(receiver: OtlpReceiver, tmp_path: Path) -> Iterator[Any]:
    """
    Return a call that sends to a Collector, which sends on to the receiver.
    """
    port = free_port()
    config = tmp_path / "collector.yaml"
    target = f"localhost:{receiver.endpoints['grpc'].rpartition(':')[2]}"
    config.write_text(CONFIG.format(port=port, target=target, folder=tmp_path))
    process = Collector(config, tmp_path, [port])
    with process, grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        process.start()
        yield channel.unary_unary(METRICS)


def test_a_real_collector_obeys_our_answers(receiver: OtlpReceiver, collector: Any, intake: Any) -> None:
    """
    Refused for now it sends the same again, no earlier than told; refused for good, or stored, it does not.
    """
    tries: list[float] = []

    def decide(_: Body) -> Answer:
        tries.append(time.monotonic())
        return intake.answer if len(tries) > 1 else Answer(Status.RETRY, retry_after_secs=2)

    intake.decide = decide
    intake.answer = Answer(Status.STORED, points=200)
    collector(request(1).SerializeToString())
    wait_until(lambda: len(tries) == 2, 20, "the second try")
    assert tries[1] - tries[0] > 1.9

    intake.answer = Answer(Status.UNDECODABLE)
    collector(request(2).SerializeToString())
    wait_until(lambda: len(intake.bodies) == 3, 20, "the request that is refused for good")
    intake.answer = Answer(Status.STORED, points=200, rejected=3, message="three were bad")
    collector(request(3).SerializeToString())
    wait_until(lambda: len(intake.bodies) == 4, 20, "the last request")
    time.sleep(0.5)  # ten of the Collector's own retry delays

    values = [ExportMetricsServiceRequest.FromString(data) for data in intake.data]
    assert values == [request(1), request(1), request(2), request(3)]
    assert {principal for _, principal in intake.senders} == {Principal("fleet")}
    samples = {s.name: s.value for s in receiver.samples() if s.labels.get("signal", "metrics") == "metrics"}
    assert samples["meterline_receiver_accepted_metric_points"] == 397
    assert samples["meterline_receiver_received_bytes"] < sum(map(len, intake.data)) / 3
