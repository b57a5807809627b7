"""
Walk an OTLP request in its raw bytes: known points cost a slice each, everything unusual goes through ``walk_points``.

Points of a context that no rule can match are counted by their length prefixes and not opened.
"""

from collections.abc import Callable

from meterline.api.receiver import Format
from meterline.kernel.batch import (
    Block,
    DistributionBlock,
    DistributionPoint,
    LogBlock,
    PythonBatch,
    ToldDistributionBlock,
)
from meterline.kernel.plan import LOGS, ContextEntry, Key, PythonPlan, ScopeEntry
from meterline.kernel.told import METADATA, NOTHING, Told, point_ids, read_told
from meterline.kernel.walk_numbers import NumberPoints
from meterline.kernel.walk_points import (
    exponential_point,
    histogram_point,
    log_record,
    summary_point,
)
from meterline.protobuf.read import LEN, VARINT, check, fields

Span = tuple[int, int]

_DISTRIBUTIONS: dict[int, Callable[[bytes], DistributionPoint]] = {
    9: histogram_point,
    10: exponential_point,
    11: summary_point,
}
_DATA = frozenset({5, 7, 9, 10, 11})
_METRICS = frozenset({Format.OTLP_METRICS, Format.TRANSCODED_METRICS})
_COUNTER = (7, 2, True)  # data, temporality, monotonic: what a type and a term can be said of


def decode(body: bytes, fmt: Format, plan: PythonPlan) -> PythonBatch:
    """
    Walk a body. Raises UndecodableError before anything was learned of it.
    """
    walk = _Walk(body, plan, NOTHING if fmt is Format.TRANSCODED_METRICS else None)
    for number, kind, a, b, _ in fields(body):
        if number == 1 and kind == LEN:
            walk.resource(a, b, fmt)
    return PythonBatch(body, fmt, plan, walk.blocks, walk.skipped)


class _Walk:
    """
    The state of one walk: what was found so far. ``told``: what a transcoded metric says of itself; None in other formats.
    """

    def __init__(self, buf: bytes, plan: PythonPlan, told: Told | None = None) -> None:
        self.buf = buf
        self.plan = plan
        self.told = told
        self.blocks: list[Block] = []
        self.skipped = 0

    def resource(self, pos: int, end: int, fmt: Format) -> None:
        """
        Walk a ResourceMetrics or ResourceLogs; its resource may stand behind its scopes, or in parts.
        """
        resource, scopes = self._split(pos, end)
        if not scopes:
            check(resource)
        for a, b in scopes:
            scope, items = self._split(a, b)
            entry = self.plan.scope(resource, scope) or self._new_scope(resource, scope)
            if fmt in _METRICS:
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
            check(message)
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
        metadata: list[bytes] = []
        buf = self.buf
        for number, kind, a, b, begin in fields(buf, pos, end):
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
            elif number == METADATA and self.told is not None:
                metadata.append(buf[begin:b])
        self._tell(metadata)
        if data in _DISTRIBUTIONS:
            self._distributions(scope, data, name, unit, spans)
        elif data:
            self._numbers(scope, data, name, unit, spans)

    def _tell(self, metadata: list[bytes]) -> None:
        """
        Note what a transcoded metric says of itself.
        """
        if self.told is not None:
            self.told = read_told(b"".join(metadata)) if metadata else NOTHING

    def _check_replaced(self, scope: ScopeEntry, data: int, spans: list[Span]) -> None:
        """
        Check the structure of a oneof member that a later one replaces, since it decides whether the body is valid.
        """
        if spans:
            aside = _Walk(self.buf, PythonPlan(self.plan.gen, ""), self.told)
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
        entry = self.plan.context(scope, self._key((data, name, unit, temporality, monotonic)))
        if entry.skip:
            self.skipped += len(found)
        elif found:
            self.blocks.append(self._distribution_block(entry, [_DISTRIBUTIONS[data](self.buf[a:b]) for a, b in found]))

    def _distribution_block(self, entry: ContextEntry, points: list[DistributionPoint]) -> DistributionBlock:
        if self.told is None:
            return DistributionBlock(entry, points)
        return ToldDistributionBlock(entry, points, point_ids(entry.data, [point.payload for point in points]))

    def _numbers(self, scope: ScopeEntry, data: int, name: bytes, unit: bytes, spans: list[Span]) -> None:
        """
        Walk a Sum or Gauge, given as the parts that merge.
        """
        if len(spans) == 1:
            pos, end = spans[0]
            guess = _guess_tail(self.buf, pos, end) if data == 7 else (end, 0, False)
            known = scope.contexts.get(self._key((data, name, unit, guess[1], guess[2])))
            if known is not None and known.skip and self._hop(pos, guess[0]):
                return
        points = NumberPoints(self.buf, self.told)
        for pos, end in spans:
            points.walk(pos, end)
        tail = (points.temporality, points.monotonic) if data == 7 else (0, False)
        entry = self.plan.context(scope, self._key((data, name, unit, *tail)))
        if entry.skip:
            self.skipped += points.count
        elif points.count:
            self.blocks.append(points.block(entry))

    def _key(self, key: tuple[int, bytes, bytes, int, bool]) -> Key:
        """
        Return the key of a context, with what is told of it in transcoded metrics.
        """
        if self.told is None:
            return key
        return (*key, self.told.hint if (key[0], key[3], key[4]) == _COUNTER else "")

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
