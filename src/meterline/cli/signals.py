"""
SIGTERM and SIGINT: the first asks for a graceful stop, the second ends the process at once.
"""

import os
import signal
import threading
from types import FrameType
from typing import Self

_STOPPING_TEXT = b"stopping: finishing what is in flight; a second signal ends at once\n"
_STOPPING = (signal.SIGTERM, signal.SIGINT)


class StopSignal:
    """
    A context in which the two signals set ``asked``; the handlers before it come back at its end.

    The ledger survives the second signal like a crash: whatever was answered is stored.
    """

    def __init__(self) -> None:
        self.asked = threading.Event()
        self._before: dict[signal.Signals, signal._HANDLER] = {}

    def __enter__(self) -> Self:
        for number in _STOPPING:
            self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        if self.asked.is_set():
            os._exit(128 + number)  # at once: no clean-up may hold it up
        self.asked.set()
        os.write(2, _STOPPING_TEXT)  # a handler may interrupt a write to stderr, which would refuse to be entered again
