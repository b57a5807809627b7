"""
OTLP/JSON: export requests of metrics and logs, in every shape that senders really use, made into protobuf bodies.

What is accepted beside one object, which alone is OTLP: an array of requests (Vector's default framing), requests that
follow each other or stand one on a line (NDJSON; the Collector's file exporter), metrics and logs in one request.

**What a mistake costs.** Broken JSON costs its document: the whole body, or its line of NDJSON. A wrong value costs the
smallest thing around it that stands in a list of OTLP: the data point or log record; or the metric, scope, resource or
request when it is part of those themselves. That thing is set aside as one reject, and its neighbours pass. An object
that holds neither metrics nor logs, and is not empty, is a reject too: nothing that was sent vanishes.
"""

from collections.abc import Iterable, Iterator
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

    :raises UndecodableError: it is no JSON, is nested too deep for any reader, or no request is in it.
    """
    documents = list(json.documents(data, constants=True))
    if not _any_request(documents):
        raise UndecodableError("reading OTLP/JSON: neither an object nor an array is in it")
    return bodies(documents)


def read_lines(data: bytes) -> list[Body]:
    """
    Read NDJSON: a request, or an array of them, on each line. A line that is none becomes a reject.

    :raises UndecodableError: there are lines, and no request is in any of them.
    """
    broken: list[Reject] = []
    documents = list(_lines(data, broken))
    if (broken or documents) and not _any_request(documents):
        raise UndecodableError("reading NDJSON of OTLP: none of its lines is an object or an array")
    return bodies(documents, broken)


def _any_request(documents: Iterable[Any]) -> bool:
    return any(isinstance(document, dict | list) for document in documents)


def _lines(data: bytes, broken: list[Reject]) -> Iterator[Any]:
    for line in data.split(b"\n"):
        if not line.strip():
            continue
        try:
            yield from list(json.documents(line, constants=True))
        except UndecodableError as error:
            broken.append(Reject("undecodable_item", str(error), line))


def bodies(documents: Iterable[Any], aside: Iterable[Reject] = ()) -> list[Body]:
    """
    Return what parsed documents (``encodings.json``) hold: at most one body each of metrics, of logs, and of rejects.

    ``aside``: rejects that the caller has already, which go with them. The same documents give the same bytes.
    """
    collected = Aside()
    collected.rejects.extend(aside)
    metrics, logs = [], []
    for request in _requests(documents):
        found = _request(request, collected)
        metrics.append(found[0])
        logs.append(found[1])
    made = (Body(Format.OTLP_METRICS, b"".join(metrics)), Body(Format.OTLP_LOGS, b"".join(logs)))
    return [body for body in made if body.data] + rejects(collected.rejects)


def _requests(documents: Iterable[Any]) -> Iterator[Any]:
    for document in documents:
        if isinstance(document, list):
            yield from document
        else:
            yield document


def _request(request: Any, aside: Aside) -> tuple[bytes, bytes]:
    before = len(aside.rejects)
    try:
        _check(request)
        return _METRICS.encode(request, aside), _LOGS.encode(request, aside)
    except WrongError as error:
        del aside.rejects[before:]
        aside.put(error, request, "request")
        return b"", b""


def _check(request: Any) -> None:
    if not isinstance(request, dict):
        raise wrong_type(request, "an export request")
    if request and not _KNOWN & request.keys():
        raise WrongError("an object with neither resourceMetrics nor resourceLogs")
