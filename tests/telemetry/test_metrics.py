"""
Own metrics: what samples become on the Prometheus page and in a push.
"""

import threading
from collections.abc import Iterable, Iterator
from concurrent import futures

import grpc
import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from prometheus_client.parser import text_string_to_metric_families
from pydantic import SecretStr

from meterline.api import Sample
from meterline.config.model import PushConfig
from meterline.telemetry import table
from meterline.telemetry.metrics import Metrics, pushing
from meterline.telemetry.table import METRICS, Metric

POINTS = Metric("meterline_test_points", "counter", "", "Points.", ("receiver",))
SIZE = Metric("meterline_test_bytes", "gauge", "By", "Size.")


@pytest.fixture(autouse=True)
def _two_metrics(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Let the table have two metrics more.
    """
    monkeypatch.setattr("meterline.telemetry.metrics.METRICS", (*METRICS, POINTS, SIZE))


class Part:
    """
    A component that counts, and counts how often it was read.
    """

    def __init__(self) -> None:
        self.reads = 0
        self.points = 0

    def samples(self) -> Iterable[Sample]:
        """
        Give the numbers.
        """
        self.reads += 1
        yield Sample("meterline_test_points", {"receiver": "a"}, self.points)
        yield Sample("meterline_test_points", {"receiver": "b"}, 2**60 + 1)
        yield Sample("meterline_test_bytes", {}, 7)
        yield Sample("meterline_not_in_the_table", {}, 1)


def scraped(metrics: Metrics) -> dict[tuple[str, str], float]:
    """
    Return the page as (sample name, receiver label) -> value.
    """
    page = metrics.page({}).body.decode()
    return {
        (sample.name, sample.labels.get("receiver", "")): sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
    }


def test_samples_become_the_page() -> None:
    """A counter gets ``_total`` and a point for each label set, a gauge keeps its name; nothing is added to labels."""
    part = Part()
    metrics = Metrics(part.samples, lambda _: None, None)
    part.points = 5

    page = scraped(metrics)

    assert page["meterline_test_points_total", "a"] == 5
    assert page["meterline_test_points_total", "b"] == float(2**60 + 1)
    assert page["meterline_test_bytes", ""] == 7
    assert 'meterline_test_points_total{receiver="a"} 5' in metrics.page({}).body.decode()
    metrics.stop(1)


def test_one_reading_for_a_whole_scrape() -> None:
    """All instruments of a scrape see one reading, so that sums on the page balance; the next scrape reads again."""
    part = Part()
    metrics = Metrics(part.samples, lambda _: None, None)

    scraped(metrics)
    scraped(metrics)

    assert part.reads == 2
    metrics.stop(1)


def test_unknown_samples_are_reported_once() -> None:
    """A name that the table does not have is told, once, and is not on the page."""
    told: list[str] = []
    metrics = Metrics(Part().samples, told.append, None)

    pages = [scraped(metrics), scraped(metrics)]

    assert told == ["meterline_not_in_the_table"]
    assert not any("not_in_the_table" in name for page in pages for name, _ in page)
    metrics.stop(1)


def test_parallel_scrapes_are_whole() -> None:
    """Scrapes at the same time each get every sample."""
    metrics = Metrics(Part().samples, lambda _: None, None)
    whole = set(scraped(metrics))
    with futures.ThreadPoolExecutor(8) as pool:
        pages = list(pool.map(lambda _: set(scraped(metrics)), range(24)))

    assert pages == [whole] * 24
    metrics.stop(1)


def test_openmetrics_when_asked_for() -> None:
    """The OpenMetrics format is given to who accepts it."""
    metrics = Metrics(Part().samples, lambda _: None, None)

    reply = metrics.page({"accept": "application/openmetrics-text; version=1.0.0"})

    assert "openmetrics" in reply.content_type
    assert reply.body.endswith(b"# EOF\n")
    metrics.stop(1)


def test_process_numbers_are_real() -> None:
    """Memory, files, threads and processor time of this process are on the page."""
    metrics = Metrics(lambda: (), lambda _: None, None)

    page = {name: value for (name, _), value in scraped(metrics).items()}

    assert page["meterline_process_memory_rss_bytes"] > 1_000_000
    assert page["meterline_process_open_files"] >= 3
    assert page["meterline_process_threads"] >= 1
    assert page["meterline_process_cpu_seconds_total"] > 0
    metrics.stop(1)


@pytest.fixture
def collector() -> Iterator[tuple[str, list[ExportMetricsServiceRequest]]]:
    """
    A real OTLP/gRPC server that keeps what it is sent.
    """
    got: list[ExportMetricsServiceRequest] = []

    def export(request: ExportMetricsServiceRequest, context: grpc.ServicerContext) -> ExportMetricsServiceResponse:
        assert ("x-team", "a") in context.invocation_metadata()
        got.append(request)
        return ExportMetricsServiceResponse()

    handler = grpc.unary_unary_rpc_method_handler(
        export,
        request_deserializer=ExportMetricsServiceRequest.FromString,
        response_serializer=ExportMetricsServiceResponse.SerializeToString,
    )
    service = "opentelemetry.proto.collector.metrics.v1.MetricsService"
    with futures.ThreadPoolExecutor(2) as pool:
        server = grpc.server(pool)
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {"Export": handler}),))
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        yield f"127.0.0.1:{port}", got
        server.stop(None).wait()


def push(endpoint: str) -> PeriodicExportingMetricReader:
    """
    Return a reader that pushes at its end, with a header.
    """
    return pushing(PushConfig(endpoint=endpoint, interval_secs=3600, headers={"x-team": SecretStr("a")}))


def test_push(collector: tuple[str, list[ExportMetricsServiceRequest]]) -> None:
    """With a push configured the last numbers reach a collector at stop, under their OpenTelemetry names."""
    endpoint, got = collector
    part = Part()
    metrics = Metrics(part.samples, lambda _: None, push(endpoint))
    part.points = 9

    metrics.stop(10)

    sent = [
        metric for resource in got[-1].resource_metrics for scope in resource.scope_metrics for metric in scope.metrics
    ]
    points = {metric.name: metric for metric in sent}["meterline_test_points"].sum.data_points
    assert {point.attributes[0].value.string_value: point.as_int for point in points} == {"a": 9, "b": 2**60 + 1}


def test_stop_does_not_wait_for_a_collector_that_is_away() -> None:
    """A push that reaches nobody holds up the shutdown no longer than its timeout."""
    metrics = Metrics(Part().samples, lambda _: None, push("127.0.0.1:1"))
    stopper = threading.Thread(target=metrics.stop, args=(1,), daemon=True)
    stopper.start()

    stopper.join(20)

    assert not stopper.is_alive()


def test_the_table_is_consistent() -> None:
    """Names are unique, carry the prefix and their unit, and never end as Prometheus ends counters by itself."""
    names = [metric.name for metric in table.METRICS]
    suffixes = {"By": "_bytes", "s": "_seconds", "": ""}

    assert sorted(set(names)) == sorted(names)
    assert all(metric.name.startswith("meterline_") for metric in table.METRICS)
    assert all(metric.name.endswith(suffixes[metric.unit]) for metric in table.METRICS)
    assert not any(name.endswith("_total") for name in names)
    assert all(metric.description.endswith(".") for metric in table.METRICS)
