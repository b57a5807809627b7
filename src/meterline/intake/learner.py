"""
Asks the rules about what a kernel has not seen before, beside the writer thread, and hands the parcel back.
"""

import threading
from collections.abc import Callable, Sequence
from queue import SimpleQueue
from typing import Any, Protocol

from meterline.intake.parcel import Parcel, Stop
from meterline.kernel.seam import ContextVerdict, Meter, Unknown, Verdict

Answers = tuple[Sequence[tuple[int, ContextVerdict | Verdict]], Sequence[tuple[int, int, int]]]


class Rules(Protocol):
    """
    A bound rule set.
    """

    def answer(self, unknown: Unknown) -> Answers:
        """
        Answer the contexts and shapes, and the points whose `when` reads value or time.
        """


class Learner:
    """
    One thread. 8,192 new streams cost a tenth of a second of Python, and must never stand on the kernel thread.
    """

    def __init__(
        self,
        meter: Meter,
        rules: Rules,
        give_back: Callable[[Parcel], None],
        failed: Callable[[Parcel, Exception], None],
    ) -> None:
        self._meter = meter
        self._rules = rules
        self._give_back = give_back
        self._failed = failed
        self._queue: SimpleQueue[Parcel | Stop] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="meterline-learner", daemon=True)

    def start(self) -> None:
        """
        Start the thread.
        """
        self._thread.start()

    def stop(self) -> None:
        """
        End the thread after what is queued.
        """
        self._queue.put(Stop())
        self._thread.join()

    def submit(self, parcel: Parcel) -> None:
        """
        Queue a decoded parcel that ``resolve`` found unknowns in.
        """
        self._queue.put(parcel)

    def _run(self) -> None:
        while not isinstance(item := self._queue.get(), Stop):
            try:
                self._learn(item, item.batch)
            except Exception as error:  # noqa: BLE001 - whatever it is, the sender must be told to send again
                self._failed(item, error)
            else:
                self._give_back(item)

    def _learn(self, parcel: Parcel, batch: Any) -> None:
        while (unknown := self._meter.resolve(batch)) is not None:
            got, masks = self._rules.answer(unknown)
            if got:
                self._meter.learn(unknown.gen, got)
            if masks:
                self._meter.decide(batch, masks)
            if unknown.cold:
                parcel.cold = unknown.cold
                return
