"""
An intake that answers as a script says, at random and seeded, and keeps books of what it decided.
"""

import random
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from queue import Empty, SimpleQueue
from typing import Final

from meterline.api import Answer, Body, Format, ItemResult, Principal, Status, Ticket
from meterline.testing.fake_intake import FakeIntake

STOP_SECS: Final = 20.0
"""How long ``close`` waits for what is queued."""


@dataclass(frozen=True, slots=True)
class Script:
    """
    How likely (weights) each answer is; ``partial``: how likely some points of a stored request are in quarantine.
    """

    stored: int = 1
    retry: int = 0
    undecodable: int = 0
    partial: float = 0.0

    def decide(self, rng: random.Random, points: int) -> Answer:
        """
        Draw the answer to a body of so many points.
        """
        weights = {Status.STORED: self.stored, Status.RETRY: self.retry, Status.UNDECODABLE: self.undecodable}
        status = rng.choices(list(weights), list(weights.values()))[0]
        if status is not Status.STORED:
            return Answer(status, points, message="scripted", retry_after_secs=0.01)
        rejected = rng.randint(1, points) if points and rng.random() < self.partial else 0
        return Answer(status, points, rejected, "scripted" if rejected else "")


@dataclass(slots=True)
class Books:
    """
    What the intake decided: how often each id was stored, quarantined, refused for good.
    """

    stored: Counter[str] = field(default_factory=Counter)
    quarantined: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)


class ScriptedIntake(FakeIntake):
    """
    A ``FakeIntake`` whose one writer thread answers what is queued in random order, as its script says.
    """

    def __init__(self, ids: Callable[[bytes, Format], list[str]], script: Script, rng: random.Random) -> None:
        super().__init__()
        self._ids = ids
        self._chances = script
        self._rng = rng
        self._queue: SimpleQueue[tuple[Body, Ticket] | None] = SimpleQueue()
        self.failure: BaseException | None = None
        self.books = Books()
        self._writer = threading.Thread(target=self._run, name="scripted-intake", daemon=True)
        self._writer.start()

    @property
    def state(self) -> dict[str, bytes]:
        """
        Return what is to be remembered with all bodies, whatever the script decided of them.
        """
        return {key: value for state in self.remembered for key, value in state.items()}

    def close(self) -> None:
        """
        End the writer thread; raises what went wrong in it.
        """
        self._queue.put(None)
        self._writer.join(STOP_SECS)
        if self.failure is not None:
            raise self.failure

    def _run(self) -> None:
        while True:
            group = self._group()
            self._open.wait()
            self._rng.shuffle(group)
            for body, ticket in (item for item in group if item is not None):
                ticket.resolve(self._decide(body))
            if None in group:
                return

    def _group(self) -> list[tuple[Body, Ticket] | None]:
        group = [self._queue.get()]
        try:
            while True:
                group.append(self._queue.get_nowait())
        except Empty:
            return group

    def _take(self, body: Body, _principal: Principal, ticket: Ticket) -> None:
        self._queue.put((body, ticket))

    def _decide(self, body: Body) -> Answer:
        try:
            ids = self._ids(body.data, body.fmt)
            answer = self._chances.decide(self._rng, len(ids))
        except BaseException as error:  # noqa: BLE001  # raised again by close; the sender must be answered
            self.failure = error
            return Answer(Status.RETRY)
        if answer.status is Status.UNDECODABLE:
            self.books.refused.update(ids)
        if answer.status is Status.STORED:
            self.books.quarantined.update(ids[: answer.rejected])
            self.books.stored.update(ids[answer.rejected :])
            if body.fmt is Format.USAGE:
                return replace(answer, items=_items(len(ids), answer.rejected))
        return answer


def _items(count: int, rejected: int) -> tuple[ItemResult, ...]:
    """
    Return what is said of each item: the first ones are in quarantine.
    """
    refused = ItemResult("quarantined", reason="scripted")
    return (refused,) * rejected + (ItemResult("recorded", bytes(16).hex()),) * (count - rejected)
