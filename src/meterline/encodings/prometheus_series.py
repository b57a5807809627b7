"""
Prometheus label sets as OTLP attributes, each made once: a sender writes the same labels with every sample.
"""

import threading
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Final, NamedTuple, TypeAlias

from meterline.encodings.prometheus_types import TYPES
from meterline.protobuf.read import LEN, fields
from meterline.protobuf.write import length_delimited, varint

MAX_CACHED_BYTES: Final = 32 * 1024 * 1024
"""Of each of two generations; an entry that is asked for again moves to the younger one."""

MAX_LABELS: Final = 1_024
"""Of one series; what a sender may send is fewer still (``Limits.max_attributes``)."""

MAX_PAIR_BYTES: Final = 1_024
"""Of the name of a cluster or a replica: elections remember both."""

_MAX_CACHED_KEY: Final = 65_536
_ENTRY_BYTES: Final = 600  # of the objects around the bytes
_POINT_BYTES: Final = 18  # a time and a value, each with its tag

Pair: TypeAlias = tuple[bytes, bytes]
Key: TypeAlias = bytes | tuple[bytes | int, ...]
"""What a label set is found by: the label fields of version 1.0; of 2.0 the texts in their order, and the metric's type."""


class Shape(NamedTuple):
    """
    What decides how a series is taken. ``replica`` "" : it is not one of a pair. ``metric_type``: of ``prometheus_types``.
    """

    name: str
    cluster: str
    replica: str
    metric_type: int
    quantile: bool


class Fault(NamedTuple):
    """
    Why a label set is none; ``reason`` is a code of docs/reasons.md.
    """

    reason: str
    detail: str


class Series:
    """
    One label set. ``head``: how a point of it with a double begins; ``attributes``: how every point ends.
    """

    __slots__ = ("attributes", "fault", "head", "shape")

    def __init__(self, shape: Shape, attributes: bytes, fault: Fault | None = None) -> None:
        self.shape = shape
        self.attributes = attributes
        self.head = b"\x0a" + varint(_POINT_BYTES + len(attributes))
        self.fault = fault


TOO_MANY: Final = Fault("too_many_attributes", f"reading labels: there are more than {MAX_LABELS:,}")

TOO_LONG: Final = Fault(
    "value_too_long", f"reading labels: the cluster's or the replica's has more than {MAX_PAIR_BYTES:,} bytes"
)

_NOTHING: Final = Shape("", "", "", 0, False)


class SeriesReader:
    """
    Makes a ``Series`` of a key, or finds it. ``ha``: the names of the cluster's and the replica's label, None: no pairs.

    Any thread; two may make the same one, which harms nobody.
    """

    def __init__(self, ha: tuple[str, str] | None) -> None:
        self._cluster, self._replica = ("", "") if ha is None else ha
        self._young: dict[Key, Series] = {}
        self._old: dict[Key, Series] = {}
        self._nbytes = 0
        self._lock = threading.Lock()

    def series(self, key: Key) -> Series:
        """
        Return the series of a label set; one with a ``fault`` is not to be billed.

        :raises UndecodableError: broken wire structure.
        """
        found = self._young.get(key)
        if found is None:
            found = self._old.get(key) or self._made(pairs_of(key), 0 if isinstance(key, bytes) else int(key[-1]))
            self._keep(key, found)
        return found

    def _keep(self, key: Key, series: Series) -> None:
        size = (
            len(key) if isinstance(key, bytes) else sum(len(text) + 50 for text in key[:-1] if isinstance(text, bytes))
        )
        if size > _MAX_CACHED_KEY:
            return
        with self._lock:
            self._nbytes += size + len(series.attributes) + _ENTRY_BYTES
            if self._nbytes > MAX_CACHED_BYTES:
                self._old, self._young, self._nbytes = self._young, {}, 0
            self._young[key] = series

    def _made(self, pairs: Sequence[Pair], metric_type: int) -> Series:
        fault = _fault(pairs)
        if fault is not None:
            return faulty(fault)
        labels = {name.decode(): value.decode() for name, value in pairs if value}  # an empty value is no label
        replica = labels.pop(self._replica, "") if self._replica else ""
        cluster = labels.get(self._cluster, "") if replica else ""
        if max(len(replica.encode()), len(cluster.encode())) > MAX_PAIR_BYTES:
            return faulty(TOO_LONG)
        shape = Shape(
            labels.pop("__name__"),
            cluster,
            replica,
            metric_type or TYPES.get(labels.get("__type__", ""), 0),
            "quantile" in labels,
        )
        return Series(shape, _attributes(labels.items()))


def faulty(fault: Fault) -> Series:
    """
    Return a series of which no point can be made.
    """
    return Series(_NOTHING, b"", fault)


def pairs_of(key: Key) -> list[Pair]:
    """
    Return the labels behind a key; of too many, the first and one more.

    :raises UndecodableError: broken wire structure.
    """
    if isinstance(key, bytes):
        found = (_pair(key, at, to) for number, kind, at, to, _ in fields(key) if (number, kind) == (1, LEN))
        return list(islice(found, MAX_LABELS + 1))
    texts = [text for text in key if isinstance(text, bytes)]
    return list(zip(texts[::2], texts[1::2], strict=True))[: MAX_LABELS + 1]


def _pair(buf: bytes, pos: int, end: int) -> Pair:
    name = value = b""
    for number, kind, at, to, _ in fields(buf, pos, end):
        if (number, kind) == (1, LEN):
            name = buf[at:to]
        elif (number, kind) == (2, LEN):
            value = buf[at:to]
    return name, value


def _fault(pairs: Sequence[Pair]) -> Fault | None:
    if len(pairs) > MAX_LABELS:
        return TOO_MANY
    try:
        for text in (text for pair in pairs for text in pair):
            text.decode()
    except UnicodeDecodeError:
        return Fault("bad_utf8", "reading labels: one of them is not UTF-8")
    names = [name for name, _ in pairs]
    if len(set(names)) < len(names) or b"" in names:
        return Fault("undecodable_item", "reading labels: a name stands twice, or is empty")
    if not dict(pairs).get(b"__name__"):
        return Fault("undecodable_item", "reading labels: there is no __name__")
    return None


_METADATA: Final = ("__type__", "__unit__")  # metadata is never part of an identity


def _attributes(labels: Iterable[tuple[str, str]]) -> bytes:
    return b"".join(_attribute(name, value) for name, value in labels if name not in _METADATA)


def _attribute(name: str, value: str) -> bytes:
    text = length_delimited(1, value.encode())
    return length_delimited(7, length_delimited(1, name.encode()) + length_delimited(2, text))
