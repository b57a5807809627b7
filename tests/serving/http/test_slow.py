"""
Senders that are slow, by accident or on purpose: each has so long, and no longer.
"""

import socket
import ssl
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import trustme

from meterline.serving.seam import Reply
from meterline.testing.http_rig import WAIT_SECS, Rig, StubPage
from meterline.testing.process import wait_until

Opener = Callable[..., Rig]

HEAD = b"POST /v1/metrics HTTP/1.1\r\nHost: x\r\n"
SHORT = 1.0
PATIENT = 600.0
"""Far beyond what a socket of these tests waits for: what is closed at all was closed by the short limit."""


def is_ended(sock: socket.socket) -> bool:
    """
    Wait until the other side closes.
    """
    try:
        while sock.recv(4096):
            pass
    except ConnectionError:
        pass
    return True


def test_headers_that_drip_are_cut_off(open_rig: Opener) -> None:
    """
    Slowloris: a header line every now and then keeps no connection open beyond header_timeout_secs.
    """
    rig = open_rig(header_timeout_secs=SHORT, body_timeout_secs=PATIENT, idle_timeout_secs=PATIENT)
    began = time.monotonic()
    sock = rig.connect()
    sock.settimeout(0.05)
    sock.sendall(HEAD)
    while time.monotonic() - began < WAIT_SECS:
        try:
            sock.sendall(b"X-A: b\r\n")
            if sock.recv(1) == b"":
                break
        except TimeoutError:
            continue
        except ConnectionError:
            break
    else:
        pytest.fail("it was not cut off")
    assert time.monotonic() - began >= SHORT
    assert rig.send().status == 200, "others are served"


def test_headers_that_drip_between_requests_are_cut_off(open_rig: Opener) -> None:
    """
    The same on a connection that has sent a request, and behind one that is pipelined.
    """
    rig = open_rig(header_timeout_secs=SHORT, body_timeout_secs=PATIENT, idle_timeout_secs=PATIENT)
    sock = rig.connect()
    assert rig.send(over=sock).status == 200
    sock.sendall(HEAD)
    assert is_ended(sock)


def test_a_connection_without_requests_is_closed(open_rig: Opener) -> None:
    """
    idle_timeout_secs, for a new connection and after an answer; not while a request is answered.
    """
    rig = open_rig(header_timeout_secs=PATIENT, body_timeout_secs=PATIENT, idle_timeout_secs=SHORT)
    fresh, used = rig.connect(), rig.connect()
    assert rig.send(over=used).status == 200
    assert is_ended(fresh)
    assert is_ended(used)
    busy = rig.connect()
    with rig.intake.held():
        busy.sendall(HEAD + b"Content-Length: 1\r\n\r\nx")
        assert rig.intake.submitted.acquire(timeout=WAIT_SECS)
        busy.settimeout(3 * SHORT)
        with pytest.raises(TimeoutError):
            busy.recv(1)
    busy.settimeout(WAIT_SECS)
    assert rig.read(busy).status == 200


def test_a_body_that_drips_is_refused_for_now(open_rig: Opener) -> None:
    """
    body_timeout_secs is for the whole body, however often a byte comes; what was reserved is given back.
    """
    rig = open_rig(header_timeout_secs=PATIENT, body_timeout_secs=SHORT, idle_timeout_secs=PATIENT)
    began = time.monotonic()
    sock = rig.connect()
    sock.settimeout(0.05)
    sock.sendall(HEAD + b"Content-Length: 1000000\r\n\r\n")
    data = b""
    while time.monotonic() - began < WAIT_SECS and not data:
        sock.sendall(b"x")
        try:
            data = sock.recv(4096)
        except TimeoutError:
            continue
    assert time.monotonic() - began >= SHORT
    assert data.startswith(b"HTTP/1.1 503 ")
    assert b"\r\nRetry-After: " in data
    assert b"\r\nConnection: close\r\n" in data
    assert rig.intake.in_flight == 0


def test_a_handshake_that_does_not_come_is_cut_off(open_rig: Opener, tmp_path: Path) -> None:
    """
    A connection to a TLS port that says nothing is closed after header_timeout_secs.
    """
    authority = trustme.CA()
    pair = authority.issue_cert("localhost")
    pair.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
    pair.cert_chain_pems[0].write_to_path(str(tmp_path / "cert.pem"))
    tls = {"cert_file": str(tmp_path / "cert.pem"), "key_file": str(tmp_path / "key.pem")}
    rig = open_rig(header_timeout_secs=SHORT, idle_timeout_secs=PATIENT, tls=tls)
    assert is_ended(rig.connect())
    context = ssl.create_default_context()
    authority.configure_trust(context)
    assert rig.send(over=rig.connect_tls(context)).status == 200


def test_an_answer_that_is_not_taken_ends_the_connection(open_rig: Opener, page: StubPage) -> None:
    """
    A sender that asks and never reads is disconnected, however much it asked for.
    """
    page.reply = Reply(200, bytes(4_000_000), "text/plain")
    rig = open_rig(pages=(page,), idle_timeout_secs=SHORT)
    sock = rig.connect()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    ask = b"GET /page HTTP/1.1\r\nHost: x\r\n\r\n"
    sock.sendall(ask * 20)
    wait_until(lambda: rig.sample("meterline_receiver_expired_connections") >= 1, WAIT_SECS, "the connection to expire")
    wait_until(lambda: rig.sample("meterline_receiver_connections") == 0, WAIT_SECS, "it to be forgotten")


def test_headers_are_held_against_a_budget(open_rig: Opener) -> None:
    """
    max_header_bytes for the line and all headers: in one packet, in many, in one line, in many; nothing is kept beyond it.
    """
    rig = open_rig(max_header_bytes=4096)
    lines = b"".join(b"X-%d: %s\r\n" % (n, b"v" * 90) for n in range(50))
    whole = rig.connect()
    whole.sendall(HEAD + lines + b"Content-Length: 1\r\n\r\nx")
    assert rig.read(whole).status in {400, 431}
    endless = rig.connect()
    endless.sendall(HEAD)
    sent = 0
    try:
        while sent < 10_000_000:
            endless.sendall(lines)
            sent += len(lines)
    except ConnectionError:
        pass
    assert sent < 10_000_000, "it was cut off"
    one = rig.connect()
    one.sendall(HEAD + b"X: " + b"v" * 5000 + b"\r\n\r\n")
    assert rig.read(one).status in {400, 431}
    target = rig.connect()
    target.sendall(b"POST /" + b"v" * 5000 + b" HTTP/1.1\r\n\r\n")
    assert rig.read(target).status in {400, 431}
    assert rig.send(headers={"X": "v" * 3000}).status == 200
