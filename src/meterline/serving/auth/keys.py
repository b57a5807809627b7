"""
The configured keys, as digests.
"""

import hashlib
import hmac
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from meterline.api import Principal, Sample, UnauthenticatedError
from meterline.clock import NANOS
from meterline.serving.auth.headers import Credential
from meterline.serving.auth_config import KeyConfig

_NOBODY = bytes(32)


@dataclass(slots=True)
class _Key:
    digest: bytes
    principal: Principal
    expires_ns: int | None
    expires_at: str | None
    place: int
    used_ns: int = 0


class KeyRing:
    """
    Keys by digest: no token is kept. The table is hashed with a secret of this process, and what it finds is compared in
    constant time, so that how long a look-up takes tells nothing of any key.
    """

    def __init__(self, keys: Iterable[KeyConfig]) -> None:
        self._salt = secrets.token_bytes(32)
        self._keys = {
            self._place(key.digest): _Key(key.digest, key.as_principal(key.name), key.expires_ns, key.expires_at, place)
            for place, key in enumerate(keys)
        }

    def _place(self, digest: bytes) -> bytes:
        return hashlib.blake2b(digest, key=self._salt, digest_size=16).digest()

    def find(self, credential: Credential, now_ns: int) -> Principal | None:
        """
        Return whose key it is; None: nobody's.

        :raises UnauthenticatedError: it is a key that has expired.
        """
        digest = hashlib.sha256(credential.token).digest()
        key = self._keys.get(self._place(digest))
        if not hmac.compare_digest(key.digest if key else _NOBODY, digest) or key is None:
            return None
        if credential.name is not None and credential.name != key.principal.name:
            return None
        if key.expires_ns is not None and now_ns >= key.expires_ns:
            raise UnauthenticatedError(
                f"authenticating request: the key of {key.principal.name!r} expired at {key.expires_at}; use a new one"
            )
        key.used_ns = now_ns
        return key.principal

    def samples(self, labels: Mapping[str, str]) -> Iterable[Sample]:
        """
        Return when each key was last right, by its name and its place in the config: nothing of the token.
        """
        for key in self._keys.values():
            named = {**labels, "key": key.principal.name, "place": str(key.place)}
            yield Sample("meterline_receiver_key_used_seconds", named, key.used_ns // NANOS)
