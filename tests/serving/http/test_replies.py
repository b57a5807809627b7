"""
Answers as they are on the wire.
"""

import socket
from collections.abc import Callable

import pytest

from meterline.testing.http_rig import Rig

Opener = Callable[..., Rig]


def test_no_content_has_no_length(rig: Rig) -> None:
    """
    RFC 9110, section 8.6: 204 has no Content-Length; every other answer has.
    """
    seen = rig.send(b"", method="OPTIONS")
    assert (seen.status, "content-length" in seen.headers) == (204, False)
    assert rig.send().headers["content-length"] == "6"


def test_http_1_0_may_keep_its_connection(rig: Rig) -> None:
    """
    A sender that asks for it is told that the connection stays, and it does.
    """
    sock = rig.connect()
    for _ in range(2):
        sock.sendall(b"POST /v1/metrics HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\nx")
        seen = rig.read(sock)
        assert (seen.status, seen.headers["connection"]) == (200, "keep-alive")


def test_all_addresses_are_those_of_both_protocols(open_rig: Opener) -> None:
    """
    ``[::]`` takes IPv4, too.
    """
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no IPv6")
    rig = open_rig(endpoint="[::]:0", insecure=True)
    port = int(rig.registration.endpoint.rpartition(":")[2])
    for host in ("127.0.0.1", "::1"):
        sock = socket.create_connection((host, port), 20)
        rig.sockets.append(sock)
        assert rig.send(over=sock).status == 200
