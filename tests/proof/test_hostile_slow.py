"""
Senders that do not go on: the listeners' timeouts end their connections, and everybody else is served meanwhile.
"""

import socket
import time

from meterline.testing.hostile import valid
from meterline.testing.hostile_site import HostileSite, answer_of, statuses
from meterline.testing.wires import WIRES

SECS = 1.0
OPTIONS = {
    "http": {"header_timeout_secs": SECS, "body_timeout_secs": SECS, "idle_timeout_secs": SECS},
    "forward": {"message_timeout_secs": SECS, "handshake_timeout_secs": SECS, "silence_timeout_secs": SECS},
}
HEAD = b"POST /v1/logs HTTP/1.1\r\nhost: h\r\ncontent-type: application/json\r\ncontent-length: 1000\r\n"
STALLED: dict[str, tuple[str, bytes, bytes]] = {
    "idle": ("http", b"", b""),
    "half a head": ("http", HEAD, b""),
    "a head by drops": ("http", HEAD, b"a"),
    "no body": ("http", HEAD + b"\r\n", b""),
    "a body by drops": ("http", HEAD + b"\r\n", b" "),
    "chunks by drops": ("http", HEAD[:-22] + b"transfer-encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
    "half a message": ("forward", b"\x93\xa1t\xc6\x00\x00\x10\x00", b""),
    "a message by drops": ("forward", b"\x93\xa1t\xc6\x00\x00\x10\x00", b"\x00"),
}
"""Port, what comes at first, and what comes again and again."""


def serve_others(site: HostileSite, kind: str) -> None:
    """One valid request over each of three wires is stored while they hang."""
    for wire in (wire for wire in WIRES if wire.name in ("json-array", "otlp-grpc-logs", "fluent-forward")):
        sender = site.sender(wire)
        sender.send(valid(wire, f"during-{kind}"), 30)
        sender.close()


def ends(connection: socket.socket, drop: bytes, until: float) -> bool:
    """Say whether the other side ends it by then, though it drips; what it says first is documented."""
    connection.settimeout(0.1)
    answer = b""
    while time.monotonic() < until:
        try:
            connection.sendall(drop)
            part = connection.recv(4096)
        except TimeoutError:
            continue
        except ConnectionError:
            part = b""
        answer += part
        if not part:
            assert all(status in (400, 408, 503) for status in statuses(answer)), answer[:300]
            return True
    return False


def test_stalled_senders(site: HostileSite) -> None:
    """Many connections that stall in every way at once are all ended in time, and others are served all the while."""
    stalled = [(site.connect(port), first, drop) for port, first, drop in STALLED.values() for _ in range(15)]
    try:
        for connection, first, _ in stalled:
            connection.sendall(first)
        serve_others(site, "stalled")
        until = time.monotonic() + 30
        for connection, first, drop in stalled:
            assert ends(connection, drop, until), f"{first!r}, {drop!r}"
    finally:
        for connection, _, _ in stalled:
            connection.close()


def test_half_open_grpc(site: HostileSite) -> None:
    """Connections that never begin HTTP/2, or begin and say no more, do not keep others from being served."""
    connections = [site.connect("grpc") for _ in range(60)]
    for number, connection in enumerate(connections):
        connection.sendall(
            (b"", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9))[number % 3]
        )
    serve_others(site, "half-open")
    for connection in connections:
        connection.close()


def test_it_counts_afterwards(site: HostileSite) -> None:
    """The gateway takes what is valid, and its log tells of no defect."""
    site.check_alive([wire for wire in WIRES if wire.transport != "file"], "after-slow")
    with site.connect() as connection:
        assert answer_of(connection) == b""  # idle
