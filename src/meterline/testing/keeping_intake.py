"""
An intake that remembers whose bodies it was given.
"""

from dataclasses import dataclass, field
from typing import Any

from meterline.api import Answer, Format, Principal, Status, Ticket


@dataclass
class KeepingIntake:
    """
    Stores everything, and remembers whose it was.
    """

    senders: list[Principal] = field(default_factory=list)
    ready: bool = True

    def reserve(self, nbytes: int) -> bool:  # noqa: ARG002 - there is always room
        """
        Take bytes; there are always enough.
        """
        return True

    def release(self, nbytes: int) -> None:
        """
        Give bytes back.
        """

    def submit(
        self,
        body: bytes,  # noqa: ARG002
        fmt: Format,  # noqa: ARG002
        receiver: str,  # noqa: ARG002
        principal: Principal,
        ticket: Ticket,
        *,
        remember: Any = None,  # noqa: ARG002
    ) -> None:
        """
        Answer at once that it is stored.
        """
        self.senders.append(principal)
        ticket.resolve(Answer(Status.STORED))
