"""
The clock as an argument: pure parts never ask the machine for the time.
"""

import time
from typing import Protocol

NANOS = 1_000_000_000


class Clock(Protocol):
    """
    Wall time as int nanoseconds UTC, and a monotonic clock in float seconds for waits inside the process.
    """

    def now_ns(self) -> int:
        """
        Return the wall time in nanoseconds since the Unix epoch.
        """

    def monotonic(self) -> float:
        """
        Return seconds that never go back, with an arbitrary zero.
        """


class SystemClock:
    """
    The machine's clocks.
    """

    def now_ns(self) -> int:
        """
        Return the machine's wall time.
        """
        return time.time_ns()

    def monotonic(self) -> float:
        """
        Return the machine's monotonic time.
        """
        return time.monotonic()
