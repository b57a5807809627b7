"""
Where one exporter stands in the frames: what is not yet in a batch, and the next batch of it.
"""

from dataclasses import dataclass
from typing import Final

from meterline.delivery.batch import Format
from meterline.delivery.plan import Draft, Limits, Terms, plan
from meterline.delivery.source import FrameSource, Head
from meterline.ledger.deliveries import BatchRow, ExporterRow, Position

EMPTY_FRAMES: Final = 256
"""The durable cursor follows over frames without records for this exporter once there are so many of them."""


@dataclass(frozen=True, slots=True)
class Mark:
    """
    A place to go back to when what was planned could not be stored.
    """

    cursor: Position
    passed: int
    number: int


class Stock:
    """
    The cursor in memory runs ahead of the durable one by what is being stored. ``number`` gives new batch numbers.
    """

    def __init__(self, source: FrameSource, row: ExporterRow, only_filter: str, limits: Limits) -> None:
        self.source = source
        self.cursor = row.cursor
        self.limits = limits
        self.only_filter = only_filter
        self.fmt: Format = "ndjson"
        self._head = Head(row.cursor.seq - 1, 0)
        self._passed = row.cursor.ordinal
        self._number = row.next_batch
        self.look()

    def look(self) -> None:
        """
        See what was committed since.
        """
        self._head = self.source.head(self._head)

    @property
    def backlog(self) -> int:
        """
        Return how many records are not yet in a batch, those that ``only`` leaves out included; as of the last look.
        """
        return max(0, self._head.records - self._passed)

    def number(self) -> int:
        """
        Take the next batch number.
        """
        self._number += 1
        return self._number - 1

    def mark(self) -> Mark:
        """
        Remember this place.
        """
        return Mark(self.cursor, self._passed, self._number)

    def back_to(self, mark: Mark) -> None:
        """
        Undo what was planned since, since it was not stored.
        """
        self.cursor, self._passed, self._number = mark.cursor, mark.passed, mark.number

    def draft(self) -> Draft:
        """
        Plan the next batch and move the cursor past it; in front of a corrupt frame it stays, see ``Draft.lost``.
        """
        draft = plan(self.source, self.cursor, self._head.seq, Terms(self.only_filter, self.limits, self.fmt))
        stuck = draft.cursor == self.cursor and draft.lost is None
        self.cursor = draft.cursor
        self._passed = self._head.records if stuck or draft.cursor.seq > self._head.seq else self._passed + draft.passed
        return draft

    def skip(self, draft: Draft) -> int:
        """
        Move past the corrupt frame that the draft met; returns how many of its records are lost.
        """
        assert draft.lost is not None  # noqa: S101 - the caller asked
        lost = draft.lost.count - draft.cursor.ordinal
        self.cursor = Position(draft.lost.seq + 1, 0)
        self._passed += lost
        return lost

    def row_of(self, draft: Draft, now_ns: int) -> BatchRow:
        """
        Return the row of a new batch, about to be sent for the first time.
        """
        return BatchRow(
            number=self.number(),
            first=draft.first,
            last=draft.last,
            only_filter=self.only_filter,
            ordinals=None,
            count=draft.count,
            attempt=1,
            sending=1,
            unanswered=0,
            next_at=now_ns,
            formed_at=now_ns,
            since=draft.since,
        )
