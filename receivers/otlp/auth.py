"""
Who sends: bearer tokens, API keys and mTLS subjects. Constant-time, and before a byte of the body is read.
"""

import hashlib
import hmac
from collections.abc import Iterable, Mapping
from typing import Any

from meterline.api import Principal
from meterline.serving.auth_config import AuthConfig

_BEARER = "bearer "


def _digest(token: str | bytes) -> bytes:
    return hashlib.sha256(token.encode() if isinstance(token, str) else token).digest()


class KeyRing:
    """
    The configured keys as SHA-256 digests: no token is kept, and a look-up takes as long for a wrong one as for a right one.
    """

    def __init__(self, config: AuthConfig) -> None:
        principals = {key.name: Principal(key.name, key.customers) for key in config.keys}
        self._keys = [(_digest(key.token.get_secret_value()), principals[key.name]) for key in config.keys]

    @property
    def principals(self) -> Iterable[Principal]:
        """
        Return everybody that a key is for.
        """
        return {principal for _, principal in self._keys}

    def find(self, metadata: Iterable[tuple[str, str | bytes]]) -> Principal | None:
        """
        Return whose key the call's metadata holds, or None. Of several credentials one right one is enough.
        """
        found = None
        for token in _tokens(metadata):
            digest = _digest(token)
            for expected, principal in self._keys:
                if hmac.compare_digest(digest, expected):
                    found = principal
        return found


def _tokens(metadata: Iterable[tuple[str, str | bytes]]) -> Iterable[str | bytes]:
    for name, value in metadata:
        if name == "x-api-key":
            yield value
        elif name == "authorization" and isinstance(value, str) and value[: len(_BEARER)].lower() == _BEARER:
            yield value[len(_BEARER) :].strip()


def principal_of_peer(properties: Mapping[str, Any]) -> Principal | None:
    """
    Return who the peer's verified certificate names: the subject's common name, or else its first alternative name.

    ``properties`` is gRPC's auth context: lists of bytes by name. None: the certificate names nobody.
    """
    for field in ("x509_common_name", "x509_subject_alternative_name"):
        for name in properties.get(field, ()):
            if name:
                return Principal(name.decode("utf-8", "replace"))
    return None
