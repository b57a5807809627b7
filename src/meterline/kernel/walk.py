"""
Walk an OTLP request in its raw bytes: known points cost a slice each, everything unusual goes through ``walk_points``.

Points of a context that no rule can match are counted by their length prefixes and not opened.
"""

import struct
from collections.abc import Callable
from typing import Any

from meterline.api.receiver import Format
from meterline.kernel.batch import (
    Block,
    DistributionBlock,
    DistributionPoint,
    LogBlock,
    Number,
    NumberBlock,
    PythonBatch,
)
from meterline.kernel.plan import LOGS, ContextEntry, PythonPlan, ScopeEntry
from meterline.kernel.walk_points import (
    exponential_point,
    histogram_point,
    log_record,
    number_point,
    only_attributes,
    summary_point,
)
from meterline.kernel.wire import LEN, VARINT, broken, fields

Span = tuple[int, int]

_DISTRIBUTIONS: dict[int, Callable[[bytes], DistributionPoint]] = {
    9: histogram_point,
    10: exponential_point,
    11: summary_point,
}
_DATA = frozenset({5, 7, 9, 10, 11})

# The usual beginnings of a point: tags of start, time and as_int or as_double, each before its eight bytes.
_WITH_START = 27
_WITHOUT_START = 18
_KINDS: dict[type, str] = {int: "q", float: "d"}
_RUN = 64  # points unpacked by one call
_LAYOUTS = {
    (_WITH_START, "q"): (struct.Struct("<" + "xQxQxq" * _RUN), struct.Struct("<xQxQxq")),
    (_WITH_START, "d"): (struct.Struct("<" + "xQxQxd" * _RUN), struct.Struct("<xQxQxd")),
    (_WITHOUT_START, "q"): (struct.Struct("<" + "xQxq" * _RUN), struct.Struct("<xQxq")),
    (_WITHOUT_START, "d"): (struct.Struct("<" + "xQxd" * _RUN), struct.Struct("<xQxd")),
}


def decode(body: bytes, fmt: Format, plan: PythonPlan) -> PythonBatch:
    """
    Walk a body. Raises UndecodableError before anything was learned of it.
    """
    walk = _Walk(body, plan)
    for number, kind, a, b, _ in fields(body, 0, len(body)):
        if number == 1 and kind == LEN:
            walk.resource(a, b, fmt)
    return PythonBatch(body, fmt, plan, walk.blocks, walk.skipped)


class _Walk:
    """
    The state of one walk: what was found so far.
    """

    def __init__(self, buf: bytes, plan: PythonPlan) -> None:
        self.buf = buf
        self.plan = plan
        self.blocks: list[Block] = []
        self.skipped = 0

    def resource(self, pos: int, end: int, fmt: Format) -> None:
        """
        Walk a ResourceMetrics or ResourceLogs; its resource may stand behind its scopes, or in parts.
        """
        resource, scopes = self._split(pos, end)
        if not scopes:
            fields(resource, 0, len(resource))
        for a, b in scopes:
            scope, items = self._split(a, b)
            entry = self.plan.scope(resource, scope) or self._new_scope(resource, scope)
            if fmt is Format.OTLP_METRICS:
                for span in items:
                    self._metric(entry, *span)
            elif items:
                self._logs(entry, items)

    def _split(self, pos: int, end: int) -> tuple[bytes, list[Span]]:
        """
        Split a message into its field 1, merged, and the spans of its field 2.
        """
        parts = []
        spans = []
        buf = self.buf
        for number, kind, a, b, _ in fields(buf, pos, end):
            if kind == LEN:
                if number == 1:
                    parts.append(buf[a:b])
                elif number == 2:
                    spans.append((a, b))
        return parts[0] if len(parts) == 1 else b"".join(parts), spans

    def _new_scope(self, resource: bytes, scope: bytes) -> ScopeEntry:
        for message in (resource, scope):
            fields(message, 0, len(message))
        return self.plan.add_scope(resource, scope)

    def _logs(self, scope: ScopeEntry, items: list[Span]) -> None:
        entry = self.plan.context(scope, (LOGS, b"", b"", 0, False))
        if entry.skip:
            self.skipped += len(items)
            return
        self.blocks.append(LogBlock(entry, [log_record(self.buf[a:b]) for a, b in items]))

    def _metric(self, scope: ScopeEntry, pos: int, end: int) -> None:
        """
        Walk a Metric. The member of its oneof that comes last wins; equal members merge.
        """
        name = unit = b""
        data = 0
        spans: list[Span] = []
        buf = self.buf
        for number, kind, a, b, _ in fields(buf, pos, end):
            if kind != LEN:
                continue
            if number in _DATA:
                if number != data:
                    self._check_replaced(scope, data, spans)
                    data, spans = number, []
                spans.append((a, b))
            elif number == 1:
                name = buf[a:b]
            elif number == 3:
                unit = buf[a:b]
        if data in _DISTRIBUTIONS:
            self._distributions(scope, data, name, unit, spans)
        elif data:
            self._numbers(scope, data, name, unit, spans)

    def _check_replaced(self, scope: ScopeEntry, data: int, spans: list[Span]) -> None:
        """
        Check the structure of a oneof member that a later one replaces, since it decides whether the body is valid.
        """
        if spans:
            aside = _Walk(self.buf, PythonPlan(self.plan.gen, ""))
            walk = aside._distributions if data in _DISTRIBUTIONS else aside._numbers
            walk(scope, data, b"", b"", spans)

    def _distributions(self, scope: ScopeEntry, data: int, name: bytes, unit: bytes, spans: list[Span]) -> None:
        temporality, monotonic = 0, False
        found: list[Span] = []
        for pos, end in spans:
            for number, kind, a, b, _ in fields(self.buf, pos, end):
                if number == 1 and kind == LEN:
                    found.append((a, b))
                elif number == 2 and kind == VARINT and data != 11:
                    temporality = a & 0xFFFFFFFF
        entry = self.plan.context(scope, (data, name, unit, temporality, monotonic))
        if entry.skip:
            self.skipped += len(found)
        elif found:
            read = _DISTRIBUTIONS[data]
            self.blocks.append(DistributionBlock(entry, [read(self.buf[a:b]) for a, b in found]))

    def _numbers(self, scope: ScopeEntry, data: int, name: bytes, unit: bytes, spans: list[Span]) -> None:
        """
        Walk a Sum or Gauge, given as the parts that merge.
        """
        if len(spans) == 1:
            pos, end = spans[0]
            guess = _guess_tail(self.buf, pos, end) if data == 7 else (end, 0, False)
            known = scope.contexts.get((data, name, unit, guess[1], guess[2]))
            if known is not None and known.skip and self._hop(pos, guess[0]):
                return
        points = _Points(self.buf)
        for pos, end in spans:
            points.walk(pos, end)
        tail = (points.temporality, points.monotonic) if data == 7 else (0, False)
        entry = self.plan.context(scope, (data, name, unit, *tail))
        if entry.skip:
            self.skipped += points.count
        elif points.count:
            self.blocks.append(points.block(entry))

    def _hop(self, pos: int, end: int) -> bool:
        """
        Count the points up to ``end`` by their length prefixes; False when something else stands there.

        A hot loop: benchmarks/kernel.py, "skip".
        """
        buf = self.buf
        count = 0
        while pos < end and buf[pos] == 10:
            size = buf[pos + 1] if pos + 1 < end else 128
            pos += 2
            if size > 127:
                more = buf[pos] if pos < end else 128
                if more > 127:
                    return False
                size += (more << 7) - 128
                pos += 1
            pos += size
            count += 1
        if pos == end:
            self.skipped += count
        return pos == end


def _guess_tail(buf: bytes, pos: int, end: int) -> tuple[int, int, bool]:
    """
    Guess temporality and monotonicity from the last bytes of a Sum, where encoders put them: (where they start, the two).

    Only a guess: the bytes may belong to a point. The caller confirms that the points end where the tail starts.
    """
    if end - pos >= 4 and buf[end - 4] == 0x10 and buf[end - 2] == 0x18 and buf[end - 3] < 3 and buf[end - 1] < 2:
        return end - 4, buf[end - 3], buf[end - 1] == 1
    if end - pos >= 2 and buf[end - 2] == 0x10 and buf[end - 1] < 3:
        return end - 2, buf[end - 1], False
    return end, 0, False


class _Points:
    """
    The points of one sum or gauge while they are walked: each as a fixed-size head and the rest.
    """

    def __init__(self, buf: bytes) -> None:
        self.buf = buf
        self.size = 0
        self.heads: list[bytes] = []
        self.rests: list[bytes] = []
        self.odd: list[int] = []  # points too short for a head: head b"", all in the rest
        self.temporality = 0
        self.monotonic = False

    @property
    def count(self) -> int:
        return len(self.rests)

    def walk(self, pos: int, end: int) -> None:
        """
        Take the points of a Sum or Gauge and its tail.
        """
        if not self.size:
            self.size = _WITHOUT_START if _first_byte(self.buf, pos, end) == 0x19 else _WITH_START
        while pos < end:
            pos = self._run(pos, end)
            if pos < end:
                pos = self._other(pos, end)

    def _run(self, pos: int, end: int) -> int:
        """
        Take points as long as they look usual; return where the first other byte stands.

        A hot loop: benchmarks/kernel.py, "walk".
        """
        buf = self.buf
        width = self.size
        head = self.heads.append
        rest = self.rests.append
        limit = end - width - 2
        while pos < limit and buf[pos] == 10:
            size = buf[pos + 1]
            if size > 127:
                more = buf[pos + 2]
                if not 0 < more < 128:
                    break
                at = pos + 3
                stop = at + size + (more << 7) - 128
            elif size < width:
                break
            else:
                at = pos + 2
                stop = at + size
            if stop > end:
                raise broken("point past the end of its metric", pos)
            cut = at + width
            head(buf[at:cut])
            rest(buf[cut:stop])
            pos = stop
        return pos

    def _other(self, pos: int, end: int) -> int:
        """
        Take one field the careful way: an unusual point, temporality, monotonicity, or something unknown.
        """
        for number, kind, a, b, _ in fields(self.buf, pos, end):
            if number == 1 and kind == LEN:
                self._take(a, b)
                return b
            if number == 2 and kind == VARINT:
                self.temporality = a & 0xFFFFFFFF
            elif number == 3 and kind == VARINT:
                self.monotonic = a != 0
        return end

    def _take(self, a: int, b: int) -> None:
        cut = a + self.size
        if cut > b:
            self.odd.append(len(self.rests))
            self.heads.append(b"")
            self.rests.append(self.buf[a:b])
        else:
            self.heads.append(self.buf[a:cut])
            self.rests.append(self.buf[cut:b])

    def block(self, entry: ContextEntry) -> NumberBlock:
        """
        Make the block. Raises UndecodableError when a point that is not known yet is broken.
        """
        block = NumberBlock(entry, self.rests)
        if self.odd or not self._columns(block):
            self._careful(block)
            return block
        table = entry.owner
        version = table.version if table is not None else -1
        known = entry.bindings
        try:
            block.slots = list(map(known.__getitem__, self.rests))
        except KeyError:
            self._check_unknown(block)
        else:
            block.bound = (table, version)
        return block

    def _columns(self, block: NumberBlock) -> bool:
        """
        Fill the columns from the heads; False when their tags are not the usual ones.
        """
        joined = b"".join(self.heads)
        width, count = self.size, self.count
        kind = _kind(joined, width, count)
        if not kind:
            return False
        flat = _unpack(joined, width, kind)
        step = 3 if width == _WITH_START else 2
        block.starts = flat[0::3] if step == 3 else [0] * count
        block.times = flat[step - 2 :: step]
        block.values = flat[step - 1 :: step]
        block.kind = kind
        block.head, block.size = joined, width
        return True

    def _check_unknown(self, block: NumberBlock) -> None:
        known = block.entry.bindings
        odd = [index for index, key in enumerate(self.rests) if key not in known and not only_attributes(key)]
        if odd:
            self._careful(block)

    def _careful(self, block: NumberBlock) -> None:
        """
        Fill the columns point by point.
        """
        block.payloads = [head + rest for head, rest in zip(self.heads, self.rests, strict=True)]
        points = [number_point(payload) for payload in block.payloads]
        block.starts = [point[0] for point in points]
        block.times = [point[1] for point in points]
        values: list[Number] = [point[2] for point in points]
        block.values = values
        block.flags = {index: point[3] for index, point in enumerate(points) if point[3]}
        block.keys = [point[4] for point in points]
        kinds = {type(value) for value in values}
        block.kind = _KINDS.get(kinds.pop(), "") if len(kinds) == 1 and not block.flags else ""
        block.head, block.size = b"", 0


def _first_byte(buf: bytes, pos: int, end: int) -> int:
    """
    Peek at the first byte of the first point, to choose the layout; any answer is right, one is fast.
    """
    at = pos + 2 if pos + 1 < end and buf[pos + 1] < 128 else pos + 3
    return buf[at] if at < end else 0


def _kind(joined: bytes, width: int, count: int) -> str:
    """
    Return "q" when all heads are of as_int, "d" of as_double, "" when they are mixed or unusual.
    """
    value = joined[width - 9 :: width]
    time = joined[width - 18 :: width]
    if time != b"\x19" * count or (width == _WITH_START and joined[0::width] != b"\x11" * count):
        return ""
    if value == b"\x31" * count:
        return "q"
    return "d" if value == b"\x21" * count else ""


def _unpack(joined: bytes, width: int, kind: str) -> list[Any]:
    """
    Unpack the heads into one flat list.
    """
    many, one = _LAYOUTS[width, kind]
    flat: list[Any] = []
    whole = len(joined) // many.size * many.size
    for run in many.iter_unpack(memoryview(joined)[:whole]):
        flat += run
    for single in one.iter_unpack(memoryview(joined)[whole:]):
        flat += single
    return flat
