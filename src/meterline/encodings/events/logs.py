"""
Log records of events: the whole event is the body, and what it says of itself goes where OTLP has a place for it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from meterline.encodings.events.fields import find, first_text
from meterline.encodings.events.items import TOO_DEEP, ItemError, Sent
from meterline.encodings.otlp import log_record
from meterline.encodings.times import TimestampFormat, nanoseconds
from meterline.errors import UndecodableError

UID: Final = "log.record.uid"
_SEVERITIES: Final = ("severity_text", "severity", "level", "log.level")


@dataclass(frozen=True, slots=True)
class EventOptions:
    """
    What the user says of his events; "" and None: as the encoding says.

    ``id_field`` and ``timestamp_field`` are paths in an event, ``events_field`` is one in a document that holds a list of
    them. ``received``: an event without time takes the time at which it came, as its observed time.
    """

    id_field: str = ""
    timestamp_field: str = ""
    timestamp_format: TimestampFormat | None = None
    received: bool = False
    events_field: str = ""


class Shape(NamedTuple):
    """
    Where an encoding has what an event says of itself: paths, the first one that can be read is taken.
    """

    times: tuple[str, ...]
    time_format: TimestampFormat = "auto"
    ids: tuple[str, ...] = (UID, "event.id")
    names: tuple[str, ...] = ()

    def adapted(self, options: EventOptions) -> "Shape":
        """
        Return it with what the user has said.
        """
        return Shape(
            (options.timestamp_field,) if options.timestamp_field else self.times,
            options.timestamp_format or self.time_format,
            (options.id_field,) if options.id_field else self.ids,
            self.names,
        )


class Facts(NamedTuple):
    """
    What an event says of itself. ``time``: ns, 0 = nothing that can be read.
    """

    time: int
    uid: str
    name: str = ""
    severity: str = ""
    attributes: Mapping[Any, Any] = {}


def facts(event: Mapping[Any, Any], shape: Shape) -> Facts:
    """
    Read what an event says of itself.
    """
    times = (nanoseconds(find(event, path), shape.time_format) for path in shape.times)
    severity = next((text for path in _SEVERITIES if isinstance(text := find(event, path), str)), "")
    time = next((time for time in times if time), 0)
    return Facts(time, first_text(event, shape.ids), first_text(event, shape.names), severity)


def record(body: Any, said: Facts, sent: Sent, options: EventOptions) -> bytes:
    """
    Return the LogRecord of an event. Raises ItemError: nested deeper than any record may be.
    """
    observed = sent.received_at if options.received and not said.time else 0
    attributes = {**said.attributes, UID: said.uid} if said.uid else said.attributes
    try:
        return log_record(
            time=said.time,
            observed=observed,
            body=body,
            attributes=attributes,
            severity_text=said.severity,
            event_name=said.name,
        )
    except UndecodableError as error:
        raise ItemError(TOO_DEEP, str(error)) from error
