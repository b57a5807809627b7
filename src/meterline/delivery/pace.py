"""
When an exporter as a whole may be used: gates in monotonic seconds, and the dead-letter limit. No clock of its own.
"""

from collections import deque
from dataclasses import dataclass, field
from typing import Final

from meterline.api import DeadLetterOptions, RetryOptions
from meterline.delivery.schedule import next_delay

FRUITLESS: Final = 3
"""So many new batches in a row that got nothing through mean that the exporter as a whole does not work."""

WINDOW_RECORDS: Final = 10_000


@dataclass(slots=True)
class Pace:
    """
    Two gates. ``all_until``: nothing is sent (no connection, or the far side asked for a pause). ``new_until``: no new batch
    is begun, since the last ``FRUITLESS`` new ones got nothing through; what waits for its retry keeps its own schedule.
    """

    retry: RetryOptions
    all_until: float = 0.0
    new_until: float = 0.0
    _refusals: int = 0
    _fruitless: int = 0

    def disconnected(self, now: float, jitter: float) -> float:
        """
        Close the gate after a failed connect, longer each time; returns the delay in seconds.
        """
        self._refusals += 1
        delay = next_delay(self._refusals, self.retry, None, jitter)
        self.all_until = max(self.all_until, now + delay)
        return delay

    def fruitful(self) -> None:
        """
        Something got through: both gates open.
        """
        self._refusals = self._fruitless = 0
        self.new_until = 0.0

    def fruitless(self, now: float, hint_secs: float | None, jitter: float, *, first_send: bool) -> None:
        """
        A whole batch got nothing through; ``hint_secs``: the far side said how long to stay away.
        """
        if hint_secs:
            self.all_until = max(self.all_until, now + next_delay(1, self.retry, hint_secs, jitter))
        if not first_send:
            return
        self._fruitless += 1
        if self._fruitless >= FRUITLESS:
            self.new_until = now + next_delay(self._fruitless - FRUITLESS + 1, self.retry, hint_secs, jitter)


@dataclass(slots=True)
class DeadLetterLimit:
    """
    Says when too many of the last 10,000 records are dead. Counts since the start of the process.
    """

    options: DeadLetterOptions
    _window: deque[tuple[int, int]] = field(default_factory=deque)
    _records: int = 0
    _dead: int = 0

    def add(self, records: int, dead: int) -> str | None:
        """
        Count settled records; returns why the exporter is to pause, or None.
        """
        self._window.append((records, dead))
        self._records += records
        self._dead += dead
        while len(self._window) > 1 and self._records - self._window[0][0] >= WINDOW_RECORDS:
            old_records, old_dead = self._window.popleft()
            self._records -= old_records
            self._dead -= old_dead
        return self._exceeded() if dead else None

    def _exceeded(self) -> str | None:
        allowed = self.options.max_ratio
        if self._dead < self.options.min_records or self._dead <= allowed * self._records:
            return None
        return (
            f"delivering: {self._dead} of the last {self._records} records were refused for good, more than"
            f" dead_letters.max_ratio {allowed} allows; look at the outcome table for the reasons, mend the credential, rule"
            " or backend, then start again"
        )
