"""
The memo of one rule-set generation: contexts by the bytes that make them, and what the rules answered to each.

Everything here is a cache: an entry that is dropped is found, read and asked about again.
"""

import itertools
from collections.abc import Mapping
from typing import Final, Protocol, TypeAlias

from meterline.kernel import canonical
from meterline.kernel.canonical import BadValueError
from meterline.kernel.limits import Extent, extent
from meterline.kernel.reasons import Reason
from meterline.kernel.seam import Context, ContextVerdict, Fields, PointType, Temporality, Value
from meterline.kernel.told import GAUGE, Hint
from meterline.protobuf.read import LEN, fields

MAX_CONTEXTS: Final = 200_000

_ids = itertools.count(1)

_TYPES = {
    5: PointType.GAUGE,
    7: PointType.SUM,
    9: PointType.HISTOGRAM,
    10: PointType.EXPONENTIAL_HISTOGRAM,
    11: PointType.SUMMARY,
}
"""Fields of ``Metric.data``."""

Key: TypeAlias = tuple[int, bytes, bytes, int, bool] | tuple[int, bytes, bytes, int, bool, Hint]
"""
Data field number (or LOGS), name, unit, temporality, monotonic; and, in transcoded metrics, what the sum really is.
"""

LOGS: Final = 0
"""Stands where a metric's data field number would, for log records."""


def new_id() -> int:
    """
    Return an id that was never used in this process; any thread.
    """
    return next(_ids)


class Owner(Protocol):
    """
    A table that binds raw attributes to its slots.
    """

    version: int


class ScopeEntry:
    """
    One (resource, scope) as it stood on the wire, and the contexts under it.

    The canonical parts and mappings are read when first asked for. ``failure``: why the canonical form cannot be made.
    """

    __slots__ = ("_read", "contexts", "extent", "failure", "mappings", "names", "parts", "resource", "scope")

    def __init__(self, resource: bytes, scope: bytes) -> None:
        """
        Keep the merged payloads of the resource and the scope message; their structure was checked by the walk.
        """
        self.resource = resource
        self.scope = scope
        self.contexts: dict[Key, ContextEntry] = {}
        self.extent = Extent()
        self.failure: Reason | None = None
        self.parts: tuple[bytes, bytes] = (b"", b"")
        self.mappings: tuple[Mapping[str, Value], Mapping[str, Value]] = ({}, {})
        self.names = ("", "")
        self._read = False

    def read(self) -> "ScopeEntry":
        """
        Decode the attributes and names, once. Two threads may both do it: the results are equal.
        """
        if not self._read:
            resource = [self.resource[a:b] for num, wire, a, b, _ in fields(self.resource) if (num, wire) == (1, LEN)]
            scope = [self.scope[a:b] for num, wire, a, b, _ in fields(self.scope) if (num, wire) == (3, LEN)]
            self.mappings = (canonical.attributes(resource), canonical.attributes(scope))
            self.extent = Extent(*map(max, extent(resource), extent(scope)))
            try:
                self.names = (canonical.text(last(self.scope, 1)), canonical.text(last(self.scope, 2)))
                self.parts = (canonical.canonical_attributes(resource), canonical.canonical_attributes(scope))
            except BadValueError as error:
                self.failure = error.reason
            self._read = True
        return self


def last(buf: bytes, number: int) -> bytes:
    """
    Return the last payload of a length-delimited field, b"" when there is none.
    """
    found = b""
    for num, wire, a, b, _ in fields(buf):
        if num == number and wire == LEN:
            found = buf[a:b]
    return found


class ContextEntry:
    """
    One metric of one scope (or its logs): everything but the points, and its verdict once the rules have answered.

    ``bindings``: the raw attribute bytes of points -> where ``owner``, a meter's table, keeps their stream.
    ``failure``: why the names or the canonical form cannot be read; such points are refused when a rule matches.
    ``transcoded``: one of our own receivers made it; ``hint``: what it says that a sum really is. Neither is part of identity.
    """

    __slots__ = (
        "_context",
        "_prefix",
        "bindings",
        "data",
        "hint",
        "id",
        "key",
        "monotonic",
        "name",
        "owner",
        "scope",
        "temporality",
        "transcoded",
        "type",
        "unit",
        "verdict",
    )

    def __init__(self, scope: ScopeEntry, key: Key) -> None:
        """
        Take what the key says.
        """
        self.id = new_id()
        self.key = key
        self.scope = scope
        self.data, self.name, self.unit, temporality, self.monotonic = key[:5]
        self.transcoded = len(key) > 5
        self.hint: Hint = key[5] if len(key) > 5 else ""
        self.type = _TYPES.get(self.data, PointType.LOG)
        self.temporality = _temporality(self.type, temporality)
        self.verdict: ContextVerdict | None = None
        self.bindings: dict[bytes, int] = {}
        self.owner: Owner | None = None
        self._context: Context | None = None
        self._prefix: bytes | None = None

    @property
    def skip(self) -> bool:
        """
        Say whether the rules answered that none of them can match.
        """
        return self.verdict is not None and self.verdict.fields is Fields.SKIP

    @property
    def failure(self) -> Reason | None:
        """
        Return why the names, or the canonical form of what is constant, cannot be made; None when it can.
        """
        return self.scope.read().failure or _utf8(self.name) or _utf8(self.unit)

    def context(self) -> Context:
        """
        Return what the rules are asked about. A name that is not UTF-8 is shown with replacement characters.

        What is known to be a gauge is shown as one: no point of it is ever bound to the stream of the sum that it came as.
        """
        if self._context is None:
            scope = self.scope.read()
            gauge = self.hint == GAUGE
            self._context = Context(
                PointType.GAUGE if gauge else self.type,
                self.name.decode(errors="replace"),
                self.unit.decode(errors="replace"),
                Temporality.UNSPECIFIED if gauge else self.temporality,
                self.monotonic and not gauge,
                scope.mappings[0],
                scope.names[0],
                scope.names[1],
                scope.mappings[1],
            )
        return self._context

    def prefix(self) -> bytes:
        """
        Return the canonical form of all that is constant here; only when ``failure`` is None.
        """
        if self._prefix is None:
            make = canonical.log_prefix if self.type is PointType.LOG else canonical.stream_prefix
            self._prefix = make(self.context(), *self.scope.parts)
        return self._prefix


def _utf8(raw: bytes) -> Reason | None:
    try:
        raw.decode()
    except UnicodeDecodeError:
        return Reason.BAD_UTF8
    return None


def _temporality(point_type: PointType, number: int) -> Temporality:
    """
    Read the enum; a summary is cumulative by definition (otlp.md C5.5), an unknown number is unspecified.
    """
    if point_type is PointType.SUMMARY:
        return Temporality.CUMULATIVE
    return Temporality(number) if number in (0, 1, 2) else Temporality.UNSPECIFIED


class PythonPlan:
    """
    The memo itself. Decoding threads share it; each of its operations is one atomic dictionary access.
    """

    def __init__(self, gen: int, rules_hash: str) -> None:
        """
        ``rules_hash`` goes into the source of every record made under this plan.
        """
        self._gen = gen
        self.rules_hash = rules_hash
        self.scopes: dict[tuple[bytes, bytes], ScopeEntry] = {}
        self._made = 0

    @property
    def gen(self) -> int:
        """
        Return the generation of the rules.
        """
        return self._gen

    def scope(self, resource: bytes, scope: bytes) -> ScopeEntry | None:
        """
        Find the entry of a (resource, scope).
        """
        return self.scopes.get((resource, scope))

    def add_scope(self, resource: bytes, scope: bytes) -> ScopeEntry:
        """
        Add the entry of a (resource, scope) whose structure was checked.
        """
        return self.scopes.setdefault((resource, scope), ScopeEntry(resource, scope))

    def context(self, scope: ScopeEntry, key: Key) -> ContextEntry:
        """
        Find or add the entry of a context.
        """
        entry = scope.contexts.get(key)
        if entry is None:
            self._made += 1
            if self._made > MAX_CONTEXTS:
                self._forget()
            entry = scope.contexts.setdefault(key, ContextEntry(scope, key))
        return entry

    def _forget(self) -> None:
        """
        Drop the contexts that bind no stream; when that frees little, drop all: they are read again as they come.
        """
        kept = {}
        made = 0
        for pair, scope in list(self.scopes.items()):
            scope.contexts = {key: entry for key, entry in list(scope.contexts.items()) if entry.bindings}
            if scope.contexts:
                kept[pair] = scope
                made += len(scope.contexts)
        self.scopes = kept if made < MAX_CONTEXTS // 2 else {}
        self._made = made if self.scopes else 0
