"""
The responses of the export services.
"""

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsPartialSuccess, ExportLogsServiceResponse
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsPartialSuccess,
    ExportMetricsServiceResponse,
)

from meterline.api import Answer
from meterline.serving.refusals import shortened


def metrics_response(answer: Answer) -> bytes:
    """
    Return the ExportMetricsServiceResponse of stored points.
    """
    if not answer.rejected:
        return b""
    partial = ExportMetricsPartialSuccess(rejected_data_points=answer.rejected, error_message=shortened(answer.message))
    return ExportMetricsServiceResponse(partial_success=partial).SerializeToString()


def logs_response(answer: Answer) -> bytes:
    """
    Return the ExportLogsServiceResponse of stored records.
    """
    if not answer.rejected:
        return b""
    partial = ExportLogsPartialSuccess(rejected_log_records=answer.rejected, error_message=shortened(answer.message))
    return ExportLogsServiceResponse(partial_success=partial).SerializeToString()
