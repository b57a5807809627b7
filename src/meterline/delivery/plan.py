"""
Planning: which records the next batch has, and finding those of a stored one again.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from meterline.api import BatchOptions, DeliveryContract
from meterline.delivery.batch import Format, Part, ordinals_of
from meterline.delivery.source import Expanded, FrameSource
from meterline.errors import PausedError
from meterline.ledger.deliveries import BatchRow, Position

SCAN_RECORDS: Final = 1_000_000
"""A plan stops after so many records even when ``only`` keeps few, so that the cursor moves and frames can go."""


class Limits(NamedTuple):
    """
    How large a batch may be; the smaller of the config's and the backend's.
    """

    max_records: int
    max_bytes: int

    @staticmethod
    def of(options: BatchOptions, contract: DeliveryContract) -> "Limits":
        """
        Join the config's and the backend's.
        """
        return Limits(
            min(options.max_records, contract.max_records or options.max_records),
            min(options.max_bytes, contract.max_bytes or options.max_bytes),
        )


class Terms(NamedTuple):
    """
    What a new batch must be: which records, how many, and in which form their size is measured.
    """

    only_filter: str
    limits: Limits
    fmt: Format


@dataclass(slots=True)
class Draft:
    """
    What stands between the cursor and ``cursor``: records for a batch, or only excluded ones, or a corrupt frame.

    ``passed`` counts all records walked past. ``lost``: nothing else is in the draft, and the records of this corrupt
    frame from ``cursor`` on are lost.
    """

    cursor: Position
    parts: list[Part] = field(default_factory=list)
    encoded: list[bytes] = field(default_factory=list)
    fmt: Format = "ndjson"
    count: int = 0
    size: int = 0
    passed: int = 0
    lost: Expanded | None = None

    @property
    def excluded(self) -> int:
        """
        Return how many records `only` left out.
        """
        return self.passed - self.count

    @property
    def first(self) -> Position:
        """
        Return where the batch begins.
        """
        return Position(self.parts[0].seq, self.parts[0].ordinals[0])

    @property
    def last(self) -> Position:
        """
        Return where the batch ends, inclusive.
        """
        return Position(self.parts[-1].seq, self.parts[-1].ordinals[-1])

    @property
    def since(self) -> int:
        """
        Return when its oldest record was committed.
        """
        return min(part.committed_at for part in self.parts)


def plan(source: FrameSource, cursor: Position, head: int, terms: Terms) -> Draft:
    """
    Walk from the cursor to frame ``head`` or until the batch is full. Encodes as it goes: that is how it knows the size.
    """
    draft = Draft(cursor, fmt=terms.fmt)
    for frame in source.read(cursor.seq, head):
        if frame.records is None:
            if draft.passed == 0 and not draft.parts:
                draft.lost = frame
            return draft
        if not _take(draft, frame, terms) or draft.passed >= SCAN_RECORDS:
            return draft
    return draft


def _take(draft: Draft, frame: Expanded, terms: Terms) -> bool:
    """
    Take what fits of a frame; False: the batch is full.
    """
    limits = terms.limits
    start = draft.cursor.ordinal if draft.cursor.seq == frame.seq else 0
    ordinals = frame.select(terms.only_filter, start, frame.count)
    taken = _append(draft, frame, ordinals[: limits.max_records - draft.count], limits) if ordinals else 0
    if taken < len(ordinals):
        draft.cursor = Position(frame.seq, ordinals[taken])
        draft.passed += ordinals[taken] - start
        return False
    draft.cursor = Position(frame.seq + 1, 0)
    draft.passed += max(0, frame.count - start)
    return draft.count < limits.max_records and draft.size < limits.max_bytes


def _append(draft: Draft, frame: Expanded, ordinals: Sequence[int], limits: Limits) -> int:
    assert frame.records is not None  # noqa: S101 - the caller stops at corrupt frames
    part = Part(frame.seq, frame.committed_at, frame.records, ordinals)
    encoded = part.encode(draft.fmt)
    while draft.size + len(encoded) > limits.max_bytes and (len(part.ordinals) > 1 or draft.parts):
        room = max(0, limits.max_bytes - draft.size)
        fitting = min(len(part.ordinals) - 1, len(part.ordinals) * room // len(encoded))
        if fitting < 1 and draft.parts:
            return 0
        part = part._replace(ordinals=part.ordinals[: max(1, fitting)])
        encoded = part.encode(draft.fmt)
    draft.parts.append(part)
    draft.encoded.append(encoded)
    draft.count += len(part.ordinals)
    draft.size += len(encoded)
    return len(part.ordinals)


@dataclass(frozen=True, slots=True)
class Found:
    """
    The records of a stored batch, and what corrupt frames took of them: how many, and the first place.
    """

    parts: list[Part]
    lost: int
    lost_at: Position | None


def find(source: FrameSource, row: BatchRow) -> Found:
    """
    Return the records of a stored batch.

    :raises PausedError: the frames give another number of records than were put into the batch.
    """
    parts: list[Part] = []
    lost_at: Position | None = None
    for frame, ordinals in _wanted(source, row):
        if frame.records is None:
            lost_at = lost_at or Position(frame.seq, ordinals[0] if ordinals else 0)
        elif ordinals:
            parts.append(Part(frame.seq, frame.committed_at, frame.records, ordinals))
    found = sum(len(part.ordinals) for part in parts)
    if found > row.count or (found < row.count and lost_at is None):
        raise PausedError(
            f"reading batch {row.number} again: frames {row.first.seq} to {row.last.seq} now give {found} records,"
            f" and {row.count} were put into it; run the version of meterline that formed it"
        )
    return Found(parts, row.count - found, lost_at)


def _wanted(source: FrameSource, row: BatchRow) -> Iterator[tuple[Expanded, Sequence[int]]]:
    if row.ordinals is not None:
        for seq, ordinals in ordinals_of(row.ordinals):
            for frame in source.read(seq, seq):
                yield frame, ordinals
        return
    for frame in source.read(row.first.seq, row.last.seq):
        start = row.first.ordinal if frame.seq == row.first.seq else 0
        end = row.last.ordinal + 1 if frame.seq == row.last.seq else frame.count
        yield frame, frame.select(row.only_filter, start, end)
