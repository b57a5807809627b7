"""
Paths for events of one encoding each.
"""

from typing import ClassVar, Final

from meterline.api import Answer, Body, Intake
from meterline.encodings.events import (
    EventEncoding,
    EventOptions,
    Sent,
    read_body,
    transcode,
    transcode_cloudevent,
    transcode_fluent,
)
from meterline.encodings.events.cloudevents import is_binary
from meterline.encodings.events.read import MSGPACK, readable
from meterline.receivers.json import words
from meterline.serving.seam import Decoded, Endpoint, Head, Page, Refusal, Reply, Request

PATHS: Final[dict[EventEncoding, tuple[str, ...]]] = {
    "auto": ("/v1/events",),
    "vector": ("/v1/events/vector", "/v1/vector"),
    "logstash": ("/v1/events/logstash", "/v1/logstash"),
    "fluent_bit": ("/v1/events/fluent-bit",),
    "cloudevents": ("/v1/events/cloudevents",),
}
_BINARY: Final = frozenset({"auto", "cloudevents"})


class EventsEndpoint(Endpoint):
    """
    Events of one encoding.
    """

    signal = "events"
    methods: ClassVar[tuple[str, ...]] = ("POST", "PUT")

    def __init__(self, encoding: EventEncoding, paths: tuple[str, ...], options: EventOptions) -> None:
        self.paths = paths
        self._encoding = encoding
        self._options = options

    def accepts(self, head: Head) -> bool:
        """
        Say whether events can be read of it; a CloudEvent in headers may have data of any type.
        """
        return self._is_binary(head) or readable(head.media_type)

    def decode(self, request: Request) -> Decoded:
        """
        Make log records and metrics of the events.
        """
        return Decoded(self._bodies(request))

    def _bodies(self, request: Request) -> list[Body]:
        head, sent = request.head, Sent(request.tenant, request.received_at)
        if self._is_binary(head):
            return transcode_cloudevent(head.headers, request.body, self._options, sent)
        if head.media_type in MSGPACK:
            return transcode_fluent(request.body, self._options, sent)
        documents = read_body(request.body, head.media_type, lines=self._encoding != "logstash")
        return transcode(documents, self._encoding, self._options, sent)

    def _is_binary(self, head: Head) -> bool:
        return self._encoding in _BINARY and is_binary(head.headers)

    def answer(self, request: Request, decoded: Decoded, answer: Answer) -> Reply:  # noqa: ARG002 - the seam's
        """
        Say how many were taken.
        """
        return words.stored(answer)

    def refuse(self, head: Head, refusal: Refusal) -> Reply:  # noqa: ARG002 - the seam's
        """
        Say why not.
        """
        return words.refused(refusal)


class HealthPage(Page):
    """
    What GET and HEAD get at the paths of events: Vector's health check wants 200.
    """

    def __init__(self, paths: tuple[str, ...], intake: Intake) -> None:
        self.paths = paths
        self._intake = intake

    def get(self, head: Head) -> Reply:  # noqa: ARG002 - the seam's
        """
        Say whether events would be stored now.
        """
        ready = self._intake.ready
        return words.reply(200 if ready else 503, {"status": "ready" if ready else "not ready"})
