"""
The verdict itself: it must see each class of error, and nothing where nothing is wrong.
"""

from decimal import Decimal

import pytest

from meterline.testing.sender import Journal, Sent
from meterline.testing.verdict import Found, judge, nanoseconds, sums_sent
from meterline.testing.workload import Effect, Request

EFFECTS = [Effect("acme", "calls", time, Decimal(time)) for time in (1, 2, 3)]


def journal(*, answered: bool = True, unanswered: int = 0) -> Journal:
    """
    Return a journal of one request with three effects.
    """
    request = Request(1, "metrics", b"", tuple(EFFECTS))
    return Journal([Sent(request, attempts=1 + unanswered, unanswered=unanswered, answered=answered)])


def found(*times: int) -> list[Found]:
    """
    Return the right record of each time.
    """
    return [Found(f"id{time}", ("acme", "calls", time), Decimal(time)) for time in times]


def test_everything_once_is_clean() -> None:
    """
    Each intent found once, with its value: nothing to report.
    """
    verdict = judge("file", 7, [journal()], found(1, 2, 3))
    assert verdict.passed
    assert (verdict.ok, verdict.recovered) == (3, 0)


def test_recovered_is_told_from_ok() -> None:
    """
    What was sent once without an answer, and is there once, was recovered.
    """
    verdict = judge("file", 7, [journal(unanswered=1)], found(1, 2, 3))
    assert verdict.passed
    assert (verdict.ok, verdict.recovered) == (0, 3)


@pytest.mark.parametrize("there", [[], found(1, 2, 3)], ids=["absent", "present"])
def test_what_was_never_answered_may_be_there_or_not(there: list[Found]) -> None:
    """
    A request given up without an answer is neither lost when absent nor unexpected when present.
    """
    assert judge("file", 7, [journal(answered=False, unanswered=1)], there).passed


def test_lost_is_named() -> None:
    """
    An answered intent that is nowhere is lost; the seed and the intent are printed.
    """
    verdict = judge("file", 7, [journal()], found(1, 3))
    assert not verdict.passed
    assert verdict.lost == ("acme/calls at 2: 2",)
    assert "seed 7" in str(verdict)
    assert "lost: acme/calls at 2: 2" in str(verdict)


def test_same_id_twice_is_duplicated() -> None:
    """
    The same record twice is a duplicate, and is not counted as ok.
    """
    verdict = judge("file", 7, [journal()], found(1, 2, 2, 3))
    assert len(verdict.duplicated) == 1
    assert (verdict.ok, verdict.passed) == (2, False)


def test_same_usage_under_two_ids_is_duplicated() -> None:
    """
    The same usage under another id is a duplicate too: ids are not trusted.
    """
    verdict = judge("file", 7, [journal()], [*found(1, 2, 3), Found("other", ("acme", "calls", 2), Decimal(2))])
    assert len(verdict.duplicated) == 2
    assert not verdict.passed


@pytest.mark.parametrize(
    "wrong", [Found("id9", ("acme", "calls", 9), Decimal(9)), Found("id3", ("acme", "calls", 3), Decimal("3.01"))]
)
def test_invented_or_altered_is_unexpected(wrong: Found) -> None:
    """
    A record that nobody sent, or whose value differs in the last digit, is unexpected.
    """
    records = [record for record in found(1, 2, 3) if record.key != wrong.key] + [wrong]
    verdict = judge("file", 7, [journal()], records)
    assert verdict.unexpected == (str(wrong),)
    assert not verdict.passed


def test_sums_of_what_was_answered() -> None:
    """
    Only answered requests are owed.
    """
    assert sums_sent([journal(), journal(answered=False)]) == {("acme", "calls"): Decimal(6)}


def test_times_are_read_to_the_nanosecond() -> None:
    """
    The one time format is read exactly, and no other is.
    """
    assert nanoseconds("2026-11-22T18:39:16.123456789Z") == 1_795_372_756_123_456_789
    with pytest.raises(ValueError, match="not RFC 3339 with nine decimals"):
        nanoseconds("2026-11-22T18:39:16.123Z")
