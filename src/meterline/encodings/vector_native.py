"""
Vector's native protocol: a ``vector.PushEventsRequest`` in, log records, metric points and rejects out.

An event becomes what Vector's JSON of the same event becomes (``encodings.events``), so that rules fit both. What only this
protocol has is ``source_event_id``, minted where an event entered Vector and kept through its retries. Pieces of one event
share it (a remap that returns an array, metrics made of one log), so it is not an identity by itself: that is a hash of it, of
what was made of the event, and of how many equal ones came before in the request.
"""

import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from google.protobuf.message import DecodeError

from meterline._proto.vector.vector_pb2 import EventWrapper, Log, Metadata, Metric, Value
from meterline.api import Body, Format
from meterline.encodings.events.items import UNDECODABLE_ITEM, UNSUPPORTED_ITEM, Collector, ItemError, Sent
from meterline.encodings.events.logs import UID, EventOptions, Facts, facts, record
from meterline.encodings.events.transcode import SHAPES
from meterline.encodings.otlp import key_values
from meterline.encodings.rejects import Reject
from meterline.encodings.times import nanoseconds
from meterline.encodings.vector_points import point_of
from meterline.encodings.vector_values import plain, written
from meterline.errors import TooLargeError
from meterline.protobuf.read import LEN, fields

MAX_ITEM_BYTES: Final = 64 * 1024
SOURCE_EVENT_ID: Final = "vector.source_event_id"

_EVENTS: Final = 1
_ATTRIBUTES: Final = 6  # of a LogRecord
_ID_BYTES: Final = 16
_INGESTED: Final = ("vector", "ingest_timestamp")  # in the metadata, where the log namespace is Vector's


@dataclass(frozen=True, slots=True)
class Options:
    """
    ``max_event_bytes``: of one event. ``max_bytes``: of all that is made of a request.

    ``received_at``: ns, the observed time of logs that have no time at all; 0 = leave it out.
    """

    max_event_bytes: int
    max_bytes: int
    received_at: int = 0


def transcode(request: bytes, tenant: str, options: Options) -> list[Body]:
    """
    Make bodies of a request; the same request makes the same bodies.

    :raises UndecodableError: it is no protobuf; an event that is none is a reject.
    :raises TooLargeError: the bodies would be over ``max_bytes``, which takes a request made for it.
    """
    return _Request(tenant, options).bodies(request)


class _Request:
    """
    One request on its way to bodies.
    """

    def __init__(self, tenant: str, options: Options) -> None:
        self._options = options
        self._made = Collector(Sent(tenant))
        self._seen: Counter[bytes] = Counter()
        self._room = options.max_bytes

    def bodies(self, request: bytes) -> list[Body]:
        for number, kind, start, end, _ in fields(request):
            if (number, kind) == (_EVENTS, LEN):
                self._take(request[start:end])
        return [
            replace(body, fmt=Format.TRANSCODED_METRICS) if body.fmt is Format.OTLP_METRICS else body
            for body in self._made.finish()
        ]

    def _take(self, data: bytes) -> None:
        try:
            self._add(data, self._parsed(data))
        except DecodeError:
            self._refuse(ItemError(UNDECODABLE_ITEM, "an event that is no event of Vector, or nested too deep"), data)
        except ItemError as error:
            self._refuse(error, data)

    def _parsed(self, data: bytes) -> EventWrapper:
        if len(data) > self._options.max_event_bytes:
            raise ItemError("value_too_long", f"an event of {len(data)} bytes is over max_event_bytes")
        return EventWrapper.FromString(data)

    def _add(self, data: bytes, event: EventWrapper) -> None:
        kind = event.WhichOneof("event")
        if kind == "log":
            self._log(event.log)
        elif kind == "metric":
            self._metric(data, event.metric)
        else:
            raise ItemError(UNSUPPORTED_ITEM, "a trace" if kind == "trace" else "an event without content")

    def _refuse(self, error: ItemError, data: bytes) -> None:
        reject = Reject(error.reason, str(error), data[:MAX_ITEM_BYTES], "protobuf")
        self._spend(len(reject.item) + len(reject.detail))
        self._made.set_aside(reject)

    def _spend(self, nbytes: int) -> None:
        self._room -= nbytes
        if self._room < 0:
            raise TooLargeError("reading request: what it holds is many times as large as itself; send smaller ones")

    def _log(self, log: Log) -> None:
        body = (
            plain(log.value) if log.HasField("value") else {key: plain(log.fields[key]) for key in sorted(log.fields)}
        )
        said = facts(body, SHAPES["vector"]) if isinstance(body, Mapping) else Facts(0, "")
        metadata = log.metadata_full.value if log.HasField("metadata_full") else log.metadata
        observed = 0 if said.time else _ingested(metadata) or self._options.received_at
        made = record(body, said, Sent(received_at=observed), EventOptions(received=bool(observed)))
        self._spend(len(made))
        self._made.log(made + self._own_id(log.metadata_full, made, said.uid))

    def _own_id(self, metadata: Metadata, made: bytes, uid: str) -> bytes:
        """
        Return the attributes that tell this event from its neighbours; an id that the event has itself goes before.
        """
        source = _event_id(metadata)
        if not source:
            return b""
        attributes = {SOURCE_EVENT_ID: source.hex()}
        return key_values(_ATTRIBUTES, attributes if uid else {**attributes, UID: self._identity(source, made).hex()})

    def _metric(self, data: bytes, metric: Metric) -> None:
        common, point = point_of(data, metric)
        source = _event_id(metric.metadata_full) if common.instant else b""
        if source:
            point = point.identified(self._identity(source, point.alone(common.name) + common.origin.key()))
        self._spend(len(common.name) + len(point.data))
        self._made.point(common.name, point, common.origin)

    def _identity(self, source: bytes, made: bytes) -> bytes:
        """
        Return 16 bytes that are this event's alone, the same in every repeat.
        """
        base = hashlib.blake2b(source + made, digest_size=_ID_BYTES).digest()
        before = self._seen[base]
        self._seen[base] += 1
        return hashlib.blake2b(base + before.to_bytes(8, "big"), digest_size=_ID_BYTES).digest()


def _event_id(metadata: Metadata) -> bytes:
    """
    Return the 16 bytes of the source's id; b"" when there are none, or the nil UUID.
    """
    found = metadata.source_event_id
    return found if len(found) == _ID_BYTES and any(found) else b""


def _ingested(metadata: Value) -> int:
    """
    Return when Vector took the event in, in ns; 0 when its metadata does not say so.
    """
    for name in _INGESTED:
        if metadata.WhichOneof("kind") != "map" or name not in metadata.map.fields:
            return 0
        metadata = metadata.map.fields[name]
    return nanoseconds(written(metadata.timestamp), "rfc3339") if metadata.WhichOneof("kind") == "timestamp" else 0
