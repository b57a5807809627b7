"""
Faults that nobody expected, on the threads that decode: none of them may end a thread or leave a sender without an answer.
"""

from typing import Any, NoReturn

import pytest

from meterline.serving.http import exchange, job
from meterline.serving.http.loop import DECODERS
from meterline.testing.http_rig import Rig


class Panic(BaseException):
    """
    What a library written in Rust raises when it has a bug: no Exception.
    """


def panic(_: Any) -> NoReturn:
    """
    Raise one.
    """
    raise Panic("canary")


def test_a_decoder_that_panics_is_refused_twice_and_then_quarantined(rig: Rig) -> None:
    """
    As any other unexpected error, however often: each decoding thread lives on.
    """
    rig.endpoint.decoder = panic
    bodies = [bytes([number]) for number in range(DECODERS + 1)]
    assert [[rig.send(body).status for body in bodies] for _ in range(3)] == [
        [503] * len(bodies), [503] * len(bodies), [200] * len(bodies),
    ]  # fmt: skip
    assert len(rig.intake.rejects) == len(bodies)
    assert "canary" not in repr(rig.log)


@pytest.mark.parametrize("error", [ValueError("canary"), Panic("canary")])
def test_an_intake_that_raises_is_refused_for_now(rig: Rig, error: BaseException) -> None:
    """
    The seam says that it does not; if it ever does, senders come again, what was reserved is given back, and threads live on.
    """

    def fail(_: Any) -> NoReturn:
        raise error

    decide, rig.intake.decide = rig.intake.decide, fail
    for _ in range(DECODERS + 1):
        seen = rig.send()
        assert (seen.status, "retry-after" in seen.headers) == (503, True)
    assert rig.intake.in_flight == 0
    rig.intake.decide = decide
    assert rig.send().status == 200
    assert "canary" not in repr(rig.log)


def test_a_codec_that_panics_is_refused_for_now(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    What is decompressed by a library with a bug is not stored, and threads live on.
    """
    monkeypatch.setattr(job, "decompress", lambda *_: panic(None))
    for _ in range(DECODERS + 1):
        assert rig.send(b"x", {"Content-Encoding": "snappy"}).status == 503
    monkeypatch.undo()
    assert rig.intake.in_flight == 0
    assert rig.send().status == 200


def test_an_error_before_the_path_is_known_is_refused_for_now(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Not as if the request were no HTTP: senders come again, and what is logged has no words of the error.
    """

    def fail(*_: Any) -> NoReturn:
        raise ValueError("canary")

    monkeypatch.setattr(exchange, "head_of", fail)
    seen = rig.send()
    assert (seen.status, "retry-after" in seen.headers) == (503, True)
    assert b"canary" not in seen.body
    assert [line["event"] for line in rig.log] == ["handling a connection failed"]
    assert "canary" not in repr(rig.log)
    monkeypatch.undo()
    assert rig.send().status == 200
