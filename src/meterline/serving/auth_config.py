"""
Configuration of credentials: who may send, for whom, and how much.
"""

import hashlib
import re
from collections.abc import Iterable
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, PositiveFloat, PositiveInt, model_validator

from meterline.api import Limits, PluginConfig, Principal, RelativePath, Secret
from meterline.encodings.times import nanoseconds

_THIS_MACHINE = ("127.0.0.1", "localhost", "::1")
_HEX = "^[0-9A-Fa-f]{64}$"
_OF_NOTHING = hashlib.sha256(b"").digest()

Algorithm = Literal["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]
"""Signatures that a public key checks. ``none`` and HMAC can never be among them."""


class LimitsConfig(PluginConfig):
    """
    What one principal may send. Over a rate, senders are told to come again; over another limit, the point is quarantined.
    """

    max_requests_per_sec: PositiveFloat | None = Field(default=None, description="Requests a second; absent: any.")
    max_bytes_per_sec: PositiveFloat | None = Field(
        default=None, description="Bytes of decompressed requests a second; absent: any."
    )
    max_points_per_sec: PositiveFloat | None = Field(
        default=None, description="Points and log records a second; absent: any."
    )
    max_streams: PositiveInt | None = Field(
        default=None, description="New streams that it may open in a day, UTC; absent: any number."
    )
    max_attributes: PositiveInt = Field(default=128, description="Attributes of a point.")
    max_key_bytes: PositiveInt = Field(default=256, description="Bytes of an attribute's key.")
    max_value_bytes: PositiveInt = Field(default=4096, description="Bytes of an attribute's value.")
    max_depth: PositiveInt = Field(default=64, le=64, description="Nesting of an attribute's value.")

    def to_limits(self) -> Limits:
        """
        Return what a principal carries.
        """
        return Limits(**dict(self))


class RightsConfig(PluginConfig):
    """
    What somebody may do.
    """

    customers: tuple[str, ...] | None = Field(
        default=None, description="Globs of the customers it may write for; absent: any customer."
    )
    tenants: tuple[str, ...] | None = Field(
        default=None, description="Globs of the tenants it may name in X-Scope-OrgID; absent: any tenant."
    )
    limits: LimitsConfig = Field(default_factory=LimitsConfig)

    def rights(self) -> tuple[tuple[str, ...] | None, tuple[str, ...] | None, LimitsConfig]:
        """
        Return what entries of one name must agree in.
        """
        return self.customers, self.tenants, self.limits

    def as_principal(self, name: str) -> Principal:
        """
        Return somebody with these rights.
        """
        return Principal(name, self.customers, self.tenants, self.limits.to_limits())


def _expiry(text: str) -> str:
    if not nanoseconds(text, "rfc3339"):
        raise ValueError(f"reading expires_at '{text}': it is no time; write it as 2027-01-31T00:00:00Z")
    return text


def _sha256(text: Secret) -> Secret:
    """
    Take a hash. It is a secret as long as it may be the token itself, in the wrong place.
    """
    if not re.fullmatch(_HEX, text.get_secret_value()):
        raise ValueError("reading token_sha256: it is no SHA-256 in hex; write what `meterline key new` prints")
    return text


class KeyConfig(RightsConfig):
    """
    One credential. Keys that share a name are one principal, so that a key can be replaced without a gap.
    """

    name: str = Field(min_length=1, description="The principal; it stands in every record.")
    token: Secret | None = Field(
        default=None,
        min_length=1,
        description="Sent as `authorization: Bearer <token>`, as `x-api-key: <token>`, or as the password of HTTP Basic.",
    )
    token_sha256: Annotated[Secret, AfterValidator(_sha256), Field(json_schema_extra={"pattern": _HEX})] | None = Field(
        default=None, description="In place of token: its SHA-256 in hex, as `meterline key new` prints it."
    )
    expires_at: Annotated[str, AfterValidator(_expiry)] | None = Field(
        default=None, description="From this RFC 3339 time on the key is refused; absent: never."
    )

    @model_validator(mode="after")
    def _can_be_sent(self) -> Self:
        if (self.token is None) == (self.token_sha256 is None):
            raise ValueError(
                f"reading key of {self.name!r}: it has both or neither; write either token or token_sha256"
            )
        if self.digest == _OF_NOTHING:
            raise ValueError(
                f"reading key of {self.name!r}: token_sha256 is the hash of an empty token; hash a real one"
            )
        token = self.token.get_secret_value() if self.token is not None else ""
        if token != token.strip() or not (token.isascii() and token.isprintable()):
            raise ValueError(
                f"reading token of {self.name!r}: no header can carry it; use printable ASCII without spaces at its ends"
            )
        return self

    @property
    def digest(self) -> bytes:
        """
        Return the SHA-256 of the token.
        """
        if self.token is not None:
            return hashlib.sha256(self.token.get_secret_value().encode()).digest()
        return bytes.fromhex(self.token_sha256.get_secret_value() if self.token_sha256 is not None else "")

    @property
    def expires_ns(self) -> int | None:
        """
        Return from when on the key is refused, in ns since the Unix epoch; None: never.
        """
        return None if self.expires_at is None else nanoseconds(self.expires_at, "rfc3339")


class SubjectConfig(RightsConfig):
    """
    Client certificates that are somebody: any of their names matches.
    """

    subject: str = Field(
        min_length=1, description="Glob over the certificate's common name and each of its alternative names."
    )
    name: str = Field(min_length=1, description="The principal; it stands in every record.")


class OidcConfig(RightsConfig):
    """
    Bearer tokens (JWT) of an OpenID Connect provider. They need `iss`, `aud`, `exp`, `iat` and the principal's claim.
    """

    issuer: str = Field(description="URL of the provider, as in the tokens' `iss`.")
    audience: str | tuple[str, ...] = Field(min_length=1, description="One of these must be in the tokens' `aud`.")
    jwks_url: str | None = Field(
        default=None, description="Where its public keys are; absent: as its `/.well-known/openid-configuration` says."
    )
    ca_file: RelativePath | None = Field(
        default=None, description="CA certificates of the provider's server, PEM; absent: the system's."
    )
    algorithms: tuple[Algorithm, ...] = Field(
        default=("RS256", "PS256", "ES256", "EdDSA"), min_length=1, description="Signatures that are accepted."
    )
    principal_claim: str = Field(default="sub", min_length=1, description="The claim that is the principal.")
    customers_claim: str | None = Field(
        default=None,
        min_length=1,
        description="In place of customers: the claim that has them, a text or a list; taken literally, no globs.",
    )
    tenants_claim: str | None = Field(
        default=None, min_length=1, description="In place of tenants: the claim that has them, likewise."
    )
    jwks_ttl_secs: PositiveFloat = Field(default=300.0, description="Keys older than this are fetched again.")
    jwks_max_age_secs: PositiveFloat = Field(
        default=86_400.0, description="Keys older than this are not used, if they cannot be fetched."
    )
    timeout_secs: PositiveFloat = Field(default=10.0, description="How long a fetch of keys may take.")

    @model_validator(mode="after")
    def _one_source_each(self) -> Self:
        for right in ("customers", "tenants"):
            if getattr(self, right) is not None and getattr(self, f"{right}_claim") is not None:
                raise ValueError(f"reading oidc: {right} and {right}_claim are both given; write one of them")
        for url in (self.issuer, self.jwks_url):
            if url is not None and not cannot_be_forged(url):
                raise ValueError(f"reading oidc: '{url}' can be forged on its way; write an https:// URL")
        return self

    @property
    def audiences(self) -> tuple[str, ...]:
        """
        Return the accepted audiences.
        """
        return (self.audience,) if isinstance(self.audience, str) else self.audience


def cannot_be_forged(url: str) -> bool:
    """
    Say whether what a URL answers can be trusted: HTTPS, or this machine.
    """
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _THIS_MACHINE)


class AuthConfig(PluginConfig):
    """
    Who may send. Any one right credential is enough.
    """

    keys: tuple[KeyConfig, ...] = Field(default=(), min_length=1, description="Keys that are accepted.")
    oidc: OidcConfig | None = Field(default=None, description="Absent: no tokens of a provider.")
    subjects: tuple[SubjectConfig, ...] = Field(
        default=(),
        min_length=1,
        description="Client certificates that are accepted, first match first; needs tls.client_ca_file.",
    )

    @model_validator(mode="after")
    def _one_principal_one_right(self) -> Self:
        if not (self.keys or self.oidc or self.subjects):
            raise ValueError("reading auth: nobody may send; write keys, oidc or subjects, or leave auth out")
        _agree("keys", self.keys)
        _agree("keys and subjects", (*self.keys, *self.subjects))
        digests = [key.digest for key in self.keys]
        if len(set(digests)) != len(digests):
            raise ValueError("reading keys: two of them have the same token; give each its own")
        return self


def _agree(kind: str, entries: Iterable[KeyConfig | SubjectConfig]) -> None:
    found: dict[str, object] = {}
    for entry in entries:
        if found.setdefault(entry.name, entry.rights()) != entry.rights():
            raise ValueError(
                f"reading {kind} of {entry.name!r}: {kind} that share a name must have the same customers, tenants and limits"
            )
