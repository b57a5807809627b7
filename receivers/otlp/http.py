"""
OTLP over HTTP: the two export endpoints, protobuf and JSON, for the shared listener.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from meterline.api import Answer, Body, Format
from meterline.encodings import otlp_json
from meterline.receivers.otlp import answers, http_answers
from meterline.receivers.otlp.config import OtlpHttpConfig
from meterline.receivers.otlp.http_answers import Encoding
from meterline.serving.seam import Decoded, Endpoint, Head, Refusal, Reply, Request

_LINES: Final = ("application/x-ndjson", "application/ndjson")
_ENCODINGS: Final[Mapping[str, Encoding]] = {
    "application/x-protobuf": Encoding.PROTOBUF,
    "application/protobuf": Encoding.PROTOBUF,
    "application/json": Encoding.JSON,
    **dict.fromkeys(_LINES, Encoding.JSON),
}


@dataclass(frozen=True, slots=True)
class Signal:
    """
    What the two endpoints differ in. ``aliases``: paths of other receivers, so that senders change a host name and no more.
    """

    name: str
    format: Format
    aliases: tuple[str, ...]
    response: Callable[[Answer], bytes]
    rejected: str


METRICS: Final = Signal(
    "metrics",
    Format.OTLP_METRICS,
    ("/otlp/v1/metrics", "/api/v1/otlp/v1/metrics"),  # Grafana's, Prometheus's
    answers.metrics_response,
    "rejectedDataPoints",
)
LOGS: Final = Signal("logs", Format.OTLP_LOGS, ("/otlp/v1/logs",), answers.logs_response, "rejectedLogRecords")


class ExportEndpoint(Endpoint):
    """
    One signal's endpoint. JSON may hold both signals on either path; both are stored.

    A request without Content-Type is answered 415: it does not say what it is, and a wrong guess could store nonsense.
    """

    def __init__(self, signal: Signal, path: str) -> None:
        self.paths = (path, *(alias for alias in signal.aliases if alias != path))
        self.signal = signal.name
        self._signal = signal

    def accepts(self, head: Head) -> bool:
        """
        Say whether it is protobuf, JSON or NDJSON.
        """
        return head.media_type in _ENCODINGS

    def decode(self, request: Request) -> Decoded:
        """
        Hand protobuf on as it is, the kernel reads it; make protobuf of JSON.
        """
        media_type = request.head.media_type
        if _ENCODINGS[media_type] is Encoding.PROTOBUF:
            return Decoded((Body(self._signal.format, request.body),))
        return Decoded((otlp_json.read_lines if media_type in _LINES else otlp_json.read)(request.body))

    def answer(self, request: Request, decoded: Decoded, answer: Answer) -> Reply:  # noqa: ARG002
        """
        Say 200 with the signal's response in the encoding of the request; ``partial_success`` only for points in quarantine.
        """
        media_type = request.head.media_type
        if _ENCODINGS[media_type] is Encoding.PROTOBUF:
            return Reply(200, self._signal.response(answer), media_type)
        return Reply(200, http_answers.json_response(answer, self._signal.rejected), Encoding.JSON.value)

    def refuse(self, head: Head, refusal: Refusal) -> Reply:
        """
        Say it as a google.rpc.Status, in protobuf to who sent protobuf, else in JSON, which people can read.
        """
        return http_answers.status(refusal, _ENCODINGS.get(head.media_type, Encoding.JSON), head.media_type)


def endpoints(config: OtlpHttpConfig) -> tuple[ExportEndpoint, ExportEndpoint]:
    """
    Return what is served over HTTP. Traces are not: they are answered 404.
    """
    return ExportEndpoint(METRICS, config.metrics_path), ExportEndpoint(LOGS, config.logs_path)
