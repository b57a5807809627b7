"""
The load generator of the benchmarks sends what it says: the same bytes to every system, valid and of the announced
shape.
"""

import subprocess
from itertools import pairwise
from pathlib import Path

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from meterline.testing.peers import go_program
from meterline.testing.workload import CUMULATIVE

pytestmark = [pytest.mark.peer, pytest.mark.timeout(300)]


@pytest.mark.parametrize("points", [8, 512, 8192])
def test_body(root: Path, tmp_path: Path, points: int) -> None:
    """
    A body decodes; each point has 7 text attributes and an int one, a stream of its own, and about 270 bytes.
    """
    binary = go_program("loadgen", root / "benchmarks" / "loadgen")
    command = [str(binary), "-dump", str(tmp_path / "body"), "-points", str(points), "-start", "1700000000000000000"]
    subprocess.run([*command, "-visit", "4"], check=True)
    body = (tmp_path / "body").read_bytes()
    metric = ExportMetricsServiceRequest.FromString(body).resource_metrics[0].scope_metrics[0].metrics[0]
    assert (metric.name, metric.sum.aggregation_temporality) == ("http.server.request.count", CUMULATIVE)
    assert metric.sum.is_monotonic
    assert len(metric.sum.data_points) == points
    assert len({point.SerializeToString() for point in metric.sum.data_points}) == points
    for point in metric.sum.data_points:
        kinds = sorted(pair.value.WhichOneof("value") for pair in point.attributes)
        assert kinds == ["int_value"] + ["string_value"] * 7
        assert point.time_unix_nano > point.start_time_unix_nano
    assert 260 < len(body) / points < 310


def test_counters_grow_as_if_at_random(root: Path, tmp_path: Path) -> None:
    """
    Each counter grows with every visit, by amounts that differ from stream to stream and from visit to visit.
    """
    binary = go_program("loadgen", root / "benchmarks" / "loadgen")
    readings = []
    for visit in range(5):
        command = [str(binary), "-dump", str(tmp_path / "body"), "-points", "512", "-visit", str(visit)]
        subprocess.run(command, check=True)
        request = ExportMetricsServiceRequest.FromString((tmp_path / "body").read_bytes())
        points = request.resource_metrics[0].scope_metrics[0].metrics[0].sum.data_points
        readings.append([point.as_int for point in points])
    steps = [after - before for one, two in pairwise(readings) for before, after in zip(one, two, strict=True)]
    assert min(steps) > 0
    assert len(set(steps)) > 100
