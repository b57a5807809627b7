"""
What the transcoded bodies hold, read back with the foreign protobuf library.
"""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from meterline._proto.meterline.intake.v1.rejects_pb2 import Rejects
from meterline.api import Body, Format
from meterline.testing.otlp import plain


def pairs(found: Any) -> dict[str, Any]:
    """
    Return repeated KeyValue as a mapping.
    """
    return {pair.key: plain(pair.value) for pair in found}


class Read:
    """
    What a sequence of bodies holds: log records, metrics with resource and scope, rejects.
    """

    def __init__(self, bodies: Sequence[Body]) -> None:
        self.logs: list[Any] = []
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
                self.metrics += scope.metrics
                self.scopes += [scope.scope] * len(scope.metrics)
                self.resources += [pairs(resource.resource.attributes)] * len(scope.metrics)

    def _rejects(self, data: bytes) -> None:
        self.rejects += Rejects.FromString(data).rejects

    @property
    def bodies(self) -> list[Any]:
        """
        Return the bodies of the log records, plain.
        """
        return [plain(log.body) for log in self.logs]

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


@pytest.fixture
def read() -> Callable[[Sequence[Body]], Read]:
    """
    Return what reads bodies back.
    """
    assert {fmt.value for fmt in (Format.OTLP_LOGS, Format.OTLP_METRICS, Format.REJECTS)} == {
        "otlp_logs",
        "otlp_metrics",
        "rejects",
    }
    return Read
