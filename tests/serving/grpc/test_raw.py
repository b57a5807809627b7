"""
Calls as other programs put them on the wire: in HTTP/2 frames, since grpcio's client sends only what it can read itself.
"""

import gzip
import socket
import struct
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import cramjam
import pytest
import zstandard

MESSAGE = b"\x0a\x00" * 50
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, SETTINGS = 0, 1, 4
END_STREAM, END_HEADERS, ACK = 1, 4, 1
WAIT_SECS = 20.0


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """
    Return an HTTP/2 frame (RFC 9113, section 4.1).
    """
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def field(name: str, value: str) -> bytes:
    """
    Return a header that no table has (RFC 7541, section 6.2.2), both texts under 127 bytes.
    """
    return b"\0" + b"".join(bytes([len(text)]) + text.encode() for text in (name, value))


def call(address: str, path: str, message: bytes, flag: int, *headers: tuple[str, str]) -> int:
    """
    Make one call; return its ``grpc-status``.
    """
    host, port = address.rsplit(":", 1)
    fixed = ((":method", "POST"), (":scheme", "http"), (":path", path), (":authority", "x"), ("te", "trailers"))
    block = b"".join(field(*pair) for pair in (*fixed, ("content-type", "application/grpc"), *headers))
    with socket.create_connection((host, int(port)), WAIT_SECS) as sock:
        sock.sendall(PREFACE + frame(SETTINGS, 0, 0, b"") + frame(HEADERS, END_HEADERS, 1, block))
        sock.sendall(frame(DATA, END_STREAM, 1, bytes([flag]) + struct.pack(">I", len(message)) + message))
        for payload in trailers(sock):
            status = payload.partition(b"grpc-status")[2]
            return int(status[1 : 1 + status[0]])
    raise AssertionError("the connection ended without an answer")


def trailers(sock: socket.socket) -> Iterator[bytes]:
    """
    Yield the headers that end a stream.
    """
    stream = sock.makefile("rb")
    while head := stream.read(9):
        payload = stream.read(int.from_bytes(head[:3], "big"))
        if head[3] == SETTINGS and not head[4] & ACK:
            sock.sendall(frame(SETTINGS, ACK, 0, b""))
        if head[3] == HEADERS and head[4] & END_STREAM:
            yield payload


@pytest.mark.parametrize(
    ("encoding", "compress"),
    [("gzip", gzip.compress), ("deflate", zlib.compress), ("gzip", None), ("identity", None), (None, None)],
)
def test_what_the_core_lets_through_is_stored(
    open_port: Any, intake: Any, service: Any, encoding: str | None, compress: Callable[[bytes], bytes] | None
) -> None:
    """
    Both compressions by their names, and a message that is not compressed although its call says that it may be.
    """
    one = service("One")
    message = MESSAGE if compress is None else compress(MESSAGE)
    headers = [("grpc-encoding", encoding)] if encoding else []

    assert call(open_port(one).endpoint, one.path, message, int(compress is not None), *headers) == 0
    assert intake.data == [MESSAGE]


@pytest.mark.parametrize(
    ("encoding", "compress"),
    [
        ("zstd", zstandard.compress),
        ("snappy", lambda data: bytes(cramjam.snappy.compress_raw(data))),
        ("identity", bytes),
        (None, gzip.compress),
    ],
)
def test_what_the_core_does_not_know_never_reaches_us(
    open_port: Any, intake: Any, service: Any, encoding: str | None, compress: Callable[[bytes], bytes]
) -> None:
    """
    The core answers INTERNAL by itself, on which a Collector drops, as ``doctor agents`` warns; the next call passes.
    """
    one = service("One")
    address = open_port(one).endpoint

    assert call(address, one.path, compress(MESSAGE), 1, *([("grpc-encoding", encoding)] if encoding else [])) == 13
    assert (one.calls, intake.bodies) == ([], [])
    assert call(address, one.path, MESSAGE, 0) == 0
