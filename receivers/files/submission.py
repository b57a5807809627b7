"""
Handing bodies to the intake: again and again until they are stored, and the cursor in the commit of the last of them.
"""

import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from meterline.api import Answer, Body, Format, Principal, ReceiverContext, Status, Ticket
from meterline.encodings.rejects import Reject, rejects

_WAIT_SECS: Final = 1.0
_MAX_WAIT_SECS: Final = 30.0
_SHOWN: Final = 1024 * 1024
_NOTHING: Final = Body(Format.OTLP_LOGS, b"")
_Flight = tuple[int, Body, Ticket | None]


class Submission:
    """
    One batch at a time, from one thread. ``stopping`` ends the waiting; what was not stored is read again at the next start.
    """

    def __init__(
        self, receiver: str, principal: Principal, context: ReceiverContext, stopping: threading.Event
    ) -> None:
        self._receiver = receiver
        self._principal = principal
        self._intake = context.intake
        self._stopping = stopping

    def store(self, bodies: Sequence[Body], remember: Mapping[str, bytes]) -> list[Answer] | None:
        """
        Store the bodies, and the cursor with the last one. None: stopped before all of it was stored.

        The cursor never stands behind a body that is not stored: the last one is submitted when the others are.
        """
        answers = self._kept(bodies[:-1], {})
        if answers is None:
            return None
        last = self._kept(bodies[-1:] or [_NOTHING], remember)
        return None if last is None else answers + last

    def _kept(self, bodies: Sequence[Body], remember: Mapping[str, bytes]) -> list[Answer] | None:
        """
        Store bodies; those that the kernel cannot read go to quarantine as they are.
        """
        answers = self._all(bodies, remember)
        if answers is None:
            return None
        broken = [_aside(body, answer) for body, answer in zip(bodies, answers, strict=True) if not _is_stored(answer)]
        return answers if self._all(broken, remember) is not None else None

    def _all(self, bodies: Sequence[Body], remember: Mapping[str, bytes]) -> list[Answer] | None:
        """
        Submit bodies together, so that they share a commit; then again those that were refused for now.
        """
        answers: dict[int, Answer] = {}
        while len(answers) < len(bodies):
            flying = [self._submit(n, body, remember) for n, body in enumerate(bodies) if n not in answers]
            found = self._landed(flying)
            answers |= {number: answer for number, answer in found.items() if answer.status is not Status.RETRY}
            if len(answers) < len(bodies) and self._stopping.wait(_delay(found.values())):
                return None
        return [answers[number] for number in range(len(bodies))]

    def _submit(self, number: int, body: Body, remember: Mapping[str, bytes]) -> _Flight:
        if not self._intake.reserve(len(body.data)):
            return number, body, None
        ticket = Ticket()
        self._intake.submit(body.data, body.fmt, self._receiver, self._principal, ticket, remember=remember)
        return number, body, ticket

    def _landed(self, flying: Sequence[_Flight]) -> dict[int, Answer]:
        """
        Wait for the answers.
        """
        found: dict[int, Answer] = {}
        for number, body, ticket in flying:
            if ticket is None:
                continue
            answer = ticket.wait()
            self._intake.release(len(body.data))
            if answer is not None:
                found[number] = answer
        return found


def _is_stored(answer: Answer) -> bool:
    return answer.status is Status.STORED


def _aside(body: Body, answer: Answer) -> Body:
    return rejects([Reject("undecodable_item", answer.message, body.data[:_SHOWN], "protobuf")])[0]


def _delay(answers: Iterable[Answer]) -> float:
    """
    Return when to come again: when the last of those that refused for now says so.
    """
    hints = [a.retry_after_secs or _WAIT_SECS for a in answers if a.status is Status.RETRY]
    return min(max(hints, default=_WAIT_SECS), _MAX_WAIT_SECS)


def log_refusals(answers: Sequence[Answer], log: Any, path: str) -> None:
    """
    Say so when the kernel could not read bodies: they are in quarantine.
    """
    for answer in answers:
        if not _is_stored(answer):
            log.error("lines cannot be decoded; they are in quarantine", path=path, error=answer.message)
