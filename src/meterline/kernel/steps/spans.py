"""
Merged half-open intervals (start, end], bounded in number: what of a stream's time has been counted.
"""

from enum import Enum
from typing import Final, NamedTuple, TypeAlias

Span: TypeAlias = tuple[int, int]

MAX_SPANS: Final = 32


class Relation(Enum):
    """
    How an interval lies to the covered ones.
    """

    FREE = "free"  # touches nothing covered; a common end point is no touch
    PARTLY = "partly"
    INSIDE = "inside"


class Coverage(NamedTuple):
    """
    At most 32 disjoint intervals in order. ``floor``: before it nothing is known any more (0: all is known).
    """

    spans: tuple[Span, ...] = ()
    floor: int = 0


NOTHING: Final = Coverage()


def relation(coverage: Coverage, start: int, end: int, skew: int = 0) -> Relation:
    """
    Say how (start, end] lies to the covered intervals; a common part of at most ``skew`` ns is none.
    """
    found = Relation.FREE
    for left, right in coverage.spans:
        if left <= start and end <= right and end - start > skew:
            return Relation.INSIDE
        if runs_into((left, right), (start, end), skew):
            found = Relation.PARTLY
    return found


def runs_into(a: Span, b: Span, skew: int = 0) -> bool:
    """
    Say whether two intervals have more than ``skew`` ns in common. An empty interval runs into nothing.
    """
    return min(a[1], b[1]) - max(a[0], b[0]) > skew


def cover(coverage: Coverage, start: int, end: int) -> Coverage:
    """
    Add (start, end], merging what it touches; a 33rd interval drops the oldest, whose end becomes the floor.
    """
    before = [span for span in coverage.spans if span[1] < start]
    after = [span for span in coverage.spans if span[0] > end]
    merged = [span for span in coverage.spans if span[1] >= start and span[0] <= end]
    left = min([start, *(span[0] for span in merged)])
    right = max([end, *(span[1] for span in merged)])
    spans = (*before, (left, right), *after)
    if len(spans) <= MAX_SPANS:
        return Coverage(spans, coverage.floor)
    return Coverage(spans[1:], max(coverage.floor, spans[0][1]))
