"""
From a request's headers and its connection's certificate to a principal, and to the tenant that it may name.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from meterline.api import (
    ANONYMOUS,
    Clock,
    ForbiddenError,
    Principal,
    Sample,
    UnauthenticatedError,
    any_glob,
    is_glob,
)
from meterline.printable import printable
from meterline.serving.auth.headers import Credential, credentials
from meterline.serving.auth.identity import PeerIdentity
from meterline.serving.auth.keys import KeyRing
from meterline.serving.auth.oidc import TokenVerifier
from meterline.serving.auth_config import AuthConfig

TENANT_HEADER = "x-scope-orgid"

_NONE = (
    "authenticating request: it has no credential; send `authorization: Bearer <token>` or `x-api-key: <token>`, "
    "or HTTP Basic with the key's name and token"
)
_WRONG = "authenticating request: its credential is not known here; look at the key and where it is sent"
_NO_NAME = "authenticating request: the client certificate has neither a common name nor an alternative name"
_NO_CERTIFICATE = "authenticating request: it has no credential, and its connection no client certificate"
_NO_SUBJECT = "authenticating request: no entry of auth.subjects matches the client certificate"


class Authenticator:
    """
    The credentials of one listener. Any thread; never waits.

    What the headers hold goes before the certificate: one right credential among them is enough, and if they hold only
    wrong ones the request is refused, whatever the certificate says. Without any, a certificate is looked up in
    ``auth.subjects``; without ``auth`` its subject is the principal.
    """

    def __init__(self, config: AuthConfig | None, *, by_certificate: bool, clock: Clock, log: Any) -> None:
        """
        ``by_certificate``: connections have a verified client certificate.
        """
        self._clock = clock
        self._by_certificate = by_certificate
        self.open = config is None and not by_certificate
        """Whether everybody who can connect is ``anonymous``."""
        self._ring = KeyRing(config.keys) if config is not None else None
        oidc = config.oidc if config is not None else None
        self._verifier = TokenVerifier(oidc, _names(config), clock, log) if oidc is not None else None
        subjects = config.subjects if config is not None else ()
        self._subjects = [(any_glob((entry.subject,)), entry.as_principal(entry.name)) for entry in subjects]

    def prepare(self) -> None:
        """
        Begin to fetch what tokens are verified with, in the background; without this it begins with the first token.
        """
        if self._verifier is not None:
            self._verifier.prepare()

    def authenticate(
        self, headers: Mapping[str, str] | Iterable[tuple[str, str | bytes]], subject: PeerIdentity | None
    ) -> Principal:
        """
        Return who sends. ``headers``: names in lower case.

        :raises UnauthenticatedError: no credential, or one proven wrong or expired.
        :raises RetryableError: whether it is right cannot be found out now.
        """
        if self.open:
            return ANONYMOUS
        if self._ring is None:
            return self._named(subject)
        pairs: Any = headers.items() if isinstance(headers, Mapping) else headers
        shown = list(credentials(pairs))
        return self._of_headers(shown) if shown else self._of_subject(subject)

    def _of_headers(self, shown: Iterable[Credential]) -> Principal:
        refusal = UnauthenticatedError(_WRONG)
        for credential in shown:
            try:
                principal = self._find(credential)
            except UnauthenticatedError as error:
                refusal = error
                continue
            if principal is not None:
                return principal
        raise refusal

    def _find(self, credential: Credential) -> Principal | None:
        principal = self._ring.find(credential, self._clock.now_ns()) if self._ring is not None else None
        if principal is None and self._verifier is not None and credential.name is None:
            return self._verifier.find(credential.token)
        return principal

    def _of_subject(self, subject: PeerIdentity | None) -> Principal:
        if not self._subjects:
            raise UnauthenticatedError(_NONE)
        if subject is None:
            raise UnauthenticatedError(_NO_CERTIFICATE)
        for matches, principal in self._subjects:
            if any(map(matches, subject.names)):
                return principal
        raise UnauthenticatedError(_NO_SUBJECT)

    def _named(self, subject: PeerIdentity | None) -> Principal:
        if subject is None:
            raise UnauthenticatedError(_NO_CERTIFICATE)
        if not subject.name:
            raise UnauthenticatedError(_NO_NAME)
        return Principal(subject.name)

    def samples(self, labels: Mapping[str, str]) -> Iterable[Sample]:
        """
        Return numbers for telemetry; ``labels`` name receiver and transport.
        """
        return self._ring.samples(labels) if self._ring is not None else ()

    def tenant(self, principal: Principal, header_value: str | None) -> str:
        """
        Return the tenant that a request is for: what its header says, or the one that the principal has, or "".

        :raises ForbiddenError: it is none of the principal's tenants.
        """
        named = (header_value or "").strip()
        allowed = principal.tenants
        if allowed is None:
            return named
        if not named:
            return allowed[0] if len(allowed) == 1 and not is_glob(allowed[0]) else ""
        if not any_glob(allowed)(named):
            raise ForbiddenError(
                f"authorizing request: {principal.name!r} may not name the tenant '{printable(named[:100])}' "
                f"in {TENANT_HEADER}"
            )
        return named


def _names(config: AuthConfig | None) -> frozenset[str]:
    if config is None:
        return frozenset()
    return frozenset({*(key.name for key in config.keys), *(subject.name for subject in config.subjects)})
