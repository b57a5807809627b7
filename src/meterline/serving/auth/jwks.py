"""
The public keys of an OpenID Connect provider: fetched in the background, kept, and fetched again when they are old or when
a token names one that is not among them. Nobody ever waits for a fetch.
"""

import json
import ssl
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jwt
import urllib3

from meterline.api import Clock, RetryableError
from meterline.serving.auth_config import OidcConfig, cannot_be_forged

MIN_REFETCH_SECS = 10.0
"""No two fetches within this, whatever tokens name: a flood of unknown keys is no flood at the provider."""

MAX_DOCUMENT_BYTES = 1_048_576
_DISCOVERY = "/.well-known/openid-configuration"
_RETRY_SECS = 2.0


class FetchError(Exception):
    """
    The provider's document could not be had, or is none.
    """


@dataclass(frozen=True, slots=True)
class KeySet:
    """
    Keys as of one fetch. ``asked_at``: when it began, in ns since the Unix epoch: what was published before is in it.
    """

    keys: tuple[jwt.PyJWK, ...]
    asked_at: int

    def candidates(self, kid: object, algorithm: str) -> list[jwt.PyJWK]:
        """
        Return the keys that may have signed a token whose header says this; ``kid`` None: any key.
        """
        return [key for key in self.keys if (kid is None or key.key_id == kid) and _fits(key, algorithm)]

    def knows(self, kid: object) -> bool:
        """
        Say whether a key of this id is among them.
        """
        return kid is None or any(key.key_id == kid for key in self.keys)


_TYPES: Mapping[str, str] = {"RS": "RSA", "PS": "RSA", "ES": "EC", "Ed": "OKP"}
_CURVES: Mapping[str, str] = {"ES256": "P-256", "ES384": "P-384", "ES512": "P-521"}


def _fits(key: jwt.PyJWK, algorithm: str) -> bool:
    data: Mapping[str, Any] = key._jwk_data  # noqa: SLF001 - PyJWK has no public way to `kty`, `alg`, `crv`
    return (
        data.get("kty") == _TYPES.get(algorithm[:2])
        and data.get("alg", algorithm) == algorithm
        and data.get("crv") == _CURVES.get(algorithm, data.get("crv"))
        and data.get("use", "sig") == "sig"
    )


class KeyCache:
    """
    The present keys of one provider; any thread.
    """

    def __init__(self, config: OidcConfig, clock: Clock, log: Any) -> None:
        self._config = config
        self._clock = clock
        self._log = log
        self._lock = threading.Lock()
        self._set: KeySet | None = None
        self._loaded_at = 0.0
        self._tried_at: float | None = None
        self._busy = False

    def current(self) -> KeySet:
        """
        Return the keys; old ones are fetched again beside it.

        :raises RetryableError: there are none, or none that may be used any more.
        """
        keys, age = self._set, self._clock.monotonic() - self._loaded_at
        if keys is None or age > self._config.jwks_ttl_secs:
            self.refresh()
        if keys is None or age > self._config.jwks_max_age_secs:
            raise RetryableError(
                "authenticating request: the keys of the identity provider are not at hand", _RETRY_SECS
            )
        return keys

    def refresh(self) -> None:
        """
        Begin a fetch, unless one is under way or was begun a moment ago.
        """
        with self._lock:
            now = self._clock.monotonic()
            if self._busy or (self._tried_at is not None and now - self._tried_at < MIN_REFETCH_SECS):
                return
            self._busy, self._tried_at = True, now
        threading.Thread(target=self._fetch, name="oidc-keys", daemon=True).start()

    def _fetch(self) -> None:
        asked_at = self._clock.now_ns()
        try:
            keys = fetch_keys(self._config)
        except Exception as error:  # noqa: BLE001 - whatever a provider answers, the old keys stay
            self._log.warning("keys of the identity provider not fetched", issuer=self._config.issuer, error=str(error))
        else:
            self._set, self._loaded_at = KeySet(keys, asked_at), self._clock.monotonic()
            self._log.info("keys of the identity provider fetched", issuer=self._config.issuer, keys=len(keys))
        finally:
            self._busy = False


def fetch_keys(config: OidcConfig) -> tuple[jwt.PyJWK, ...]:
    """
    Ask the provider. Waits for at most twice the timeout.

    :raises FetchError: it cannot be reached, or answers something else.
    """
    with _pool(config) as pool:
        url = config.jwks_url
        if url is None:
            discovered = _document(pool, config.issuer.rstrip("/") + _DISCOVERY, config.timeout_secs)
            url = discovered.get("jwks_uri")
            if discovered.get("issuer") != config.issuer or not isinstance(url, str):
                raise FetchError("the discovery document is another issuer's, or has no jwks_uri")
            if not cannot_be_forged(url):
                raise FetchError("the discovery document names a jwks_uri that is no https:// URL")
        found = _document(pool, url, config.timeout_secs).get("keys")
    if not isinstance(found, list):
        raise FetchError("the key set has no list of keys")
    return tuple(key for key in map(_public_key, found) if key is not None)


def _pool(config: OidcConfig) -> urllib3.PoolManager:
    context = ssl.create_default_context(cafile=config.ca_file)
    return urllib3.PoolManager(ssl_context=context, retries=False, timeout=urllib3.Timeout(total=config.timeout_secs))


def _document(pool: urllib3.PoolManager, url: str, timeout_secs: float) -> Mapping[str, Any]:
    try:
        answer = pool.request("GET", url, preload_content=False, redirect=False, headers={"Accept": "application/json"})
        try:
            body = answer.read(MAX_DOCUMENT_BYTES + 1, decode_content=False)
        finally:
            answer.close()
    except (urllib3.exceptions.HTTPError, OSError) as error:
        raise FetchError(f"asking {url} within {timeout_secs:g} s: {error}") from error
    if answer.status != 200:
        raise FetchError(f"asking {url}: the status is {answer.status}")
    if len(body) > MAX_DOCUMENT_BYTES:
        raise FetchError(f"asking {url}: the document is over {MAX_DOCUMENT_BYTES} bytes")
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise FetchError(f"asking {url}: the answer is no JSON") from error
    if not isinstance(document, dict):
        raise FetchError(f"asking {url}: the answer is no JSON object")
    return document


def _public_key(data: object) -> jwt.PyJWK | None:
    """
    Return a key that can check a signature; None: it is of a kind that is not used here, a shared secret above all.
    """
    if not isinstance(data, dict) or data.get("kty") not in ("RSA", "EC", "OKP"):
        return None
    try:
        return jwt.PyJWK({name: value for name, value in data.items() if name != "d"})
    except (jwt.PyJWTError, ValueError, TypeError, KeyError):
        return None
