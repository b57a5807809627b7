"""
The forward protocol's messages as pure functions: batches, acknowledgements, and the proofs of the shared-key handshake.

Facts: Forward Protocol Specification v1.5 and Fluentd's ``in_forward``.
"""

import base64
import hashlib
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgpack
from fluent.sender import EventTime

from meterline.printable import printable

MAX_SECONDS = 2**32 - 1
"""EventTime has 32 bits of seconds since 1970."""


def chunk_id(batch_id: str) -> str:
    """
    Return the chunk id of a batch: the same at every attempt, other for every other batch.
    """
    return base64.b64encode(hashlib.blake2b(batch_id.encode(), digest_size=16).digest()).decode()


def packed_entry(nanos: int, record: Mapping[str, Any]) -> bytes:
    """
    Return one ``[EventTime, record]``.

    :raises ValueError: EventTime cannot hold the time, or a text is not Unicode (a lone surrogate).
    """
    if not 0 <= nanos // 1_000_000_000 <= MAX_SECONDS:
        raise ValueError(f"packing time {nanos}: EventTime holds 1970 to 2106")
    entry: bytes = msgpack.packb((EventTime.from_unix_nano(nanos), record), use_bin_type=True)
    return entry


def packed_forward(tag: str, entries: Sequence[bytes], chunk: str) -> bytes:
    """
    Return the message ``[tag, packed entries, {chunk, size}]``.
    """
    option = {"chunk": chunk, "size": len(entries)}
    message: bytes = msgpack.packb((tag, b"".join(entries), option), use_bin_type=True)
    return message


def acknowledges(answer: Any, chunk: str) -> bool:
    """
    Say whether a message (with raw bytes for text) is ``{"ack": chunk}``.
    """
    return isinstance(answer, dict) and answer.get(b"ack") == chunk.encode()


@dataclass(frozen=True, slots=True)
class Login:
    """
    The client's half of the handshake. ``hostname`` and ``salt`` are ours, text without meaning to the server.
    """

    shared_key: str
    username: str
    password: str
    hostname: str
    salt: str

    def ping(self, helo: "Helo") -> bytes:
        """
        Return the PING that proves that we have the key, and the user's password if the server asks for one.
        """
        proof = self._digest(self.hostname.encode(), helo.nonce)
        password = _hex(helo.auth, self.username.encode(), self.password.encode()) if helo.auth else ""
        user = self.username if helo.auth else ""
        message: bytes = msgpack.packb(("PING", self.hostname, self.salt, proof, user, password), use_bin_type=True)
        return message

    def verdict(self, helo: "Helo", pong: Any) -> str | None:
        """
        Return why the handshake failed, or None: the server took us, and has proved that it has the key.
        """
        if not isinstance(pong, list) or len(pong) < 2 or pong[0] != b"PONG":
            return "the server did not answer with PONG"
        if pong[1] is not True:
            return f"the server refused: {_text(pong[2]) if len(pong) > 2 else 'no reason given'}"
        if len(pong) < 5 or not isinstance(pong[3], bytes) or not isinstance(pong[4], bytes):
            return "the server's PONG has no proof"
        if not hmac.compare_digest(pong[4], self._digest(pong[3], helo.nonce).encode()):
            return "the server has another shared_key"
        return None

    def _digest(self, hostname: bytes, nonce: bytes) -> str:
        return _hex(self.salt.encode(), hostname, nonce, self.shared_key.encode())


@dataclass(frozen=True, slots=True)
class Helo:
    """
    What the server says first: a nonce, a salt when it wants a user (else empty), whether it keeps connections open.
    """

    nonce: bytes
    auth: bytes
    keepalive: bool

    @staticmethod
    def read(message: Any) -> "Helo | None":
        """
        Return it, or None when the message is something else.
        """
        if (
            not isinstance(message, list)
            or len(message) != 2
            or message[0] != b"HELO"
            or not isinstance(message[1], dict)
        ):
            return None
        options = message[1]
        nonce, auth = options.get(b"nonce"), options.get(b"auth", b"")
        if not isinstance(nonce, bytes) or not isinstance(auth, bytes):
            return None
        return Helo(nonce, auth, options.get(b"keepalive", True) is not False)


def _hex(*parts: bytes) -> str:
    return hashlib.sha512(b"".join(parts)).hexdigest()


def _text(value: Any) -> str:
    return printable(value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value))[:200]
