"""
What the tests of remote write share: a request transcoded, and read back with OTLP's own classes.
"""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from meterline._proto.meterline.intake.v1.rejects_pb2 import Rejects
from meterline.api import Format
from meterline.encodings.prometheus import Choose, Transcoded, Verdict, transcode
from meterline.encodings.prometheus_read import read_v1, read_v2
from meterline.encodings.prometheus_series import SeriesReader, Shape
from meterline.testing.remote_write import Written, request_v1, request_v2

HA = ("cluster", "__replica__")


@dataclass
class Read:
    """
    A transcoded request: what OTLP's classes and the rejects' read of it.
    """

    made: Transcoded
    metrics: list[Any] = field(default_factory=list)
    resource: dict[str, str] = field(default_factory=dict)
    rejects: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def points(self, name: str) -> list[Any]:
        """
        Return the points of all metrics of this name.
        """
        return [point for metric in self.metrics if metric.name == name for point in metric.sum.data_points]


def read_back(made: Transcoded) -> Read:
    """
    Read the bodies with OTLP's own classes.
    """
    found = Read(made)
    for body in made.bodies:
        if body.fmt is Format.REJECTS:
            rejects = Rejects.FromString(body.data).rejects
            found.rejects += [(reject.reason, json.loads(reject.item)) for reject in rejects]
        else:
            assert body.fmt is Format.TRANSCODED_METRICS
            message = ExportMetricsServiceRequest.FromString(body.data)
            for resource in message.resource_metrics:
                found.resource |= {pair.key: pair.value.string_value for pair in resource.resource.attributes}
                found.metrics += [metric for scope in resource.scope_metrics for metric in scope.metrics]
    return found


def counters(shape: Shape) -> Verdict:
    """
    Take every series as a counter.
    """
    return Verdict("counter")


Transcode = Callable[..., Read]


@pytest.fixture(params=["v1", "v2"])
def version(request: pytest.FixtureRequest) -> str:
    """
    Name each version of the protocol in turn.
    """
    return str(request.param)


@pytest.fixture
def read(version: str) -> Transcode:
    """
    Return a function that writes series in this version, and reads what becomes of them.
    """
    reader = SeriesReader(HA)

    def run(series: Iterable[Written], choose: Choose = counters, tenant: str = "") -> Read:
        request = read_v1(request_v1(series), reader) if version == "v1" else read_v2(request_v2(series), reader)
        return read_back(transcode(request, tenant, choose))

    return run


@pytest.fixture
def back() -> Callable[[Transcoded], Read]:
    """
    Return ``read_back``.
    """
    return read_back
