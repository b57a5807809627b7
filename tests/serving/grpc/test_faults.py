"""
Faults that nobody expected: a call always has an answer, and it is one on which senders come again.
"""

from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2


class Panic(BaseException):
    """
    What a library written in Rust raises when it has a bug: no Exception.
    """


def refused(channel: grpc.Channel, path: str) -> tuple[grpc.StatusCode, bool, str]:
    """
    Send a call that is refused; return its code, whether it says when to come again, and its words.
    """
    with pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary(path)(b"x", timeout=20)
    error: Any = caught.value
    raw = dict(error.trailing_metadata()).get("grpc-status-details-bin", b"")
    details = status_pb2.Status.FromString(raw).details
    return error.code(), any(d.Is(error_details_pb2.RetryInfo.DESCRIPTOR) for d in details), error.details()


def test_a_decoder_that_panics_is_refused_twice_and_then_quarantined(ports: Any, intake: Any, service: Any) -> None:
    """
    As any other unexpected error: never UNKNOWN, on which senders drop.
    """
    one = service("One", error=Panic("canary"))
    channel = ports(one)

    for _ in range(2):
        code, comes_again, words = refused(channel, one.path)
        assert (code, comes_again) == (grpc.StatusCode.UNAVAILABLE, True)
        assert "canary" not in words
    assert channel.unary_unary(one.path)(b"x", timeout=20) == b""
    assert [reject.reason for reject in intake.rejects] == ["internal_error"]
    assert intake.in_flight == 0


@pytest.mark.parametrize("error", [ValueError("canary"), Panic("canary")])
def test_an_intake_that_raises_is_refused_for_now(ports: Any, intake: Any, service: Any, error: BaseException) -> None:
    """
    The seam says that it does not; if it ever does, senders come again, and what was reserved is given back.
    """
    one = service("One")
    channel = ports(one)

    def fail(_: Any) -> None:
        raise error

    intake.decide = fail

    code, comes_again, words = refused(channel, one.path)

    assert (code, comes_again) == (grpc.StatusCode.UNAVAILABLE, True)
    assert "canary" not in words
    assert intake.in_flight == 0
