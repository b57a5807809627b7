"""
Admission by bytes in flight: what is being handled at once is bounded, and over it senders are told to come again.
"""

import threading
from types import TracebackType
from typing import Self

from meterline.api import Intake, OverloadedError


class ByteBudget:
    """
    A number of bytes that may be taken and given back; any thread.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.used = 0
        self._lock = threading.Lock()

    def take(self, nbytes: int) -> bool:
        """
        Take bytes, or say that there are not so many left.
        """
        with self._lock:
            if self.used + nbytes > self.limit:
                return False
            self.used += nbytes
            return True

    def give(self, nbytes: int) -> None:
        """
        Give bytes back.
        """
        with self._lock:
            self.used -= nbytes


class Reservation:
    """
    The bytes of one request, out of this listener's budget and out of the intake's; given back at the end of the block.
    """

    __slots__ = ("_budget", "_held", "_intake")

    def __init__(self, budget: ByteBudget, intake: Intake) -> None:
        self._budget = budget
        self._intake = intake
        self._held = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    @property
    def held(self) -> int:
        """
        Return how many bytes are reserved.
        """
        return self._held

    def release(self) -> None:
        """
        Give all of it back.
        """
        held, self._held = self._held, 0
        self._budget.give(held)
        self._intake.release(held)

    def take(self, nbytes: int) -> None:
        """
        Reserve more.

        :raises OverloadedError: a budget is used up; what was reserved before stays so.
        """
        if not self._budget.take(nbytes):
            raise OverloadedError(f"admitting request: {self._budget.limit} bytes are in flight (max_in_flight_bytes)")
        if not self._intake.reserve(nbytes):
            self._budget.give(nbytes)
            raise OverloadedError("admitting request: the gateway has too many bytes in flight")
        self._held += nbytes
