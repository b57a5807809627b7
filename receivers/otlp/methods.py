"""
OTLP over gRPC: the two export methods, for the shared listener. Traces are not served: they are answered UNIMPLEMENTED.
"""

from collections.abc import Callable
from functools import partial
from typing import Final

from opentelemetry.proto.collector.logs.v1 import logs_service_pb2
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2

from meterline.api import Answer, Body, Format
from meterline.receivers.otlp import answers
from meterline.serving.seam import Call, Decoded, Method

METRICS_SERVICE: Final[str] = metrics_service_pb2.DESCRIPTOR.services_by_name["MetricsService"].full_name
LOGS_SERVICE: Final[str] = logs_service_pb2.DESCRIPTOR.services_by_name["LogsService"].full_name


def methods() -> tuple[Method, Method]:
    """
    Return what is served over gRPC.
    """
    return (
        _method(METRICS_SERVICE, "metrics", Format.OTLP_METRICS, answers.metrics_response),
        _method(LOGS_SERVICE, "logs", Format.OTLP_LOGS, answers.logs_response),
    )


def _method(service: str, signal: str, fmt: Format, response: Callable[[Answer], bytes]) -> Method:
    return Method(f"/{service}/Export", signal, partial(_decode, fmt), partial(_respond, response))


def _decode(fmt: Format, call: Call) -> Decoded:
    """
    Hand the message on as it is: the kernel reads it.
    """
    return Decoded((Body(fmt, call.message),))


def _respond(response: Callable[[Answer], bytes], _call: Call, _decoded: Decoded, answer: Answer) -> bytes:
    return response(answer)
