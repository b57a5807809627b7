"""
Tokens of an OpenID Connect provider: who one is, after its signature, issuer, audience and time are proven.
"""

import base64
import hashlib
import json
import threading
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, TypeGuard

import jwt

from meterline.api import Clock, Principal, RetryableError, UnauthenticatedError, is_glob
from meterline.clock import NANOS
from meterline.serving.auth.jwks import KeyCache, KeySet
from meterline.serving.auth_config import OidcConfig

SKEW_SECS = 60
"""Clocks of provider and gateway may differ by so much."""

MAX_TOKEN_BYTES = 16_384
_NEVER = 10**11  # seconds; no NaN, no infinity, nothing that a float cannot hold
_MAX_NAME = 256
_MAX_PROVEN = 4096
_BAD = "authenticating request: the token"


class TokenVerifier:
    """
    Any thread; never waits. A proven token is remembered until it expires or the keys change.
    """

    def __init__(self, config: OidcConfig, reserved: frozenset[str], clock: Clock, log: Any) -> None:
        """
        ``reserved``: names of keys and subjects; no token may be one of them.
        """
        self._config = config
        self._reserved = reserved
        self._clock = clock
        self._limits = config.limits.to_limits()
        self._cache = KeyCache(config, clock, log)
        self._lock = threading.Lock()
        self._proven: OrderedDict[bytes, tuple[KeySet, float, Principal]] = OrderedDict()

    def prepare(self) -> None:
        """
        Begin to fetch the keys.
        """
        self._cache.refresh()

    def find(self, token: bytes) -> Principal | None:
        """
        Return whose token it is; None: it is no such token.

        :raises UnauthenticatedError: it is one, and it is not good.
        :raises RetryableError: the provider's keys are not at hand.
        """
        if token.count(b".") != 2 or len(token) > MAX_TOKEN_BYTES:
            return None
        try:
            header = jwt.get_unverified_header(token)
        except (jwt.PyJWTError, ValueError, RecursionError):
            return None
        keys = self._cache.current()
        digest = hashlib.sha256(token).digest()
        known = self._proven.get(digest)
        if known is not None and known[0] is keys and self._now_secs() < known[1]:
            return known[2]
        claims = self._claims(token, header, keys)
        principal = self._principal(claims)
        self._remember(digest, (keys, claims["exp"] + SKEW_SECS, principal))
        return principal

    def _now_secs(self) -> float:
        return self._clock.now_ns() / NANOS

    def _remember(self, digest: bytes, proven: tuple[KeySet, float, Principal]) -> None:
        with self._lock:
            self._proven[digest] = proven
            if len(self._proven) > _MAX_PROVEN:
                self._proven.popitem(last=False)

    def _claims(self, token: bytes, header: Mapping[str, Any], keys: KeySet) -> Mapping[str, Any]:
        """
        Return the claims of a token whose signature one of the keys proves.
        """
        algorithm, kid = header.get("alg"), header.get("kid")
        if algorithm not in self._config.algorithms:
            raise UnauthenticatedError(f"{_BAD} is signed by an algorithm that is not in auth.oidc.algorithms")
        for key in keys.candidates(kid, algorithm):
            claims = _proven(token, key, algorithm)
            if claims is not None:
                return self._checked(claims)
        if not keys.knows(kid):
            self._doubt(token, keys)
        raise UnauthenticatedError(f"{_BAD} is not signed by a key of {self._config.issuer}")

    def _doubt(self, token: bytes, keys: KeySet) -> None:
        """
        Refuse for now a token whose key may have been published after the keys were fetched.
        """
        self._cache.refresh()
        issued_at = _unproven(token).get("iat")
        if _is_time(issued_at) and keys.asked_at / NANOS - SKEW_SECS <= issued_at <= self._now_secs() + SKEW_SECS:
            raise RetryableError(f"{_BAD} names a key of {self._config.issuer} that is not at hand yet", SKEW_SECS / 12)

    def _checked(self, claims: Mapping[str, Any]) -> Mapping[str, Any]:
        now = self._now_secs()
        for name in ("exp", "iat"):
            if not _is_time(claims.get(name)):
                raise UnauthenticatedError(f"{_BAD} has no {name}")
        if now >= claims["exp"] + SKEW_SECS:
            raise UnauthenticatedError(f"{_BAD} has expired")
        for name in ("iat", "nbf"):
            since = claims.get(name, 0)
            if not _is_time(since) or since > now + SKEW_SECS:
                raise UnauthenticatedError(f"{_BAD} is not valid yet ({name})")
        if claims.get("iss") != self._config.issuer:
            raise UnauthenticatedError(f"{_BAD} is of another issuer than {self._config.issuer}")
        if not set(_texts(claims.get("aud"))) & set(self._config.audiences):
            raise UnauthenticatedError(f"{_BAD} is for another audience")
        return claims

    def _principal(self, claims: Mapping[str, Any]) -> Principal:
        config = self._config
        name = claims.get(config.principal_claim)
        if not isinstance(name, str) or not 0 < len(name) <= _MAX_NAME:
            raise UnauthenticatedError(f"{_BAD} has no claim {config.principal_claim!r} that is a text")
        if name in self._reserved:
            raise UnauthenticatedError(f"{_BAD} is for somebody who has the name of a key or subject of this listener")
        customers = _granted(claims, config.customers_claim) if config.customers_claim else config.customers
        tenants = _granted(claims, config.tenants_claim) if config.tenants_claim else config.tenants
        return Principal(name, customers, tenants, self._limits)


def _proven(token: bytes, key: jwt.PyJWK, algorithm: str) -> Mapping[str, Any] | None:
    """
    Return the claims if this key has signed them.
    """
    try:
        return _object(jwt.api_jws.decode(token, key.key, algorithms=[algorithm]))
    except (jwt.PyJWTError, ValueError, TypeError):
        return None


def _unproven(token: bytes) -> Mapping[str, Any]:
    """
    Return what the claims are if the token can be believed; none if it cannot be read.
    """
    try:
        payload = token.split(b".")[1]
        return _object(base64.urlsafe_b64decode(payload + b"=" * (-len(payload) % 4))) or {}
    except ValueError:
        return {}


def _object(payload: bytes) -> Mapping[str, Any] | None:
    try:
        found = json.loads(payload)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _is_time(value: object) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < _NEVER


def _texts(value: object) -> tuple[str, ...]:
    if isinstance(value, str):
        return (value,)
    return tuple(text for text in value if isinstance(text, str)) if isinstance(value, list) else ()


def _granted(claims: Mapping[str, Any], claim: str) -> tuple[str, ...]:
    """
    Return what a claim grants; nothing when it is absent. It is meant literally, so what looks like a glob grants nothing.
    """
    return tuple(text for text in _texts(claims.get(claim)) if not is_glob(text))
