"""
OTLP/JSON: export requests of metrics and logs, in every shape that senders really use, made into protobuf bodies.

What is accepted beside one object, which alone is OTLP: an array of requests (Vector's default framing), requests that
follow each other or stand one on a line (NDJSON; the Collector's file exporter), metrics and logs in one request.

**What a mistake costs.** Broken JSON costs its document: the whole body, or its line of NDJSON. A wrong value costs the
smallest thing around it that stands in a list of OTLP: the data point or log record; or the metric, scope, resource or
request when it is part of those themselves. That thing is set aside as one reject, and its neighbours pass. An object
that holds neither metrics nor logs, and is not empty, is a reject too: nothing that was sent vanishes. Beyond
``MAX_REJECTS`` in one body the rest stand together in one.
"""

from collections.abc import Iterable
from typing import Any, Final

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from meterline.api import Body, Format
from meterline.encodings import json
from meterline.encodings.otlp_json.aside import Aside
from meterline.encodings.otlp_json.tables import message
from meterline.encodings.otlp_json.wrong import WrongError, wrong_type
from meterline.encodings.rejects import Reject, rejects
from meterline.errors import UndecodableError

_METRICS: Final = message(ExportMetricsServiceRequest.DESCRIPTOR)
_LOGS: Final = message(ExportLogsServiceRequest.DESCRIPTOR)
_METRIC_KEYS: Final = frozenset({"resourceMetrics", "resource_metrics"})
_LOG_KEYS: Final = frozenset({"resourceLogs", "resource_logs"})
_KNOWN: Final = _METRIC_KEYS | _LOG_KEYS


def read(data: bytes) -> list[Body]:
    """
    Read a body of one request, an array of them, or several that follow each other.

    :raises UndecodableError: it is no JSON, too deep or too large for any reader, or no request is in it.
    """
    json.check_size(data)
    reader = _Reader()
    reader.take(json.documents(data, constants=True, unique=True))
    if not reader.requests:
        raise UndecodableError("reading OTLP/JSON: neither an object nor an array is in it")
    return reader.bodies()


def read_lines(data: bytes) -> list[Body]:
    """
    Read NDJSON: a request, or an array of them, on each line. A line that is none becomes a reject.

    :raises UndecodableError: there are lines, and no request is in any of them.
    """
    reader = _Reader()
    for line in data.split(b"\n"):
        if not line.strip():
            continue
        try:
            json.check_size(line)
            reader.take([*json.documents(line, constants=True, unique=True)])
        except UndecodableError as error:
            reader.aside.add(Reject("undecodable_item", str(error), line))
    if reader.aside.mark() != (0, 0) and not reader.requests:
        raise UndecodableError("reading NDJSON of OTLP: none of its lines is an object or an array")
    return reader.bodies()


def bodies(documents: Iterable[Any]) -> list[Body]:
    """
    Return what documents hold that ``encodings.json`` read with ``unique``: at most one body each of metrics, logs and rejects.

    The same documents give the same bytes.
    """
    reader = _Reader()
    reader.take(documents)
    return reader.bodies()


class _Reader:
    """
    Takes documents one by one, so that no more than one of them is in memory as objects.
    """

    def __init__(self) -> None:
        self.aside = Aside()
        self.requests = 0
        self._metrics: list[bytes] = []
        self._logs: list[bytes] = []

    def take(self, documents: Iterable[Any]) -> None:
        """
        Read documents; ``requests`` counts those that may hold any.
        """
        for document in documents:
            self.requests += isinstance(document, dict | list)
            for request in document if isinstance(document, list) else (document,):
                self._request(request)

    def _request(self, request: Any) -> None:
        before = self.aside.mark()
        try:
            _check(request)
            metrics, logs = _METRICS.encode(request, self.aside), _LOGS.encode(request, self.aside)
        except WrongError as error:
            self.aside.back_to(before)
            self.aside.put(error, request, "request")
        else:
            self._metrics.append(metrics)
            self._logs.append(logs)

    def bodies(self) -> list[Body]:
        """
        Return what was read.
        """
        made = (
            Body(Format.OTLP_METRICS, b"".join(self._metrics)),
            Body(Format.OTLP_LOGS, b"".join(self._logs)),
        )
        return [body for body in made if body.data] + rejects(self.aside.all())


def _check(request: Any) -> None:
    if not isinstance(request, dict):
        raise wrong_type(request, "an export request")
    if request and not _KNOWN & request.keys():
        raise WrongError("an object with neither resourceMetrics nor resourceLogs")
