"""
The server's half of the handshake as pure functions: HELO, what a PING proves, PONG.

Facts: Forward Protocol Specification v1, Fluentd's ``in_forward``, Fluent Bit's ``out_forward``. Bytes are compared in constant
time, and an unknown user costs as much as a wrong password.
"""

import hashlib
import hmac
import secrets
from dataclasses import dataclass, field
from typing import Any, Final

import msgpack

from meterline.api import Clock, Principal, UnauthenticatedError, UndecodableError
from meterline.receivers.fluent_forward.config import ForwardAuthConfig
from meterline.serving.auth_config import KeyConfig

# Fluent Bit copies the reason into 32 bytes without looking at its length: none of these may be longer.
WRONG_KEY: Final = "shared_key mismatch"
WRONG_USER: Final = "username/password mismatch"
EXPIRED: Final = "credential expired"

_HOSTNAMES: Final = (b"meterline", b"meterline-gateway")
_NONCE_BYTES: Final = 16
_NOBODY: Final = KeyConfig(name="nobody", token="nobody")  # type: ignore[arg-type]  # noqa: S106 - compared with, never let in


@dataclass(frozen=True, slots=True)
class Welcome:
    """
    Who sends, and the PONG that says so.
    """

    principal: Principal
    pong: bytes


@dataclass(frozen=True, slots=True)
class Handshake:
    """
    One connection's handshake; nonce and salt are fresh.
    """

    auth: ForwardAuthConfig
    clock: Clock
    nonce: bytes = field(default_factory=lambda: secrets.token_bytes(_NONCE_BYTES))
    salt: bytes = field(default_factory=lambda: secrets.token_bytes(_NONCE_BYTES))

    def helo(self) -> bytes:
        """
        Return what the server says first; ``auth`` is empty when no user is asked for.
        """
        options = {"nonce": self.nonce, "auth": self.salt if self.auth.users else b"", "keepalive": True}
        return _packed(["HELO", options])

    def answer(self, ping: bytes) -> Welcome:
        """
        Return who sent this PING.

        :raises UndecodableError: it is none.
        :raises UnauthenticatedError: it proves nothing; ``refusal`` makes the PONG of the message.
        """
        hostname, salt, proof, username, password = _read(ping)
        shared = self.auth.shared_key
        if not _equal(proof, _digest(salt, hostname, self.nonce, _secret(shared))):
            raise UnauthenticatedError(WRONG_KEY)
        who = self._user(username, password) if self.auth.users else shared
        if any(key.expires_ns is not None and self.clock.now_ns() >= key.expires_ns for key in (shared, who)):
            raise UnauthenticatedError(EXPIRED)
        own = _HOSTNAMES[hostname == _HOSTNAMES[0]]  # Fluentd refuses a server of its own name
        pong = ["PONG", True, "", own.decode(), _digest(salt, own, self.nonce, _secret(shared)).decode()]
        return Welcome(who.as_principal(who.name), _packed(pong))

    def _user(self, username: bytes, password: bytes) -> KeyConfig:
        user = next((user for user in self.auth.users if _equal(username, user.name.encode())), _NOBODY)
        right = _equal(password, _digest(self.salt, username, _secret(user)))
        if not right or user is _NOBODY:
            raise UnauthenticatedError(WRONG_USER)
        return user


def refusal(reason: str) -> bytes:
    """
    Return the PONG that refuses.
    """
    return _packed(["PONG", False, reason, "", ""])


def _read(ping: bytes) -> tuple[bytes, bytes, bytes, bytes, bytes]:
    """
    Take a PING apart; its texts are bytes here, since salts are none.
    """
    try:
        parts = msgpack.unpackb(ping, raw=True, strict_map_key=False)
    except (msgpack.UnpackException, ValueError, TypeError) as error:
        raise UndecodableError("reading handshake: the sender's answer is no message") from error
    if type(parts) is not list or len(parts) != 6 or parts[0] != b"PING":
        raise UndecodableError("reading handshake: the sender did not answer with PING; does it know of a shared_key?")
    if not all(type(part) is bytes for part in parts):
        raise UndecodableError("reading handshake: a part of the sender's PING is no text")
    _, hostname, salt, proof, username, password = parts
    return hostname, salt, proof, username, password


def _secret(key: KeyConfig) -> bytes:
    """
    Return what the configuration makes sure to be there.
    """
    return key.token.get_secret_value().encode() if key.token is not None else secrets.token_bytes(_NONCE_BYTES)


def _digest(*parts: bytes) -> bytes:
    return hashlib.sha512(b"".join(parts)).hexdigest().encode()


def _equal(left: bytes, right: bytes) -> bool:
    return hmac.compare_digest(left, right)


def _packed(message: Any) -> bytes:
    packed: bytes = msgpack.packb(message, use_bin_type=True)
    return packed
