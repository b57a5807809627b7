"""
A forward-protocol client written from the protocol's facts: messages in every mode, byte by byte, and what comes back.
"""

import gzip
import os
import socket
import ssl
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Final, Self

import msgpack

from meterline.testing.forward import digest

Entry = tuple[int, Mapping[Any, Any]]
"""Nanoseconds since 1970, and a record."""

ANSWER_SECS: Final = 20.0


def event_time(nanos: int) -> msgpack.ExtType:
    """
    Return nanoseconds since 1970 as an EventTime.
    """
    seconds, rest = divmod(nanos, 10**9)
    return msgpack.ExtType(0, seconds.to_bytes(4, "big") + rest.to_bytes(4, "big"))


def packed_entries(entries: Sequence[Entry]) -> bytes:
    """
    Return entries one after the other, as PackedForward has them.
    """
    return b"".join(msgpack.packb([event_time(nanos), record]) for nanos, record in entries)


def message(tag: str, entry: Entry, **option: Any) -> bytes:
    """
    Return a message in Message mode.
    """
    data: bytes = msgpack.packb([tag, event_time(entry[0]), entry[1], *([option] if option else [])])
    return data


def forward(tag: str, entries: Sequence[Entry], **option: Any) -> bytes:
    """
    Return a message in Forward mode.
    """
    listed = [[event_time(nanos), record] for nanos, record in entries]
    data: bytes = msgpack.packb([tag, listed, *([option] if option else [])])
    return data


def packed_forward(tag: str, entries: Sequence[Entry], **option: Any) -> bytes:
    """
    Return a message in PackedForward mode; its entries are a ``bin``.
    """
    data: bytes = msgpack.packb([tag, packed_entries(entries), {"size": len(entries), **option}])
    return data


def compressed_forward(tag: str, entries: Sequence[Entry], **option: Any) -> bytes:
    """
    Return a message in CompressedPackedForward mode, of a gzip member for each entry, as buffers of Fluentd have them.
    """
    members = b"".join(gzip.compress(packed_entries([entry]), mtime=0) for entry in entries)
    data: bytes = msgpack.packb([tag, members, {"size": len(entries), "compressed": "gzip", **option}])
    return data


class ForwardClient:
    """
    One connection. ``address``: ``host:port`` or ``unix:/path``.
    """

    def __init__(self, address: str, tls: ssl.SSLContext | None = None) -> None:
        self.socket = _connected(address)
        self.socket.settimeout(ANSWER_SECS)
        if tls is not None:
            self.socket = tls.wrap_socket(self.socket, server_hostname="localhost")
        self._unpacker = msgpack.Unpacker(raw=False, strict_map_key=False, unicode_errors="surrogateescape")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """
        Close the connection.
        """
        self.socket.close()

    def send(self, data: bytes) -> None:
        """
        Send bytes.
        """
        self.socket.sendall(data)

    def receive(self) -> Any:
        """
        Return the next message of the server; None when it has closed the connection. Raises TimeoutError.
        """
        while True:
            for found in self._unpacker:
                return found
            try:
                data = self.socket.recv(65536)
            except ConnectionError:
                return None
            if not data:
                return None
            self._unpacker.feed(data)

    def log_in(self, shared_key: str, username: str = "", password: str = "", hostname: str = "sender.example") -> Any:
        """
        Shake hands as Fluent Bit does (a salt of raw bytes in a text), and return the server's PONG.
        """
        kind, options = self.receive()
        assert kind == "HELO"
        salt = os.urandom(16)
        proof = digest(salt, hostname, options["nonce"], shared_key)
        secret = digest(options["auth"], username, password) if options["auth"] else ""
        packer = msgpack.Packer(use_bin_type=False)
        self.send(packer.pack(["PING", hostname, salt, proof, username, secret]))
        return self.receive()


def _connected(address: str) -> socket.socket:
    if address.startswith("unix:"):
        connected = socket.socket(socket.AF_UNIX)
        connected.settimeout(ANSWER_SECS)
        connected.connect(address.removeprefix("unix:"))
        return connected
    host, _, port = address.rpartition(":")
    return socket.create_connection((host.strip("[]"), int(port)), ANSWER_SECS)
