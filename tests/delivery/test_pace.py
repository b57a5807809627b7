"""
When an exporter as a whole may be used.
"""

from meterline.api import DeadLetterOptions, RetryOptions
from meterline.delivery.pace import FRUITLESS, DeadLetterLimit, Pace

RETRY = RetryOptions(initial_secs=1, max_secs=8)


def test_failed_connects_back_off_until_something_gets_through() -> None:
    """
    The gate closes longer each time, and opens at the first success.
    """
    pace = Pace(RETRY)
    assert [pace.disconnected(0, 0) for _ in range(5)] == [1, 2, 4, 8, 8]
    assert pace.all_until == 8
    pace.fruitful()
    assert pace.disconnected(100, 0) == 1


def test_failing_retries_never_hold_new_batches_back() -> None:
    """
    Only first sends that get nothing through say that the exporter as a whole does not work.
    """
    pace = Pace(RETRY)
    for _ in range(50):
        pace.fruitless(10, None, 0, first_send=False)
    assert pace.new_until == 0
    for _ in range(FRUITLESS):
        pace.fruitless(10, None, 0, first_send=True)
    assert pace.new_until == 11
    pace.fruitful()
    assert pace.new_until == 0


def test_retry_after_of_a_whole_batch_stops_everything() -> None:
    """
    A far side that asks to be left alone is left alone, by all batches.
    """
    pace = Pace(RETRY)
    pace.fruitless(10, 30, 0, first_send=False)
    assert pace.all_until == 40


def test_the_dead_letter_limit_needs_a_share_and_a_number() -> None:
    """
    A few bad records among many pause nothing; a hundred of a hundred do, and the message says what to do.
    """
    limit = DeadLetterLimit(DeadLetterOptions())
    assert limit.add(99, 99) is None
    assert limit.add(1_000, 0) is None
    why = limit.add(300, 200)
    assert why is not None
    assert "299 of the last 1399 records" in why


def test_the_dead_letter_limit_forgets_what_is_long_ago() -> None:
    """
    Only the last 10,000 records count, so that an old incident does not pause for ever.
    """
    limit = DeadLetterLimit(DeadLetterOptions(max_ratio=0.5))
    assert limit.add(1_000, 499) is None
    for _ in range(20):
        assert limit.add(1_000, 0) is None
    assert limit.add(1_000, 999) is None
    assert limit._records <= 11_000


def test_the_dead_letter_limit_can_be_off() -> None:
    """
    A ratio of 1 never pauses.
    """
    limit = DeadLetterLimit(DeadLetterOptions(max_ratio=1))
    assert all(limit.add(1_000, 1_000) is None for _ in range(20))
