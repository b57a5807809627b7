"""
When a refused sender shall come again: one schedule, whatever the protocol.
"""

import random
from collections.abc import Callable

MIN_RETRY_SECS = 1.0  # the Collector cuts fractions off elsewhere, and less than this is no relief
MAX_RETRY_SECS = 30.0  # a delay above its max_elapsed_time makes the Collector drop at once
_JITTER = 0.5


def retry_delay_secs(hint: float | None, uniform: Callable[[float, float], float] = random.uniform) -> float:
    """
    Return when a sender shall come again: the hint within 1 s and 30 s, plus up to half of it, so that not all come at once.
    """
    base = min(max(hint or 0.0, MIN_RETRY_SECS), MAX_RETRY_SECS)
    return min(uniform(base, base * (1 + _JITTER)), MAX_RETRY_SECS)
