"""
Waiting inside the process: on the monotonic clock, never past the deadline of a stop, ended early by a ring.
"""

import threading

from meterline.clock import Clock


class Tide:
    """
    Whether the gateway is stopping. ``deadline``: monotonic seconds; ``abandoned``: nobody waits any more.
    """

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.deadline: float | None = None
        self.abandoned = threading.Event()

    @property
    def over(self) -> bool:
        """
        Say whether there is no time left.
        """
        past = self.deadline is not None and self.clock.monotonic() >= self.deadline
        return past or self.abandoned.is_set()


class Bell:
    """
    One thread sleeps, others ring. A ring while nobody sleeps ends the next sleep at once.
    """

    def __init__(self, tide: Tide) -> None:
        self.tide = tide
        self._bell = threading.Condition()
        self._rung = False

    def ring(self) -> None:
        """
        Wake the thread.
        """
        with self._bell:
            self._rung = True
            self._bell.notify_all()

    def sleep(self, secs: float) -> None:
        """
        Wait so long, at most until the deadline.
        """
        with self._bell:
            deadline = self.tide.deadline
            if deadline is not None:
                secs = min(secs, deadline - self.tide.clock.monotonic())
            if secs > 0 and not self._rung and not self.tide.abandoned.is_set():
                self._bell.wait(secs)
            self._rung = False
