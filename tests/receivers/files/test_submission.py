"""
The cursor goes with the last body of a batch, when the others are stored: never ahead of a line.
"""

import threading
from collections.abc import Mapping

import pytest
import structlog

from meterline.api import Answer, Body, Format, Principal, ReceiverContext, Status, SystemClock, Ticket
from meterline.receivers.files.submission import Submission

CURSOR = {"id": b"12"}
BODIES = [Body(Format.OTLP_METRICS, name) for name in (b"one", b"two", b"three")]


class Intake:
    """Refuses one body for now, as often as it comes, until the reader is told to stop; stores all others."""

    ready = True

    def __init__(self, refused: bytes, stopping: threading.Event) -> None:
        self.refused = refused
        self.stopping = stopping
        self.stored: list[bytes] = []
        self.remembered: list[tuple[bytes, Mapping[str, bytes]]] = []

    def reserve(self, nbytes: int) -> bool:
        return True

    def release(self, nbytes: int) -> None:
        pass

    def submit(
        self,
        body: bytes,
        fmt: Format,
        receiver: str,
        principal: Principal,
        ticket: Ticket,
        *,
        remember: Mapping[str, bytes] | None = None,
    ) -> None:
        if remember:
            self.remembered.append((body, remember))
        if body == self.refused:
            self.stopping.set()
            ticket.resolve(Answer(Status.RETRY, retry_after_secs=0.01))
        else:
            self.stored.append(body)
            ticket.resolve(Answer(Status.STORED, points=1))


def submission(refused: bytes) -> tuple[Intake, Submission]:
    """A submission, and the intake that it goes to."""
    stopping = threading.Event()
    intake = Intake(refused, stopping)
    context = ReceiverContext(intake, SystemClock(), structlog.get_logger())
    return intake, Submission("files", Principal("files"), context, stopping)


def test_the_cursor_goes_with_the_last_body_alone() -> None:
    """When all is stored, one body carried the cursor: the last."""
    intake, sent = submission(b"")
    assert [answer.status for answer in sent.store(BODIES, CURSOR) or ()] == [Status.STORED] * 3
    assert intake.stored == [b"one", b"two", b"three"]
    assert intake.remembered == [(b"three", CURSOR)]


@pytest.mark.parametrize("refused", [b"one", b"two"])
def test_no_cursor_is_submitted_before_the_others_are_stored(refused: bytes) -> None:
    """When a body before the last is refused until the stop, the last is not even submitted, and no cursor."""
    intake, sent = submission(refused)
    assert sent.store(BODIES, CURSOR) is None
    assert intake.remembered == []
    assert b"three" not in intake.stored


def test_a_batch_without_bodies_moves_the_cursor() -> None:
    """Lines of which nothing is made, such as empty ones, are passed over for good."""
    intake, sent = submission(b"refused")
    assert len(sent.store([], CURSOR) or ()) == 1
    assert intake.remembered == [(b"", CURSOR)]
