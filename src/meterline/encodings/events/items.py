"""
What is made of the items of one request, collected.
"""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import msgpack

from meterline.api import Body, Format
from meterline.encodings.json_text import written
from meterline.encodings.otlp import key_values, resource
from meterline.encodings.protobuf import length_delimited
from meterline.encodings.rejects import Reject, rejects

UNDECODABLE_ITEM = "undecodable_item"
UNSUPPORTED_ITEM = "unsupported_item"
TOO_DEEP = "too_deep"


class Sent(NamedTuple):
    """
    What is known of a request beside its body: the tenant, "" without, and when it came (ns UTC, 0: not known).

    ``place``: where it stands when that alone tells it from all others (a line of a file), "" else: an event without an id
    takes it, and its number there, as its id.
    """

    tenant: str = ""
    received_at: int = 0
    place: str = ""


def resource_of(sent: Sent) -> dict[str, str]:
    """
    Return the resource attributes of whatever came with a request.
    """
    return {"tenant.id": sent.tenant} if sent.tenant else {}


class ItemError(Exception):
    """
    No point can be made of this item; ``reason`` is a code of docs/reasons.md, the message one sentence without values.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


def wrong(detail: str) -> ItemError:
    """
    Return the error for an item that is not what its protocol says.
    """
    return ItemError(UNDECODABLE_ITEM, detail)


class Origin(NamedTuple):
    """
    Where a metric says that it is from.
    """

    resource: Mapping[str, Any]
    scope: str
    scope_version: str
    scope_attributes: Mapping[str, Any]

    def key(self) -> bytes:
        """
        Return bytes that are equal for equal origins.
        """
        return resource((), *self)


class Collector:
    """
    Collects what is made of items, in their order; ``finish`` gives the bodies.
    """

    def __init__(self, sent: Sent) -> None:
        self.sent = sent
        self._logs = bytearray()  # of repeated fields: a list of millions of records would weigh more than they do
        self._metrics: dict[bytes, tuple[Origin, list[bytes]]] = {}
        self._rejects = bytearray()
        self._bodies: list[Body] = []

    def log(self, record: bytes) -> None:
        """
        Add a LogRecord message.
        """
        self._logs += length_delimited(2, record)

    def metric(self, metric: bytes, origin: Origin) -> None:
        """
        Add a Metric message.
        """
        self._metrics.setdefault(origin.key(), (origin, []))[1].append(metric)

    def bodies(self, bodies: Iterable[Body]) -> None:
        """
        Add bodies that another encoding has made.
        """
        self._bodies += bodies

    def reject(self, error: ItemError, item: Any) -> None:
        """
        Set an item aside: as JSON, or as msgpack when JSON cannot say it.
        """
        try:
            self.set_aside(Reject(error.reason, str(error), written(item)))
        except (TypeError, ValueError):
            self.set_aside(Reject(error.reason, str(error), _packed(item), "msgpack"))

    def set_aside(self, reject: Reject) -> None:
        """
        Set an item aside that its reader could make nothing of.
        """
        self._rejects += rejects((reject,))[0].data

    def finish(self) -> list[Body]:
        """
        Return the bodies of all items.
        """
        tenant = resource_of(self.sent)
        bodies = [*self._bodies]
        if self._metrics:
            groups = (resource(items, {**at.resource, **tenant}, *at[1:]) for at, items in self._metrics.values())
            bodies.append(Body(Format.OTLP_METRICS, b"".join(groups)))
        if self._logs:
            bodies.append(Body(Format.OTLP_LOGS, _scoped(bytes(self._logs), tenant)))
        if self._rejects:
            bodies.append(Body(Format.REJECTS, bytes(self._rejects)))
        return bodies


def _scoped(logs: bytes, attributes: Mapping[str, Any]) -> bytes:
    """
    Return one field of an export request, of LogRecords that are fields already.
    """
    scoped = length_delimited(1, b"") + logs
    return length_delimited(1, length_delimited(1, key_values(1, attributes)) + length_delimited(2, scoped))


def _packed(item: Any) -> bytes:
    packed: bytes = msgpack.packb(item, default=str, unicode_errors="surrogatepass")
    return packed
