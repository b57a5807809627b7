"""
The way of a decoded request through the intake: all of its bodies at once, and one answer for all of them.
"""

import threading
from collections.abc import Callable, Sequence
from functools import partial

from meterline.api import Answer, Body, Format, Intake, Principal, Status, Ticket
from meterline.serving.seam import Decoded

_NO_POINTS = Answer(Status.STORED)
_CARRIER = (Body(Format.OTLP_METRICS, b""),)  # what is to be remembered needs a body to go with
_WORST_FIRST = (Status.RETRY, Status.UNDECODABLE, Status.TOO_LARGE)


def store(
    intake: Intake, receiver: str, principal: Principal, decoded: Decoded, done: Callable[[Answer], None]
) -> None:
    """
    Submit all bodies; ``done`` is called once with the answer to all, from any thread, perhaps before this returns.

    What is to be remembered goes with each body, so that no part of the request is stored without it.
    """
    bodies = decoded.bodies or (_CARRIER if decoded.remember else ())
    if not bodies:
        done(_NO_POINTS)
        return
    gathering = _Gathering(len(bodies), done)
    for index, body in enumerate(bodies):
        ticket = Ticket(done if len(bodies) == 1 else partial(gathering.add, index))
        intake.submit(body.data, body.fmt, receiver, principal, ticket, remember=decoded.remember)


class _Gathering:
    """
    Waits for all answers.
    """

    def __init__(self, count: int, done: Callable[[Answer], None]) -> None:
        self._missing = count
        self._done = done
        self._answers = [_NO_POINTS] * count
        self._lock = threading.Lock()

    def add(self, index: int, answer: Answer) -> None:
        with self._lock:
            self._answers[index] = answer
            self._missing -= 1
            if self._missing:
                return
        self._done(merged(self._answers))


def merged(answers: Sequence[Answer]) -> Answer:
    """
    Return the one answer to a request of several bodies: to be sent again if any is (what is stored is recognised then), else
    refused if any is, else stored, with sums.
    """
    for status in _WORST_FIRST:
        of_status = [answer for answer in answers if answer.status is status]
        if of_status:
            hint = max((answer.retry_after_secs or 0.0 for answer in of_status), default=0.0)
            return Answer(status, sum(a.points for a in answers), 0, _message(of_status), hint or None)
    return Answer(
        Status.STORED,
        sum(answer.points for answer in answers),
        sum(answer.rejected for answer in answers),
        _message(answers),
        items=tuple(item for answer in answers for item in answer.items),
    )


def _message(answers: Sequence[Answer]) -> str:
    return "; ".join(dict.fromkeys(answer.message for answer in answers if answer.message))
