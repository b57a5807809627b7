"""
The load generator of the benchmarks sends what it says: the same bytes to every system, valid and of the announced
shape.
"""

import subprocess
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
    for stream, point in enumerate(metric.sum.data_points):
        kinds = sorted(pair.value.WhichOneof("value") for pair in point.attributes)
        assert kinds == ["int_value"] + ["string_value"] * 7
        assert point.as_int == 5 * (7 + stream % 5)
        assert point.time_unix_nano > point.start_time_unix_nano
    assert 260 < len(body) / points < 310
