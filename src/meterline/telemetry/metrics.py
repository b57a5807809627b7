"""
Own metrics on the OpenTelemetry SDK: observable instruments that read what the gateway counts anyway.
"""

import os
import platform
import resource
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.metrics import CallbackOptions, Meter, Observation
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricReader, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from meterline import __version__
from meterline.api import Sample
from meterline.config.model import PushConfig
from meterline.kernel import load_kernel
from meterline.telemetry.http import Reply
from meterline.telemetry.table import METRICS, Metric

Samples = Callable[[], Iterable[Sample]]

_PAGE_SIZE = os.sysconf("SC_PAGE_SIZE")


class Reading:
    """
    One look at all samples, shared by every instrument of a collection, so that its numbers fit together.
    """

    def __init__(self, samples: Samples, unknown: Callable[[str], None]) -> None:
        """
        ``unknown`` is told once of each sample name that the table does not have.
        """
        self._samples = samples
        self._unknown = unknown
        self._reported: set[str] = set()
        self._known = {metric.name for metric in METRICS}
        self._observed: Mapping[str, Sequence[Observation]] = {}

    def take(self) -> None:
        """
        Read all samples now. The SDK runs callbacks one after the other in order of registration, under one lock.
        """
        observed: dict[str, list[Observation]] = {}
        for sample in self._samples():
            if sample.name in self._known:
                observed.setdefault(sample.name, []).append(Observation(sample.value, dict(sample.labels)))
            elif sample.name not in self._reported:
                self._reported.add(sample.name)
                self._unknown(sample.name)
        self._observed = observed

    def take_and_give(self, name: str) -> Sequence[Observation]:
        """
        Read all samples now, then return this name's: for the instrument that is asked first.
        """
        self.take()
        return self.of(name)

    def of(self, name: str) -> Sequence[Observation]:
        """
        Return what was read under this name.
        """
        return self._observed.get(name, ())


class Metrics:
    """
    The meter provider with its readers: the Prometheus page always, the OTLP push when an endpoint is given.
    """

    def __init__(
        self, samples: Samples, unknown: Callable[[str], None], push: PeriodicExportingMetricReader | None
    ) -> None:
        """
        Build everything; nothing is bound and nothing is sent before the first collection.
        """
        self._registry = CollectorRegistry(auto_describe=False)
        self._scrape = threading.Lock()
        readers: list[MetricReader] = [PrometheusMetricReader(scope_info_enabled=False, registry=self._registry)]
        readers += [] if push is None else [push]
        self._provider = MeterProvider(readers, _resource(), shutdown_on_exit=False)
        meter = self._provider.get_meter("meterline", __version__)
        _instruments(meter, Reading(lambda: (*samples(), *process_samples()), unknown))

    def page(self, headers: Mapping[str, str]) -> Reply:
        """
        Answer a scrape, in the text or the OpenMetrics format, as ``Accept`` asks.
        """
        encode, content_type = choose_encoder(headers.get("accept", ""))
        with self._scrape:  # the reader hands its data over through one queue
            return Reply(200, content_type, encode(self._registry))

    def stop(self, timeout_secs: float) -> None:
        """
        Push a last time where a push is configured, then let go.
        """
        self._provider.shutdown(timeout_millis=timeout_secs * 1000)


def pushing(config: PushConfig) -> PeriodicExportingMetricReader:
    """
    Return a reader that pushes over OTLP/gRPC, in the background and at stop.
    """
    headers = {key: value.get_secret_value() for key, value in config.headers.items()}
    exporter = OTLPMetricExporter(endpoint=config.endpoint, insecure=config.insecure, headers=headers, timeout=5)
    interval_millis = config.interval_secs * 1000
    return PeriodicExportingMetricReader(exporter, export_interval_millis=interval_millis, export_timeout_millis=5000)


def process_samples() -> Iterable[Sample]:
    """
    Return the numbers of this process: what runs, processor seconds, resident bytes, open files, threads, uptime.
    """
    build = {"version": __version__, "kernel": load_kernel().implementation, "python": platform.python_version()}
    yield Sample("meterline_build_info", build, 1)
    usage = resource.getrusage(resource.RUSAGE_SELF)
    yield Sample("meterline_process_cpu_seconds", {}, usage.ru_utime + usage.ru_stime)
    resident_pages = int(Path("/proc/self/statm").read_text().split()[1])
    yield Sample("meterline_process_memory_rss_bytes", {}, resident_pages * _PAGE_SIZE)
    yield Sample("meterline_process_open_files", {}, sum(1 for _ in Path("/proc/self/fd").iterdir()))
    yield Sample("meterline_process_threads", {}, threading.active_count())
    yield Sample("meterline_process_uptime_seconds", {}, time.monotonic() - _STARTED)


_STARTED = time.monotonic()


def _resource() -> Resource:
    """
    Name the service; OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES win, as for every OpenTelemetry program.
    """
    own = Resource({"service.name": "meterline", "service.version": __version__})
    return own.merge(OTELResourceDetector().detect())


def _instruments(meter: Meter, reading: Reading) -> None:
    first, *rest = METRICS
    _instrument(meter, first, reading.take_and_give)
    for metric in rest:
        _instrument(meter, metric, reading.of)


def _instrument(meter: Meter, metric: Metric, read: Callable[[str], Sequence[Observation]]) -> None:
    def callback(_options: CallbackOptions) -> Sequence[Observation]:
        return read(metric.name)

    create = meter.create_observable_counter if metric.kind == "counter" else meter.create_observable_gauge
    create(metric.name, [callback], unit=metric.unit, description=metric.description)
