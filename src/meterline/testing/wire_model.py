"""
What is sent on wires, and what a wire is.

An event is one billable occurrence; a reading is one sample of a counter. Each wire says for which it is, and makes requests
of a chunk of them. ``RULES`` makes usage of all of them: the dimension is the wire's name, so that totals stand side by side.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, NamedTuple

RULES: Final = """
rules:
  - name: events
    match: {log: true, attributes: {job: {exists: false}}}
    customer: [body.customer, body.event_properties.customer, body.properties.customer]
    dimension: [body.wire, body.event_properties.wire, body.properties.wire]
    value: body.value
    identity: attributes["log.record.uid"]
  - name: lines
    match: {log: true, attributes: {job: {exists: true}}}
    parse_body: json
    customer: body.customer
    dimension: body.wire
    value: body.value
    identity: attributes["log.record.uid"]
  - name: readings
    match: {metric: "units_total"}
    customer: attributes["customer"]
    dimension: attributes["wire"]
    value: delta
"""


class Event(NamedTuple):
    """
    ``value``: a decimal text. ``time``: ns UTC, whole milliseconds, since some wires carry no more.
    """

    uid: str
    customer: str
    value: str
    time: int


class Reading(NamedTuple):
    """
    One sample of the counter of (customer, host). ``value``: a whole number.
    """

    customer: str
    host: str
    value: int
    time: int


@dataclass(frozen=True, slots=True)
class Request:
    """
    An HTTP request, or (``path`` of a method, no headers) a gRPC message, or what is written to a socket.
    """

    path: str
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Wire:
    """
    How one kind of sender writes. ``make(name, chunk)`` returns one request.
    """

    name: str
    receiver: str
    transport: Literal["http", "grpc", "forward", "file"]
    carries: Literal["events", "readings"]
    make: Callable[[str, Sequence[Any]], Request]

    def requests(self, points: Sequence[Any], size: int) -> Iterable[Request]:
        """
        Return the requests of all points, ``size`` in each.
        """
        for first in range(0, len(points), size):
            yield self.make(self.name, points[first : first + size])
