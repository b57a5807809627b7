"""
What transcoded bodies hold, read back with the foreign protobuf library.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from meterline._proto.meterline.intake.v1.rejects_pb2 import Rejects
from meterline.api import Body
from meterline.testing.otlp import plain


def pairs(found: Any) -> dict[str, Any]:
    """
    Return repeated KeyValue as a mapping.
    """
    return {pair.key: plain(pair.value) for pair in found}


class Transcoded:
    """
    What a sequence of bodies holds: log records, rejects, and metrics with their resource and scope.

    ``metrics`` has one for each point, so that it does not matter how points are put together; ``whole`` has those of the body.
    """

    def __init__(self, bodies: Sequence[Body]) -> None:
        self.formats = {body.fmt.value for body in bodies}
        self.logs: list[Any] = []
        self.whole: list[Any] = []
        self.metrics: list[Any] = []
        self.resources: list[dict[str, Any]] = []
        self.scopes: list[Any] = []
        self.rejects: list[Any] = []
        for body in bodies:
            getattr(self, f"_{body.fmt.value}")(body.data)

    def _otlp_logs(self, data: bytes) -> None:
        for resource in ExportLogsServiceRequest.FromString(data).resource_logs:
            self.resources.append(pairs(resource.resource.attributes))
            self.logs += [log for scope in resource.scope_logs for log in scope.log_records]

    def _otlp_metrics(self, data: bytes) -> None:
        for resource in ExportMetricsServiceRequest.FromString(data).resource_metrics:
            for scope in resource.scope_metrics:
                singles = [single for metric in scope.metrics for single in apart(metric)]
                self.whole += scope.metrics
                self.metrics += singles
                self.scopes += [scope.scope] * len(singles)
                self.resources += [pairs(resource.resource.attributes)] * len(singles)

    _transcoded_metrics = _otlp_metrics

    def _rejects(self, data: bytes) -> None:
        self.rejects += Rejects.FromString(data).rejects

    @property
    def bodies(self) -> list[Any]:
        """
        Return the bodies of the log records, plain.
        """
        return [plain(log.body) for log in self.logs]

    @property
    def points(self) -> list[Any]:
        """
        Return the points of all metrics.
        """
        return [getattr(metric, metric.WhichOneof("data")).data_points[0] for metric in self.metrics]

    @property
    def uids(self) -> list[Any]:
        """
        Return ``log.record.uid`` of each record, None where there is none.
        """
        return [pairs(log.attributes).get("log.record.uid") for log in self.logs]

    @property
    def times(self) -> list[int]:
        """
        Return the time of each record.
        """
        return [log.time_unix_nano for log in self.logs]

    @property
    def reasons(self) -> list[str]:
        """
        Return the reason code of each reject.
        """
        return [reject.reason for reject in self.rejects]


def apart(metric: Any) -> Iterator[Any]:
    """
    Yield a metric with each of its points alone.
    """
    kind = metric.WhichOneof("data")
    for point in getattr(metric, kind).data_points:
        single = type(metric)()
        single.CopyFrom(metric)
        del getattr(single, kind).data_points[:]
        getattr(single, kind).data_points.append(point)
        yield single
