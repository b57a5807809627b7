"""
Bodies that are refused before, or while, they are read.
"""

import asyncio
import errno
import socket
import threading
from collections.abc import Callable

import pytest

from meterline.testing.http_rig import WAIT_SECS, Rig
from meterline.testing.process import wait_until

Opener = Callable[..., Rig]

MIB = 1024 * 1024
LIMITS = {"max_request_bytes": MIB, "max_in_flight_bytes": 2 * MIB}


def head(length: int, *lines: str, path: str = "/v1/metrics") -> bytes:
    """
    Return a request's head.
    """
    return "\r\n".join([f"POST {path} HTTP/1.1", "Host: x", f"Content-Length: {length}", *lines, "", ""]).encode()


@pytest.mark.parametrize(
    ("length", "lines", "path", "status"),
    [
        (2 * MIB, (), "/v1/metrics", 413),
        (MIB, ("Content-Encoding: br",), "/v1/metrics", 415),
        (MIB, ("Content-Type: text/html",), "/v1/metrics", 415),
        (MIB, (), "/elsewhere", 404),
        (MIB, ("Origin: https://evil.example",), "/v1/metrics", 403),
    ],
)
def test_a_sender_that_writes_first_and_reads_then_sees_its_refusal(
    open_rig: Opener, length: int, lines: tuple[str, ...], path: str, status: int
) -> None:
    """
    The refusal comes before the body is sent, the body is read away, and the connection ends without a reset.
    """
    rig = open_rig(**LIMITS)
    sock = rig.connect()
    sock.sendall(head(length, *lines, path=path) + bytes(length))
    seen = rig.read(sock)
    assert (status, "close") == (seen.status, seen.headers["connection"])
    assert sock.recv(1) == b""
    assert rig.intake.peak == 0, "nothing was reserved for it"


def test_a_body_beyond_all_bounds_is_not_read_for_ever(open_rig: Opener) -> None:
    """
    Reading away stops at twice the limit: a sender that goes on for ever is cut off.
    """
    rig = open_rig(**LIMITS)
    sock = rig.connect()
    sock.sendall(head(10**12))
    with pytest.raises(ConnectionError):
        send_for_ever(sock)


def send_for_ever(sock: socket.socket) -> None:
    """
    Send 200 MiB, which is for ever here.
    """
    for _ in range(200):
        sock.sendall(bytes(MIB))


def test_a_sender_that_is_gone_when_its_refusal_is_written(open_rig: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    That half of the connection cannot be closed any more is nothing to report.
    """
    rig = open_rig(**LIMITS)
    closed = threading.Event()

    def gone(_transport: asyncio.Transport) -> None:
        closed.set()
        raise OSError(errno.ENOTCONN, "gone")

    monkeypatch.setattr("asyncio.selector_events._SelectorSocketTransport.write_eof", gone)
    sock = rig.connect()
    sock.sendall(head(2 * MIB))
    assert rig.read(sock).status == 413
    assert closed.wait(WAIT_SECS)
    sock.close()
    wait_until(lambda: rig.sample("meterline_receiver_connections") == 0, WAIT_SECS, "the end of the connection")
    assert rig.log == []


def test_chunks_over_the_limit_are_refused_while_they_come(open_rig: Opener) -> None:
    """
    Without Content-Length the limit is found while reading; what was reserved is given back.
    """
    rig = open_rig(**LIMITS)
    sock = rig.connect()
    chunk = b"%x\r\n" % 100_000 + bytes(100_000) + b"\r\n"
    sock.sendall(b"POST /v1/metrics HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk * 11)
    assert rig.read(sock).status == 413
    assert rig.intake.in_flight == 0
    assert rig.intake.peak <= MIB


def test_one_byte_over_the_limit(open_rig: Opener) -> None:
    """
    The limit itself passes, one byte more does not.
    """
    rig = open_rig(**LIMITS)
    assert rig.send(bytes(MIB)).status == 200
    assert rig.send(bytes(MIB + 1)).status == 413


def test_a_full_intake_refuses_for_now(open_rig: Opener) -> None:
    """
    Neither the intake's budget nor the listener's is exceeded; both are free again after the refusal.
    """
    rig = open_rig(**LIMITS)
    rig.intake.budget = MIB // 2
    seen = rig.send(bytes(MIB))
    assert (seen.status, "retry-after" in seen.headers) == (503, True)
    assert rig.intake.peak <= MIB // 2
    assert rig.intake.in_flight == rig.sample("meterline_receiver_in_flight_bytes") == 0
    assert rig.send(bytes(100)).status == 200


def test_the_listeners_budget_refuses_for_now(open_rig: Opener) -> None:
    """
    max_in_flight_bytes: while two large bodies wait for their answers, a third is refused for now.
    """
    rig = open_rig(**LIMITS)
    waiting = [rig.connect() for _ in range(2)]
    with rig.intake.held():
        for sock in waiting:
            sock.sendall(head(MIB) + bytes(MIB))
            assert rig.intake.submitted.acquire(timeout=WAIT_SECS)
        assert rig.send(bytes(MIB)).status == 503
    assert [rig.read(sock).status for sock in waiting] == [200, 200]


def test_a_sender_may_ask_before_it_sends(rig: Rig) -> None:
    """
    Expect: 100-continue is answered once the head is accepted, and the body is read then.
    """
    sock = rig.connect()
    sock.sendall(head(6, "Expect: 100-continue"))
    assert sock.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
    sock.sendall(b"points")
    assert rig.read(sock).status == 200
    assert rig.intake.data[0] == b"points"


def test_a_sender_that_asks_is_refused_without_sending(open_rig: Opener) -> None:
    """
    What is refused by its head is never asked for; another expectation is none that we know.
    """
    rig = open_rig(**LIMITS)
    sock = rig.connect()
    sock.sendall(head(5 * MIB, "Expect: 100-continue"))
    assert rig.read(sock).status == 413
    assert rig.send(headers={"Expect": "miracles"}).status == 400


def test_a_sender_that_goes_away_leaves_nothing_behind(open_rig: Opener) -> None:
    """
    A connection that is reset within a body, and one that is closed while its answer is awaited.
    """
    rig = open_rig(**LIMITS)
    within, waiting = rig.connect(), rig.connect()
    with rig.intake.held():
        within.sendall(head(MIB) + bytes(1000))
        waiting.sendall(head(6) + b"points")
        assert rig.intake.submitted.acquire(timeout=WAIT_SECS)
        within.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        within.close()
        waiting.close()
    wait_until(lambda: rig.intake.in_flight == 0, WAIT_SECS, "what was reserved to be given back")
    wait_until(lambda: rig.sample("meterline_receiver_connections") == 0, WAIT_SECS, "the connections to end")
    assert rig.log == []
