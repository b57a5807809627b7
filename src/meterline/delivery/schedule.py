"""
The retry schedule: pure, durable by its results, without an end.
"""

from typing import Final

from meterline.api import RetryOptions

NANOS: Final = 1_000_000_000
LONGEST_HINT_SECS: Final = 86_400.0
"""A far side's ``Retry-After`` counts up to a day; a longer one would be a way to switch delivery off."""

_JITTER: Final = 0.2
_MAX_DOUBLINGS: Final = 62


def next_delay(attempt: int, options: RetryOptions, retry_after_secs: float | None, jitter: float) -> float:
    """
    Return the seconds to wait after the ``attempt``-th send (1, 2, ...), never less than the far side asked for.

    Doubles from ``initial_secs`` to ``max_secs``; ``jitter`` in [0, 1) takes off up to a fifth, so that exporters that
    failed together do not return together.
    """
    doubled = options.initial_secs * 2.0 ** min(max(attempt, 1) - 1, _MAX_DOUBLINGS)
    delay = min(doubled, options.max_secs) * (1.0 - _JITTER * jitter)
    hint = min(max(retry_after_secs or 0.0, 0.0), LONGEST_HINT_SECS)
    return max(delay, hint)


def clamp(next_at_ns: int, now_ns: int, options: RetryOptions) -> int:
    """
    Return a stored retry time as it counts at start: at most the longest delay from now, whatever the clock did since.
    """
    return min(next_at_ns, now_ns + int(options.max_secs * NANOS))
