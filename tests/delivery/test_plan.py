"""
Planning a batch over frames: every record once, in order, within the limits, and found again.
"""

from collections.abc import Sequence
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meterline.api import Only
from meterline.delivery.plan import Draft, Limits, Terms, find, plan
from meterline.delivery.selection import EVERYTHING, filter_text, keeper
from meterline.delivery.source import FrameCache, FrameSource
from meterline.delivery.stock import Stock
from meterline.errors import PausedError
from meterline.kernel.seam import Kernel, StoredFrame
from meterline.ledger.deliveries import BatchRow, ExporterRow, Position
from meterline.ledger.model import FrameRow
from meterline.testing.rig import RigRecords, usage


class Frames:
    """
    A ledger and a kernel in one: frame ``seq`` has the records of ``sizes[seq - 1]``; those in ``corrupt`` cannot be read.
    """

    def __init__(self, sizes: Sequence[int], corrupt: set[int] | None = None) -> None:
        self.corrupt = corrupt or set()
        self.sizes = list(sizes)
        self.expanded = 0

    def frames(self, after_seq: int, max_bytes: int) -> list[FrameRow]:
        found = range(after_seq + 1, min(len(self.sizes), after_seq + 3) + 1)
        return [FrameRow(seq, self.sizes[seq - 1], seq * 10, self._frame(seq)) for seq in found]

    def _frame(self, seq: int) -> StoredFrame | None:
        return None if seq in self.corrupt else StoredFrame(seq, 1, str(seq).encode(), b"")

    def names(self) -> Any:
        return None

    def records(self, body: bytes, names: Any) -> RigRecords:
        self.expanded += 1
        seq = int(body)
        first = sum(self.sizes[: seq - 1])
        return RigRecords([usage(first + i) for i in range(self.sizes[seq - 1])])

    def close(self) -> None:
        pass


def _source_of(frames: Frames, limit: int = 10_000) -> FrameSource:
    return FrameSource(cast("Any", frames), FrameCache(cast("Kernel", frames), limit))


def _row_of(draft: Draft, only: str = EVERYTHING) -> BatchRow:
    return BatchRow(1, draft.first, draft.last, only, None, draft.count, 1, 1, 0, 0, 0, draft.since)


def _ids(parts: Sequence[Any]) -> list[str]:
    return [part.records.record(ordinal).id for part in parts for ordinal in part.ordinals]


FILTERS = st.sampled_from(
    [
        None,
        Only(rule="rule-1"),
        Only(customer=("customer-1", "customer-2")),
        Only(dimension="by*", rule="*"),
        Only(customer="nobody"),
    ]
)


@settings(deadline=None)
@given(st.lists(st.integers(0, 30), max_size=12), st.integers(1, 40), st.integers(1, 9_000), FILTERS)
def test_every_kept_record_is_in_exactly_one_batch(
    sizes: list[int], records: int, nbytes: int, only: Only | None
) -> None:
    """
    Batches follow each other without a gap or an overlap, in ledger order, count what they leave out, keep to the limits,
    and each is found again by its row.
    """
    frames = Frames(sizes)
    source, text = _source_of(frames), filter_text(only)
    terms = Terms(text, Limits(records, nbytes), "ndjson")
    cursor, found, passed = Position(1, 0), [], 0
    while cursor.seq <= len(sizes):
        draft = plan(source, cursor, len(sizes), terms)
        assert draft.count <= records
        assert draft.size == len(b"".join(draft.encoded))
        assert draft.size <= nbytes or draft.count == 1
        if draft.count:
            again = find(source, _row_of(draft, text))
            assert _ids(again.parts) == _ids(draft.parts)
            assert b"".join(part.encode("ndjson") for part in again.parts) == b"".join(draft.encoded)
        found += _ids(draft.parts)
        passed += draft.passed
        assert draft.cursor > cursor
        cursor = draft.cursor
    keep = keeper(text) or (lambda *_record: True)
    everything = [usage(number) for number in range(sum(sizes))]
    assert found == [r.id for r in everything if keep(r.rule, r.customer_id, r.dimension_id)]
    assert passed == len(everything)


def test_a_corrupt_frame_ends_a_batch_and_is_lost_alone() -> None:
    """
    What is before it is delivered first; then its own records, from the cursor on, are lost.
    """
    source = _source_of(Frames([5, 5, 5], corrupt={2}))
    terms = Terms(EVERYTHING, Limits(100, 10**6), "ndjson")
    before = plan(source, Position(1, 0), 3, terms)
    assert (before.count, before.cursor, before.lost) == (5, Position(2, 0), None)
    at = plan(source, before.cursor, 3, terms)
    assert at.lost is not None
    assert (at.count, at.lost.seq, at.lost.count) == (0, 2, 5)


def test_finding_a_batch_counts_what_a_corrupt_frame_took() -> None:
    """
    The count in the row says how many records of a batch are lost, also with a filter.
    """
    frames = Frames([6, 6, 6])
    source = _source_of(frames, limit=1)
    text = filter_text(Only(rule="rule-0"))
    draft = plan(source, Position(1, 0), 3, Terms(text, Limits(100, 10**6), "ndjson"))
    frames.corrupt = {2}
    found = find(_source_of(frames), _row_of(draft, text))
    assert (found.lost, found.lost_at) == (3, Position(2, 0))
    assert len(_ids(found.parts)) == 6


def test_a_batch_that_has_other_records_now_pauses() -> None:
    """
    If the frames give another number of records than were counted, nothing is sent.
    """
    frames = Frames([6])
    draft = plan(_source_of(frames), Position(1, 0), 1, Terms(EVERYTHING, Limits(100, 10**6), "ndjson"))
    row = _row_of(draft)
    wrong = BatchRow(1, row.first, row.last, EVERYTHING, None, 7, 1, 1, 0, 0, 0, 0)
    with pytest.raises(PausedError, match="now give 6 records, and 7 were put into it"):
        find(_source_of(frames), wrong)


def test_frames_are_expanded_once_for_all_exporters() -> None:
    """
    Two exporters near each other share the expanded frames; a small cache keeps at least one.
    """
    frames = Frames([10] * 6)
    cache = FrameCache(cast("Kernel", frames), 1_000)
    for _ in range(2):
        source = FrameSource(cast("Any", frames), cache)
        assert [frame.seq for frame in source.read(1, 6)] == [1, 2, 3, 4, 5, 6]
    assert frames.expanded == 6


def _exporter_row(cursor: Position) -> ExporterRow:
    return ExporterRow("x", 0, EVERYTHING, cursor, 1, None, None, 0, 0, 0, 0, 0, 0, 0, 0, 0, None)


def test_going_back_undoes_a_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    What was planned and could not be stored is planned again, under the same number.
    """
    frames = Frames([10, 10])
    source = _source_of(frames)
    monkeypatch.setattr(source, "head", lambda known: type(known)(2, 20))
    stock = Stock(source, _exporter_row(Position(1, 0)), EVERYTHING, Limits(7, 10**6))
    mark = stock.mark()
    first = stock.row_of(stock.draft(), 0)
    assert stock.backlog == 13
    stock.back_to(mark)
    assert stock.backlog == 20
    assert stock.row_of(stock.draft(), 0) == first
