"""
Bytes that are HTTP in the wrong way, or none: refused, never misread, and never 500.
"""

import os
import random
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from meterline.testing.http_rig import Rig

POST = b"POST /v1/metrics HTTP/1.1\r\nHost: x\r\n"
SMUGGLED = b"POST /v1/metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 8\r\n\r\nsmuggled"


@pytest.mark.parametrize(
    "wire",
    [
        POST + b"Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        POST + b"Transfer-Encoding: chunked\r\nContent-Length: 6\r\n\r\n0\r\n\r\n",
        POST + b"Content-Length: 6\r\nContent-Length: 5\r\n\r\npoints",
        POST + b"Content-Length: 6, 5\r\n\r\npoints",
        POST + b"Content-Length: +6\r\n\r\npoints",
        POST + b"Content-Length: 0x6\r\n\r\npoints",
        POST + b"Content-Length: -1\r\n\r\n",
        POST + b"Content-Length: 99999999999999999999999\r\n\r\n",
        POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        POST + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        POST + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
        POST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        POST + b"Transfer-Encoding: chunked\r\n\r\n-1\r\n\r\n",
        POST + b"Transfer-Encoding: chunked\r\n\r\n2\r\nabc\r\n0\r\n\r\n",
        POST + b"X: a\nContent-Length: 6\r\n\r\npoints\n",
        POST + b"X\0Y: a\r\n\r\n",
        POST + b"X: a\0b\r\n\r\n",
        b"POST /v1/metrics HTTP/9.9\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GARBAGE\r\n\r\n",
    ],
)
def test_what_two_servers_could_read_in_two_ways_is_refused(rig: Rig, wire: bytes) -> None:
    """
    400 and the end of the connection: what follows is not read as a request.
    """
    sock = rig.connect()
    sock.sendall(wire + SMUGGLED)
    data = b""
    try:
        while piece := sock.recv(65536):
            data += piece
    except ConnectionError:
        pass
    assert data == b"" or data.startswith(b"HTTP/1.1 400 ")
    assert data.count(b"\r\nServer: ") <= 1
    assert rig.intake.bodies == []


def test_an_upgrade_that_is_not_understood_is_passed_over(rig: Rig) -> None:
    """
    A client that offers HTTP/2 with its first request is answered over HTTP/1.1, body and all.
    """
    offer = {"Connection": "Upgrade, HTTP2-Settings", "Upgrade": "h2c", "HTTP2-Settings": "AAMAAABkAAQCAAAAAAIAAAAA"}
    sock = rig.connect()
    assert rig.send(headers=offer, over=sock).status == 200
    assert rig.intake.data[0] == b"points"


def test_bytes_that_are_no_text_reach_the_endpoint_as_text(rig: Rig) -> None:
    """
    No lone surrogate in a header, path or query: nothing later could encode it.
    """
    sock = rig.connect()
    sock.sendall(b"POST /v1/metrics?a=\xff%ff HTTP/1.1\r\nHost: x\r\nX-Odd: \xff\r\nContent-Length: 0\r\n\r\n")
    seen = rig.read(sock)
    assert seen.status in {200, 400}
    for request in rig.endpoint.requests:
        str(dict(request.head.headers)).encode()
        str(dict(request.head.query)).encode()


def test_a_whole_url_as_target(rig: Rig) -> None:
    """
    Senders behind a proxy write the whole URL; only its path counts.
    """
    assert rig.send(path="http://meterline.example:4318/v1/metrics?x=1").status == 200
    assert rig.send(b"", method="OPTIONS", path="*").status == 404


def test_a_query_of_too_many_fields_is_refused(rig: Rig) -> None:
    """
    A hundred fields are enough for everybody.
    """
    assert rig.send(path="/v1/metrics?" + "&".join(f"a{n}=1" for n in range(200))).status == 400


def test_a_thousand_tiny_parts_take_linear_time(rig: Rig) -> None:
    """
    Ten times the chunks of a byte each take about ten times as long, not a hundred times.
    """

    def taken(count: int) -> float:
        began = time.process_time()
        sock = rig.connect()
        sock.sendall(POST + b"Transfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * count + b"0\r\n\r\n")
        assert rig.read(sock).status == 200
        return time.process_time() - began

    taken(1000)
    assert taken(100_000) < 60 * max(taken(10_000), 0.005)
    assert rig.intake.data[-1] in {b"x" * 10_000, b"x" * 100_000}


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)
@given(st.data())
def test_no_bytes_break_the_listener(rig: Rig, data: st.DataObject) -> None:
    """
    A good request with bytes changed, cut, doubled: answered or closed, never 500, and the next sender is served.
    """
    wire = bytearray(
        POST
        + b"Content-Type: a/b\r\nContent-Encoding: identity\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
    )
    for _ in range(data.draw(st.integers(0, 6))):
        at = data.draw(st.integers(0, len(wire) - 1))
        wire[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=4))
    sock = rig.connect()
    try:
        sock.sendall(bytes(wire))
        sock.shutdown(1)
        answer = b""
        while piece := sock.recv(65536):
            answer += piece
    except ConnectionError:
        answer = b""
    sock.close()
    assert answer == b"" or answer.split(b" ", 2)[1] in {b"200", b"204", b"400", b"404", b"405", b"415", b"431", b"503"}
    assert rig.log == []
    assert rig.send().status == 200


def test_random_bytes_are_answered_or_closed(rig: Rig) -> None:
    """
    Noise of any length: nothing is stored of it, nothing is logged.
    """
    seed = int(os.environ.get("METERLINE_SEED") or random.SystemRandom().randrange(2**32))
    print(f"METERLINE_SEED={seed}")  # noqa: T201 - pytest shows it when the test fails
    rng = random.Random(seed)
    for _ in range(100):
        sock = rig.connect()
        try:
            sock.sendall(rng.randbytes(rng.randint(1, 5000)) + b"\r\n\r\n")
            sock.shutdown(1)
            while sock.recv(65536):
                pass
        except ConnectionError:
            pass
        sock.close()
    assert rig.intake.bodies == []
    assert rig.log == []
    assert rig.send().status == 200
