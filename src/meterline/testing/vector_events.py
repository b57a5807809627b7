"""
Requests of Vector's native protocol in a line or two, for tests, and what becomes of them.
"""

from collections.abc import Sequence
from typing import Any, Final

from meterline._proto.vector.vector_pb2 import Metric, PushEventsRequest
from meterline.api import Body
from meterline.encodings.vector_native import Options, transcode
from meterline.testing.transcoded import Transcoded, pairs

NOW: Final = 1_795_346_017_123_456_789
ID: Final = bytes(range(16))
OPTIONS: Final = Options(max_event_bytes=10_000, max_bytes=1_000_000)


def made(request: PushEventsRequest | bytes, tenant: str = "", options: Options = OPTIONS) -> list[Body]:
    """
    Return the bodies of a request.
    """
    return transcode(request if isinstance(request, bytes) else request.SerializeToString(), tenant, options)


def logs(bodies: Sequence[Body]) -> list[Any]:
    """
    Return all log records.
    """
    return Transcoded(bodies).logs


def metrics(bodies: Sequence[Body]) -> list[Any]:
    """
    Return a metric for each point; they are transcoded ones.
    """
    found = Transcoded(bodies)
    assert "otlp_metrics" not in found.formats
    return found.metrics


def rejects(bodies: Sequence[Body]) -> list[tuple[str, bytes]]:
    """
    Return reason and item of each reject.
    """
    return [(reject.reason, reject.item) for reject in Transcoded(bodies).rejects]


def attributes(found: Any) -> dict[str, Any]:
    """
    Return the attributes of a record, a point or a resource as plain data.
    """
    return pairs(found.attributes)


def with_log(request: PushEventsRequest, source_event_id: bytes = ID, **fields: Any) -> Any:
    """
    Add a log event with text and integer fields and a time.
    """
    log = request.events.add().log
    for key, value in fields.items():
        if isinstance(value, int):
            log.fields[key].integer = value
        else:
            log.fields[key].raw_bytes = value.encode()
    log.fields["timestamp"].timestamp.FromNanoseconds(NOW)
    log.metadata_full.source_event_id = source_event_id
    return log


def with_metric(request: PushEventsRequest, source_event_id: bytes = ID, *, name: str = "calls", **keys: Any) -> Any:
    """
    Add a metric with a time and an id.
    """
    metric = request.events.add().metric
    metric.MergeFrom(Metric(name=name, **keys))
    metric.timestamp.FromNanoseconds(NOW)
    metric.metadata_full.source_event_id = source_event_id
    return metric
