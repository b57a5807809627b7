"""
What is made of the items of one request, collected.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

import msgpack

from meterline.api import Body, Format
from meterline.encodings.json import ambiguous
from meterline.encodings.json_text import written
from meterline.encodings.otlp import key_values, metric, own_identity, resource
from meterline.encodings.rejects import Reject, rejects
from meterline.protobuf.write import length_delimited

UNDECODABLE_ITEM = "undecodable_item"
UNSUPPORTED_ITEM = "unsupported_item"
TOO_DEEP = "too_deep"
DUPLICATE_KEY = "duplicate_key"


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


def certain(value: Any) -> Any:
    """
    Return a value of which it is known what it says. Raises ItemError: an object in it says a key twice.
    """
    if ambiguous(value):
        raise ItemError(
            DUPLICATE_KEY, "an object says a key twice, with different values; let the sender write it once"
        )
    return value


class Origin(NamedTuple):
    """
    Where a metric says that it is from.
    """

    resource: Mapping[str, Any] = {}
    scope: str = ""
    scope_version: str = ""
    scope_attributes: Mapping[str, Any] = {}

    def key(self) -> bytes:
        """
        Return bytes that are equal for equal origins.
        """
        return _NOWHERE_KEY if self is NOWHERE else resource((), *self)

    def within(self, tenant: Mapping[str, Any]) -> "Origin":
        """
        Return it with a tenant's attributes, which go before what it says itself.
        """
        return self._replace(resource={**{k: v for k, v in self.resource.items() if k not in tenant}, **tenant})


NOWHERE: Final = Origin()
_NOWHERE_KEY: Final = resource((), {})


class Family(NamedTuple):
    """
    The points that may stand in one Metric, beside its name: its data's field, and what follows the points there.
    """

    field: int
    tail: bytes = b""


class Point(NamedTuple):
    """
    A data point message, and its family.
    """

    family: Family
    data: bytes

    def alone(self, name: str) -> bytes:
        """
        Return a Metric of this point alone.
        """
        return _metric(name, self.family, [self.data])

    def identified(self, point_id: bytes) -> "Point":
        """
        Return it with an identity of its own, of 16 bytes; without, if that is b"".
        """
        return self._replace(data=self.data + own_identity(self.family.field, point_id)) if point_id else self


def _metric(name: str, family: Family, points: Iterable[bytes]) -> bytes:
    data = b"".join([length_delimited(1, point) for point in points])
    return metric(name, "", family.field, data + family.tail)


class Collector:
    """
    Collects what is made of items, in their order; ``finish`` gives the bodies.

    Points are put together, one resource for each origin and one Metric for each name and family, since the kernel does in
    one step what it has to do for a Metric. Those of one stream stay in the order in which they came.
    """

    def __init__(self, sent: Sent) -> None:
        self.sent = sent
        self._tenant = resource_of(sent)
        self._nowhere = NOWHERE.within(self._tenant)
        self._nowhere_key = self._nowhere.key()
        self._logs = bytearray()  # of repeated fields: a list of millions of records would weigh more than they do
        self._origins: dict[bytes, tuple[Origin, dict[tuple[str, Family], list[bytes]]]] = {}
        self._rejects = bytearray()
        self._bodies: list[Body] = []

    def log(self, record: bytes) -> None:
        """
        Add a LogRecord message.
        """
        self._logs += length_delimited(2, record)

    def point(self, name: str, point: Point, origin: Origin = NOWHERE) -> None:
        """
        Add a point of the metric with this name.
        """
        at, key = self._nowhere, self._nowhere_key
        if origin is not NOWHERE:
            at = origin.within(self._tenant)
            key = at.key()
        if key not in self._origins:
            self._origins[key] = (at, {})
        self._origins[key][1].setdefault((name, point.family), []).append(point.data)

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
        bodies = [*self._bodies]
        if self._origins:
            groups = (
                resource([_metric(*named, points) for named, points in metrics.items()], *at)
                for at, metrics in self._origins.values()
            )
            bodies.append(Body(Format.OTLP_METRICS, b"".join(groups)))
        if self._logs:
            bodies.append(Body(Format.OTLP_LOGS, _scoped(bytes(self._logs), self._tenant)))
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
