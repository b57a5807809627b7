"""
What a connection remembers from one request to the next, and what it leaves behind.
"""

import asyncio
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trustme

from meterline.serving.http import connection as connections
from meterline.serving.http.connection import Connection, Phase
from meterline.serving.seam import Reply
from meterline.testing.http_rig import WAIT_SECS, Rig, StubPage
from meterline.testing.process import wait_until

Opener = Callable[..., Rig]

HEAD = b"POST /v1/metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n"
ONE = HEAD + b"\r\nx"
MIB = 1024 * 1024


def listener(rig: Rig) -> Any:
    """
    Return what is behind the port.
    """
    return rig.registration.listener


def only_connection(rig: Rig) -> Connection:
    """
    Return the one that is open.
    """
    wait_until(lambda: listener(rig)._connections.count == 1, WAIT_SECS, "the connection")
    (connection,) = listener(rig)._connections._open
    assert isinstance(connection, Connection)
    return connection


def test_a_head_that_drips_behind_pipelined_requests_is_cut_off(open_rig: Opener) -> None:
    """
    The second of two requests was read while the first was handled; what comes after them has its own deadline.
    """
    rig = open_rig(header_timeout_secs=1.5, idle_timeout_secs=600)
    sock = rig.connect()
    connection = only_connection(rig)
    with rig.intake.held():
        sock.sendall(ONE)
        assert rig.intake.submitted.acquire(timeout=WAIT_SECS)
        sock.sendall(ONE)
        wait_until(lambda: connection._request_count == 2, WAIT_SECS, "the second to be read")
    assert [rig.read(sock).status for _ in range(2)] == [200, 200]
    sock.sendall(HEAD)
    assert sock.recv(1) == b""
    assert rig.send().status == 200


def test_the_budget_of_headers_is_each_requests_own(open_rig: Opener) -> None:
    """
    Heads that come in pieces, of many requests on one connection, are together more than one may be.
    """
    rig = open_rig(max_header_bytes=2000)
    sock = rig.connect()
    connection = only_connection(rig)
    for _ in range(8):
        sock.sendall(HEAD + b"X-Filler: " + b"v" * 500 + b"\r\n")
        wait_until(lambda: connection.phase is Phase.HEAD, WAIT_SECS, "the first piece to be read")
        sock.sendall(b"\r\nx")
        assert rig.read(sock).status == 200
        wait_until(lambda: connection.phase is Phase.IDLE, WAIT_SECS, "it to wait for the next request")


def test_a_refused_sender_that_goes_away_within_its_body_is_not_waited_for(open_rig: Opener) -> None:
    """
    Its request is read away no longer: no task stays behind.
    """
    rig = open_rig(max_request_bytes=MIB, max_in_flight_bytes=2 * MIB)
    before = tasks(rig)
    sock = rig.connect()
    sock.sendall(b"POST /v1/metrics HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % (2 * MIB) + bytes(1000))
    assert rig.read(sock).status == 413
    assert tasks(rig) > before
    sock.close()
    wait_until(lambda: tasks(rig) == before, WAIT_SECS, "the connection's tasks to end")


def test_a_refused_sender_that_stalls_within_its_body_is_cut_off(
    open_rig: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    What it still has to send is waited for no longer than a while, however patient the listener is with others.
    """
    monkeypatch.setattr(connections, "_LINGER_SECS", 0.3)
    rig = open_rig(max_request_bytes=MIB, max_in_flight_bytes=2 * MIB, idle_timeout_secs=600, body_timeout_secs=600)
    sock = rig.connect()
    sock.sendall(b"POST /v1/metrics HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % (2 * MIB) + bytes(1000))
    assert rig.read(sock).status == 413
    wait_until(lambda: rig.sample("meterline_receiver_connections") == 0, WAIT_SECS, "the connection to end")


def test_who_does_not_take_part_in_the_end_of_tls_is_dropped(open_rig: Opener, tmp_path: Path) -> None:
    """
    An idle connection over TLS is closed, and a second later dropped, when the other side does not answer the farewell.
    """
    authority = trustme.CA()
    pair = authority.issue_cert("localhost")
    pair.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
    pair.cert_chain_pems[0].write_to_path(str(tmp_path / "cert.pem"))
    tls = {"cert_file": str(tmp_path / "cert.pem"), "key_file": str(tmp_path / "key.pem")}
    rig = open_rig(idle_timeout_secs=0.3, tls=tls)
    context = ssl.create_default_context()
    authority.configure_trust(context)
    rig.connect_tls(context)
    wait_until(lambda: rig.sample("meterline_receiver_expired_connections") >= 1, WAIT_SECS, "its time to be over")
    wait_until(lambda: rig.sample("meterline_receiver_connections") == 0, WAIT_SECS, "it to be dropped")


def test_answers_that_are_not_taken_are_not_made_in_advance(open_rig: Opener, page: StubPage) -> None:
    """
    Who asks many times and never reads has few answers waiting in memory.
    """
    page.reply = Reply(200, bytes(16 * MIB), "text/plain")
    rig = open_rig(pages=(page,), idle_timeout_secs=600)
    made: list[int] = []
    reply = page.get
    page.get = lambda head: (made.append(1), reply(head))[1]  # type: ignore[method-assign]
    sock = rig.connect()
    sock.sendall(b"GET /page HTTP/1.1\r\nHost: x\r\n\r\n" * 8)
    wait_until(lambda: made, WAIT_SECS, "the first answer")
    for _ in range(5):  # many turns of the loop
        assert rig.send().status == 200
    assert len(made) == 1


def test_whoever_looks_after_connections_outlives_an_error(open_rig: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    It is logged, and at the next look those whose time is over are cut off.
    """
    rig = open_rig(idle_timeout_secs=0.3)
    expire, failures = listener(rig)._connections.expire, [1, 2]

    def failing() -> None:
        if failures:
            failures.pop()
            raise ValueError("canary")
        expire()

    monkeypatch.setattr(listener(rig)._connections, "expire", failing)
    assert rig.connect().recv(1) == b""
    assert [line["event"] for line in rig.log] == ["looking after connections failed"] * 2
    assert "canary" not in repr(rig.log)


def tasks(rig: Rig) -> int:
    """
    Return how many there are on the loop.
    """

    async def count() -> int:
        return len(asyncio.all_tasks())

    found: int = listener(rig)._loop.run(count())
    return found
