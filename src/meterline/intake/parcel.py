"""
What travels through the writer's queue: bodies on their way to an answer, and jobs of other parts.
"""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from meterline.api.receiver import Answer, Format, Principal, Status, Ticket
from meterline.kernel.seam import Batch
from meterline.ledger.model import Transaction

RETRY_SECS = 2.0


class Parcel:
    """
    One body with the ticket its sender waits on. ``cold``: keys of streams that may be in the idle table.

    ``remember``: state of its receiver that is stored with it.
    """

    __slots__ = ("batch", "body", "cold", "failure", "fmt", "learning", "principal", "receiver", "remember", "ticket")

    def __init__(
        self,
        body: bytes,
        fmt: Format,
        receiver: str,
        principal: Principal,
        ticket: Ticket,
        *,
        remember: Mapping[str, bytes],
    ) -> None:
        self.body = body
        self.fmt = fmt
        self.receiver = receiver
        self.principal = principal
        self.ticket = ticket
        self.remember = remember
        self.batch: Batch | None = None
        self.cold: Sequence[bytes] = ()
        self.learning = False
        self.failure: Exception | None = None

    def raise_failure(self) -> None:
        """
        Raise what the learner met, once, on the writer's thread.
        """
        if self.failure is not None:
            failure, self.failure = self.failure, None
            raise failure

    def refuse(self, why: str, retry_after_secs: float = RETRY_SECS) -> None:
        """
        Answer "not stored, send the same again".
        """
        self.ticket.resolve(Answer(Status.RETRY, message=why, retry_after_secs=retry_after_secs))


@dataclass(frozen=True, slots=True)
class Job:
    """
    A ledger write of another part, with the future it waits on.
    """

    run: Callable[[Transaction], Any]
    future: "Future[Any]"


class Stop:
    """
    The last thing in the queue: the writer finishes what came before and ends.
    """
