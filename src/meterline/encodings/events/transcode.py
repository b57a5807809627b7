"""
Documents of every known kind, by the name of their encoding.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, Literal

from meterline.api import Body, Format
from meterline.encodings import otlp_json
from meterline.encodings.events import cloudevents, vector
from meterline.encodings.events.fields import find, first_text
from meterline.encodings.events.items import UNSUPPORTED_ITEM, Collector, ItemError, Sent, certain, resource_of, wrong
from meterline.encodings.events.logs import UID, EventOptions, Facts, Shape, facts, record
from meterline.encodings.forward import Message
from meterline.encodings.forward_logs import Options as ForwardOptions
from meterline.encodings.forward_logs import log_bodies
from meterline.encodings.json import Ambiguous
from meterline.encodings.rejects import Reject
from meterline.errors import UndecodableError

EventEncoding = Literal["auto", "vector", "logstash", "fluent_bit", "cloudevents", "amplitude", "mixpanel"]

SHAPES: Final[Mapping[EventEncoding, Shape]] = {
    "auto": Shape(("@timestamp", "timestamp", "time", "ts", "date")),
    "vector": Shape(("timestamp",), "rfc3339"),
    "logstash": Shape(("@timestamp",), "rfc3339"),
    "fluent_bit": Shape(("date", "@timestamp", "timestamp")),
    "cloudevents": Shape((), "rfc3339"),
    "amplitude": Shape(("time",), "ms", ("insert_id",), ("event_type",)),
    "mixpanel": Shape(("properties.time",), "auto", ("properties.$insert_id",), ("event",)),
}
"""Where each encoding has what an event says of itself. What the user says holds for those that are not ``_OWN``."""

_OWN: Final = frozenset({"cloudevents", "amplitude", "mixpanel"})
_GROWTH: Final = 16
"""A record is larger than its msgpack, since every value has a length in front; by more than this only when it is a trick."""

_REQUESTS: Final = frozenset({"resourceMetrics", "resourceLogs", "resource_metrics", "resource_logs"})
_NO_OPTIONS: Final = EventOptions()
_NOT_KNOWN: Final = Sent()


class _Request(Collector):
    """
    One request on its way from documents to bodies.
    """

    def __init__(self, encoding: EventEncoding, options: EventOptions, sent: Sent) -> None:
        super().__init__(sent)
        self.options = options
        self.shape = SHAPES[encoding] if encoding in _OWN else SHAPES[encoding].adapted(options)
        self._add = _ADD[encoding]
        self._mixpanel = encoding == "mixpanel"
        self._events = 0

    def take(self, item: Any) -> None:
        """
        Add one item, or set it aside.
        """
        try:
            self._add(self, _object(certain(item)))
        except ItemError as error:
            self.reject(error, _without_secrets(item) if self._mixpanel else item)

    def event(self, body: Any, said: Facts) -> None:
        """
        Add an event as a log record.
        """
        if not said.uid and self.sent.place:
            said = said._replace(uid=f"{self.sent.place}:{self._events}")
        self._events += 1
        self.log(record(body, said, self.sent, self.options))


def transcode(
    documents: Iterable[Any],
    encoding: EventEncoding = "auto",
    options: EventOptions = _NO_OPTIONS,
    sent: Sent = _NOT_KNOWN,
) -> list[Body]:
    """
    Make bodies of documents, which ``read_body`` or ``read_line`` gave: an object is an item, a list is its items.
    """
    request = _Request(encoding, options, sent)
    for document in documents:
        if isinstance(document, Reject):
            request.set_aside(document)
            continue
        for item in _items(document, options.events_field):
            request.take(item)
    return request.finish()


def _items(document: Any, events_field: str) -> Iterable[Any]:
    """
    Return the items of a document: a list's own, those of the list that it holds, or itself.
    """
    if events_field and isinstance(document, Mapping):
        inner = None if isinstance(document, Ambiguous) and document.own else find(document, events_field)
        return inner if isinstance(inner, list) else (document,)
    return document if isinstance(document, list) else (document,)


def transcode_cloudevent(
    headers: Mapping[str, str], data: bytes, options: EventOptions = _NO_OPTIONS, sent: Sent = _NOT_KNOWN
) -> list[Body]:
    """
    Make bodies of one CloudEvent whose attributes are HTTP headers, names in lower case.
    """
    request = _Request("cloudevents", options, sent)
    try:
        request.event(*cloudevents.binary(headers, data))
    except ItemError as error:
        request.set_aside(Reject(error.reason, str(error), data, headers.get("content-type", "")))
    return request.finish()


def transcode_fluent(data: bytes, options: EventOptions = _NO_OPTIONS, sent: Sent = _NOT_KNOWN) -> list[Body]:
    """
    Make bodies of Fluent Bit's msgpack: ``[time, record]`` and ``[[time, metadata], record]``, one after the other.

    :raises UndecodableError: nothing of it is an entry.
    """
    ids = SHAPES["fluent_bit"].adapted(options).ids
    bodies = log_bodies(
        Message("", data),
        data,
        ForwardOptions(
            max_event_bytes=len(data),
            max_bytes=_GROWTH * (len(data) + 65_536),
            received_at=sent.received_at if options.received else 0,
            resource=resource_of(sent),
            attributes_of=lambda record: {UID: uid} if (uid := first_text(record, ids)) else {},
        ),
    )
    if data and not any(body.fmt is Format.OTLP_LOGS for body in bodies):
        raise UndecodableError("reading msgpack: no entry is in it; send [time, record] or [[time, metadata], record]")
    return bodies


def _object(item: Any) -> Mapping[Any, Any]:
    if not isinstance(item, Mapping):
        raise ItemError(UNSUPPORTED_ITEM, "an item that is no object")
    return item


def _log(request: _Request, event: Mapping[Any, Any]) -> None:
    request.event(event, facts(event, request.shape))


def _native(request: _Request, event: Mapping[Any, Any]) -> None:
    """
    Add an event of Vector's ``json`` codec, or of its ``native_json``, which says in a key around it what it is.
    """
    inner = event.get("log", event.get("metric")) if len(event) == 1 else None
    _vector(request, inner if isinstance(inner, Mapping) else event)


def _vector(request: _Request, event: Mapping[Any, Any]) -> None:
    key = vector.value_of(event)
    if key is None:
        _log(request, event)
    else:
        vector.add_metric(request, event, key, request.shape.time_format)


def _cloudevent(request: _Request, event: Mapping[Any, Any]) -> None:
    request.event(*cloudevents.structured(event))


def _mixpanel(request: _Request, event: Mapping[Any, Any]) -> None:
    if not isinstance(event.get("event"), str) or not isinstance(event.get("properties"), Mapping):
        raise wrong("a Mixpanel event without event name or properties")
    _log(request, _without_secrets(event))


def _without_secrets(event: Any) -> Any:
    """
    Return a Mixpanel event without the project's token, which is a credential.
    """
    properties = event.get("properties") if isinstance(event, Mapping) else None
    if not isinstance(properties, Mapping):
        return event
    return {**event, "properties": {key: value for key, value in properties.items() if key != "token"}}


def _auto(request: _Request, event: Mapping[Any, Any]) -> None:
    if not _REQUESTS.isdisjoint(event):
        request.bodies(otlp_json.bodies([event]))
    elif cloudevents.is_cloudevent(event):
        _cloudevent(request, event)
    else:
        _vector(request, event)


_ADD: Final[Mapping[EventEncoding, Callable[[_Request, Mapping[Any, Any]], None]]] = {
    "auto": _auto,
    "vector": _native,
    "logstash": _log,
    "fluent_bit": _log,
    "cloudevents": _cloudevent,
    "amplitude": _log,
    "mixpanel": _mixpanel,
}
