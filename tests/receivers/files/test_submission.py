"""
The cursor goes with the last body of a batch, when the others are stored: never ahead of a line.
"""

import threading
from collections.abc import Mapping

import pytest
import structlog

from meterline.api import Answer, Body, Format, Principal, ReceiverContext, Status, SystemClock
from meterline.receivers.files.submission import Submission
from meterline.testing.fake_intake import STORED, FakeIntake

CURSOR = {"id": b"12"}
BODIES = [Body(Format.OTLP_METRICS, name) for name in (b"one", b"two", b"three")]


def submission(refused: bytes) -> tuple[FakeIntake, Submission]:
    """A submission, and the intake that it goes to, which refuses one body for now until the reader is told to stop."""
    stopping = threading.Event()
    intake = FakeIntake()

    def decide(body: Body) -> Answer:
        if body.data != refused:
            return STORED
        stopping.set()
        return Answer(Status.RETRY, retry_after_secs=0.01)

    intake.decide = decide
    context = ReceiverContext(intake, SystemClock(), structlog.get_logger())
    return intake, Submission("files", Principal("files"), context, stopping)


def carried(intake: FakeIntake) -> list[tuple[bytes, Mapping[str, bytes]]]:
    """The bodies that carried something to be remembered, and what."""
    return [pair for pair in zip(intake.data, intake.remembered, strict=True) if pair[1]]


def test_the_cursor_goes_with_the_last_body_alone() -> None:
    """When all is stored, one body carried the cursor: the last."""
    intake, sent = submission(b"")
    assert [answer.status for answer in sent.store(BODIES, CURSOR) or ()] == [Status.STORED] * 3
    assert intake.data == [b"one", b"two", b"three"]
    assert carried(intake) == [(b"three", CURSOR)]


@pytest.mark.parametrize("refused", [b"one", b"two"])
def test_no_cursor_is_submitted_before_the_others_are_stored(refused: bytes) -> None:
    """When a body before the last is refused until the stop, the last is not even submitted, and no cursor."""
    intake, sent = submission(refused)
    assert sent.store(BODIES, CURSOR) is None
    assert carried(intake) == []
    assert b"three" not in intake.data


def test_a_batch_without_bodies_moves_the_cursor() -> None:
    """Lines of which nothing is made, such as empty ones, are passed over for good."""
    intake, sent = submission(b"refused")
    assert len(sent.store([], CURSOR) or ()) == 1
    assert carried(intake) == [(b"", CURSOR)]
