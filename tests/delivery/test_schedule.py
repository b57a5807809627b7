"""
The retry schedule, as a pure function.
"""

from hypothesis import given
from hypothesis import strategies as st

from meterline.api import RetryOptions
from meterline.delivery.schedule import LONGEST_HINT_SECS, clamp, next_delay

JITTER = st.floats(0, 1, exclude_max=True)
ATTEMPTS = st.integers(1, 10**9)


@given(ATTEMPTS, st.floats(0.001, 100), st.floats(0.001, 10_000), JITTER)
def test_delays_stay_between_the_first_and_the_longest(
    attempt: int, initial: float, longest: float, jitter: float
) -> None:
    """
    Whatever the attempt, a delay is at most the longest, and at least four fifths of the shorter of the two.
    """
    delay = next_delay(attempt, RetryOptions(initial_secs=initial, max_secs=longest), None, jitter)
    assert 0.8 * min(initial, longest) <= delay <= longest


@given(st.integers(1, 60), JITTER)
def test_delays_double(attempt: int, jitter: float) -> None:
    """
    Each delay is twice the one before, until the longest.
    """
    options = RetryOptions(initial_secs=1, max_secs=2.0**70)
    assert next_delay(attempt + 1, options, None, jitter) == 2 * next_delay(attempt, options, None, jitter)


@given(ATTEMPTS, st.floats(0, 10**9), JITTER)
def test_the_far_side_is_heard(attempt: int, hint: float, jitter: float) -> None:
    """
    A delay is never shorter than asked for, up to a day.
    """
    delay = next_delay(attempt, RetryOptions(), hint, jitter)
    assert delay >= min(hint, LONGEST_HINT_SECS)
    assert delay <= max(RetryOptions().max_secs, LONGEST_HINT_SECS)


@given(st.integers(0, 2**62), st.integers(0, 2**62))
def test_a_stored_time_is_clamped_at_start(stored: int, now: int) -> None:
    """
    A clock that went back makes nobody wait longer than the longest delay.
    """
    options = RetryOptions(max_secs=5)
    assert clamp(stored, now, options) == min(stored, now + 5 * 10**9)
