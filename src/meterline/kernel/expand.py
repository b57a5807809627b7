"""
From a frame to its records: ``Kernel.records``. A row counts once for each charge of its meter.

The order of records is fixed for ever: fast rows of scale 0, then of scale 18, slow rows, logs; each row's charges in order;
a zero amount, and a charge outside a slow row's mask, make no record.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import groupby, islice
from operator import attrgetter
from threading import Lock
from typing import Final, Literal
from weakref import WeakKeyDictionary

from meterline.kernel import framing, record_ids
from meterline.kernel.definitions import IDENTITY, Definitions, Kind
from meterline.kernel.framing import Block, LogRow, SlowRow
from meterline.kernel.record_ids import cumulative_prefix, delta_prefix
from meterline.kernel.seam import Names, TotalRow
from meterline.kernel.segments import HOUR, Entries, Entry, Segment
from meterline.kernel.text import Charges, ChargeText, SourceText, Times
from meterline.records import UsageRecord

_METERS_KEPT: Final = 262_144  # about 350 B each: 90 MB
_PATIENCE: Final = 8
_BLOCKS_KEPT: Final = 64
_CUMULATIVE: Final = int(Kind.CUMULATIVE)
_LINES: Final = 256  # joined at a time: more of them leave the cache, and cost a fifth more


class RecordBatch:
    """
    The records of one frame; ``kernel.seam.RecordBatch`` says what each method promises.
    """

    def __init__(self, segments: Iterable[Segment], times: Times) -> None:
        self._segments = [segment for segment in segments if len(segment)]
        self._times = times
        self._size = 0
        for segment in self._segments:
            segment.first = self._size
            self._size += len(segment)
        self._firsts = [segment.first for segment in self._segments]

    def __len__(self) -> int:
        return self._size

    def select(self, keep: Callable[[str, str, str], bool]) -> Sequence[int]:
        """
        Return the ordinals of the records whose (rule, customer, dimension) is kept.
        """
        verdicts: dict[ChargeText, bool] = {}
        for segment in self._segments:
            for charge in {entry.charge for entry in segment.entries}.difference(verdicts):
                verdicts[charge] = keep(*charge.key)
        if all(verdicts.values()):
            return range(self._size)
        return [
            segment.first + at
            for segment in self._segments
            for at, entry in enumerate(segment.entries)
            if verdicts[entry.charge]
        ]

    def record(self, ordinal: int) -> UsageRecord:
        """
        Build one record. Raises IndexError when there is none.
        """
        if not 0 <= ordinal < self._size:
            raise IndexError(f"building record {ordinal}: the frame has {self._size}")
        segment = self._segment(ordinal)
        return segment.record(ordinal - segment.first)

    def encode(self, fmt: Literal["ndjson", "csv"], ordinals: Sequence[int]) -> bytes:
        """
        Return these records as lines.
        """
        parts: list[bytes] = []
        for segment, places in self._places(ordinals):
            lines = segment.ndjson(places, self._times) if fmt == "ndjson" else segment.csv(places, self._times)
            while text := "".join(islice(lines, _LINES)):
                parts.append(text.encode())
        return b"".join(parts)

    def totals(self) -> Iterable[TotalRow]:
        """
        Return what this frame adds to the totals.
        """
        totals: dict[tuple[ChargeText, int], list[int]] = {}
        for segment in self._segments:
            segment.add_totals(totals)
        rows: dict[tuple[str, str, int], list[int]] = {}
        for (charge, hour), (amount, count) in totals.items():
            row = rows.setdefault((charge.customer, charge.dimension, hour * HOUR), [0, 0])
            row[0] += amount * charge.factor
            row[1] += count
        return [TotalRow(*key, *row) for key, row in rows.items()]

    def _segment(self, ordinal: int) -> Segment:
        return self._segments[bisect_right(self._firsts, ordinal) - 1]

    def _places(self, ordinals: Sequence[int]) -> Iterator[tuple[Segment, Sequence[int]]]:
        """
        Yield each segment with the places asked of it, in the order asked for.
        """
        if isinstance(ordinals, range) and ordinals.step == 1:
            for segment in self._segments:
                first = max(ordinals.start - segment.first, 0)
                last = min(ordinals.stop - segment.first, len(segment))
                if first < last:
                    yield segment, range(first, last)
            return
        for segment, chosen in groupby(ordinals, self._segment):
            yield segment, [ordinal - segment.first for ordinal in chosen]


class Kept(dict[int, Entries]):
    """
    Meters by id. When full it takes no more, so that of a round through more streams than fit, those that fit are found each
    time; it begins anew after 8 times as many misses, since meters of older generations are not asked for again.
    """

    def __init__(self) -> None:
        super().__init__()
        self._missed = 0

    def add(self, made: Mapping[int, Entries]) -> None:
        """
        Keep these while there is room.
        """
        if len(self) < _METERS_KEPT:
            self.update(made)
            return
        self._missed += len(made)
        if self._missed > _PATIENCE * _METERS_KEPT:
            self._missed = 0
            self.clear()


class Expander:
    """
    Makes record batches. Its caches are bounded, shared by all threads, and change nothing but the cost.
    """

    def __init__(self) -> None:
        self._times = Times()
        self._charges = Charges()
        self._meters: WeakKeyDictionary[Names, Kept] = WeakKeyDictionary()
        self._blocks: dict[bytes, Definitions] = {}
        self._lock = Lock()

    def records(self, body: bytes, names: Names) -> RecordBatch:
        """
        Expand a frame. Raises ValueError, DecodeError or KeyError (a meter nobody declared) when the ledger is damaged.
        """
        frame = framing.parse_frame(body)
        sources = [SourceText(source.receiver, source.principal, frame.rules_hash) for source in frame.sources]
        meters = _Meters(self, names, self._known(names))
        blocks = sorted(map(framing.get_block, frame.blocks), key=attrgetter("scale"))
        charges = [self._charges[encoded] for encoded in frame.charges]
        return RecordBatch(
            (
                *(_fast_segment(block, sources[block.source], meters) for block in blocks),
                *_slow_segments(map(framing.get_slow, frame.slow), sources, meters),
                *_log_segments(framing.get_logs(frame.logs), sources, charges),
            ),
            self._times,
        )

    def _known(self, names: Names) -> Kept:
        with self._lock:
            return self._meters.setdefault(names, Kept())

    def block(self, encoded: bytes) -> Definitions:
        """
        Return a block of definitions, parsed once while it is in use.
        """
        found = self._blocks.get(encoded)
        if found is None:
            with self._lock:
                while len(self._blocks) >= _BLOCKS_KEPT:
                    del self._blocks[next(iter(self._blocks))]
                found = self._blocks[encoded] = Definitions(encoded)
        return found

    def entries(self, block: Definitions, meters: Sequence[int]) -> list[Entries]:
        """
        Make the entries of some meters of a block.

        A hot loop when there are more streams than are kept: 1.5 to 2 us a meter.
        """
        charges, encoded, named = self._charges, block.charges, block.group_charges
        streams, kinds, epochs, groups, first = block.streams, block.kinds, block.epochs, block.groups, block.first
        made: list[Entries] = []
        for meter in meters:
            at = meter - first
            stream = streams[at * IDENTITY : (at + 1) * IDENTITY]
            prefix = cumulative_prefix(stream, epochs[at]) if kinds[at] == _CUMULATIVE else delta_prefix(stream)
            group = named[groups[at]]
            if len(group) == 1:
                made.append((Entry(charges[encoded[group[0]]], stream, prefix),))
            else:
                made.append(tuple([Entry(charges[encoded[charge]], stream, prefix) for charge in group]))
        return made


class _Meters:
    """
    Finds the entries of meters for one frame.
    """

    def __init__(self, expander: Expander, names: Names, known: Kept) -> None:
        self._expander = expander
        self._names = names
        self._known = known
        self._block: Definitions | None = None

    def __getitem__(self, meter: int) -> Entries:
        found = self._known.get(meter)
        return self._make([meter])[meter] if found is None else found

    def many(self, meters: Sequence[int]) -> list[Entries]:
        """
        Return the entries of each meter.
        """
        found = list(map(self._known.get, meters))
        if all(found):
            return found  # type: ignore[return-value]  # there is no None in it
        made = self._make(sorted({meter for meter, entries in zip(meters, found, strict=True) if entries is None}))
        return [made[meter] if entries is None else entries for meter, entries in zip(meters, found, strict=True)]

    def _make(self, meters: Sequence[int]) -> dict[int, Entries]:
        """
        Make and keep the entries of meters in rising order, so that each block of definitions is looked up once.
        """
        made: dict[int, Entries] = {}
        at = 0
        while at < len(meters):
            block = self._block
            if block is None or not block.first <= meters[at] < block.end:
                block = self._block = self._expander.block(self._names.definitions(meters[at]))
            end = bisect_left(meters, block.end, at)
            some = meters[at:end]
            made.update(zip(some, self._expander.entries(block, some), strict=True))
            at = end
        self._known.add(made)
        return made


def _fast_segment(block: Block, source: SourceText, meters: _Meters) -> Segment:
    segment = Segment(block.scale, source)
    entries = meters.many(block.meters)
    if all(block.amounts) and all(len(each) == 1 for each in entries):
        segment.entries = [entry for (entry,) in entries]
        segment.starts, segment.times, segment.amounts = block.starts, block.times, block.amounts
        return segment
    rows = [
        (entry, start, time, amount)
        for each, start, time, amount in zip(entries, block.starts, block.times, block.amounts, strict=True)
        if amount
        for entry in each
    ]
    if rows:
        segment.entries, segment.starts, segment.times, segment.amounts = zip(*rows, strict=True)
    return segment


def _slow_segments(rows: Iterable[SlowRow], sources: Sequence[SourceText], meters: _Meters) -> Iterator[Segment]:
    counted = (row for row in rows if row.amount and row.mask)
    for source, group in groupby(counted, attrgetter("source")):
        records = [(entry, row) for row in group for entry in _masked(meters[row.meter], row.mask)]
        segment = Segment(18, sources[source], [_slow_id(entry, row) for entry, row in records])
        segment.entries = [entry for entry, _ in records]
        segment.starts = [row.start for _, row in records]
        segment.times = [row.time for _, row in records]
        segment.amounts = [row.amount for _, row in records]
        yield segment


def _masked(entries: Entries, mask: int) -> list[Entry]:
    return [entry for bit, entry in enumerate(entries) if mask >> bit & 1]


def _slow_id(entry: Entry, row: SlowRow) -> str:
    if row.kind is Kind.INSTANT:
        return entry.slow_id(record_ids.instant_window(row.time, row.amount, row.k, row.point))
    return entry.id(row.start, row.time, row.amount, 18)


def _log_segments(
    rows: Iterable[LogRow], sources: Sequence[SourceText], charges: Sequence[ChargeText]
) -> Iterator[Segment]:
    entries = [Entry(charge, b"", b"") for charge in charges]
    counted = (row for row in rows if row.amount)
    for source, group in groupby(counted, attrgetter("source")):
        kept = list(group)
        segment = Segment(18, sources[source], [row.record_id.hex() for row in kept])
        segment.entries = [entries[row.charge] for row in kept]
        segment.starts = [0] * len(kept)
        segment.times = [row.time for row in kept]
        segment.amounts = [row.amount for row in kept]
        yield segment
