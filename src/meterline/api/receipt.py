"""
Receipts: what an exporter says of each record it was given.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum


class Verdict(Enum):
    """
    What became of one record at the backend.
    """

    DELIVERED = "delivered"
    DUPLICATE = "duplicate"  # the backend had it already, with the same content: as good as delivered
    CONFLICT = "conflict"  # the backend has the id with other content: dead, a person looks
    REJECTED = "rejected"  # can never pass: dead, with the backend's reason
    RETRY = "retry"  # certainly not taken; may pass later
    UNKNOWN = "unknown"  # no answer: may or may not be there


@dataclass(frozen=True, slots=True)
class Outcome:
    """
    A verdict with the backend's words. ``hold`` asks for a person whatever ``on_unknown`` says (UNKNOWN only).
    """

    verdict: Verdict
    reason: str = ""
    retry_after_secs: float | None = None
    hold: bool = False


@dataclass(frozen=True, slots=True)
class Receipt:
    """
    The outcome of every record of a batch: ``default``, except for the positions in ``exceptions``.

    ``checkpoint`` (small, opaque) is stored with the cursor in the same transaction and handed back to ``connect``.
    """

    default: Outcome = Outcome(Verdict.DELIVERED)
    exceptions: Mapping[int, Outcome] = field(default_factory=dict)
    checkpoint: bytes | None = None

    def of(self, position: int) -> Outcome:
        """
        Return the outcome of the record at this position of the batch.
        """
        return self.exceptions.get(position, self.default)


DELIVERED = Receipt()


def retry_all(reason: str, retry_after_secs: float | None = None) -> Receipt:
    """
    Nothing of the batch was taken; it may pass later.
    """
    return Receipt(Outcome(Verdict.RETRY, reason, retry_after_secs))


def unknown_all(reason: str, *, hold: bool = False) -> Receipt:
    """
    The batch may or may not have been taken.
    """
    return Receipt(Outcome(Verdict.UNKNOWN, reason, hold=hold))


def rejected_all(reason: str) -> Receipt:
    """
    The backend refuses every record of the batch for good.
    """
    return Receipt(Outcome(Verdict.REJECTED, reason))
