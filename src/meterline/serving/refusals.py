"""
From what went wrong to a ``Refusal``: one table, whatever the protocol.

==============================  ===============  ============================================
what                            cause            meaning to a sender
==============================  ===============  ============================================
UndecodableError, UNDECODABLE   UNDECODABLE      never send it again: the body is broken
TooLargeError, TOO_LARGE        TOO_LARGE        never send it again: it can never pass
UnauthenticatedError            UNAUTHENTICATED  never send it again with this credential
ForbiddenError                  FORBIDDEN        never send it again with this credential
RetryableError, RETRY           RETRY            not stored; send it again
any other exception             RETRY            the same: it is our fault
==============================  ===============  ============================================
"""

from meterline.api import (
    Answer,
    ForbiddenError,
    RetryableError,
    Status,
    TooLargeError,
    UnauthenticatedError,
    UndecodableError,
)
from meterline.printable import printable
from meterline.serving.retry import retry_delay_secs
from meterline.serving.seam import Cause, Refusal

MAX_MESSAGE = 1000  # characters; it travels in a header of gRPC refusals

_CAUSES: tuple[tuple[type[Exception], Cause], ...] = (
    (UndecodableError, Cause.UNDECODABLE),
    (TooLargeError, Cause.TOO_LARGE),
    (UnauthenticatedError, Cause.UNAUTHENTICATED),
    (ForbiddenError, Cause.FORBIDDEN),
)


def shortened(message: str) -> str:
    """
    Return the message at a length and in characters that fit into a header.
    """
    shown = printable(message[: MAX_MESSAGE + 1])
    return shown if len(shown) <= MAX_MESSAGE else shown[: MAX_MESSAGE - 3] + "..."


def retry(message: str, hint: float | None = None) -> Refusal:
    """
    Not stored, send the same again; the delay is between 1 s and 30 s, and jittered.
    """
    return Refusal(Cause.RETRY, shortened(message), retry_delay_secs(hint))


def of_error(error: BaseException) -> Refusal:
    """
    Return how an exception is told to the sender; of an unexpected one no more than that there was one.
    """
    for kind, cause in _CAUSES:
        if isinstance(error, kind):
            return Refusal(cause, shortened(str(error)))
    if isinstance(error, RetryableError):
        return retry(str(error), error.retry_after_secs)
    return retry("handling request: an unexpected error; send it again")


def of_answer(answer: Answer) -> Refusal | None:
    """
    Return how an answer of the intake is told to the sender; None: it is stored.
    """
    if answer.status is Status.STORED:
        return None
    if answer.status is Status.UNDECODABLE:
        return Refusal(Cause.UNDECODABLE, shortened(answer.message or "decoding request: its structure is broken"))
    if answer.status is Status.TOO_LARGE:
        return Refusal(Cause.TOO_LARGE, shortened(answer.message or "reading request: it is over the size limit"))
    return retry(answer.message or "storing request: not now", answer.retry_after_secs)
