"""
Configuration of the Fluentd exporter.
"""

import re
from typing import Annotated, Self

from pydantic import AfterValidator, Field, PositiveFloat, model_validator

from meterline.api import ExporterConfig, PluginConfig, RelativePath, Secret

_HOST_PORT = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^:\s\[\]/]+):(\d{1,5})")


def _checked_endpoint(endpoint: str) -> str:
    """
    Return the endpoint when it is ``host:port``, ``[ipv6]:port`` or ``unix:/path``.
    """
    match = _HOST_PORT.fullmatch(endpoint)
    if not re.fullmatch(r"unix:/.+", endpoint) and (match is None or not 0 < int(match[2]) <= 65_535):
        raise ValueError(f"reading endpoint {endpoint!r}: write host:port, [ipv6]:port or unix:/path")
    return endpoint


class TlsConfig(PluginConfig):
    """
    TLS towards the server, whose certificate is always verified.
    """

    ca_file: RelativePath | None = Field(default=None, description="CA certificates, PEM; absent: those of the system.")
    cert_file: RelativePath | None = Field(
        default=None, description="Own certificate chain, PEM, if the server wants one."
    )
    key_file: RelativePath | None = Field(default=None, description="Private key of cert_file, PEM.")
    server_name: str | None = Field(
        default=None, description="Name in the server's certificate; absent: the endpoint's host."
    )

    @model_validator(mode="after")
    def _pair(self) -> Self:
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("reading tls: cert_file and key_file belong together; give both or none")
        return self


class FluentdConfig(ExporterConfig):
    """
    Records to Fluentd, Fluent Bit, or whatever speaks its forward protocol and acknowledges.
    """

    endpoint: Annotated[str, AfterValidator(_checked_endpoint)] = Field(
        default="127.0.0.1:24224", description="Where the server listens: host:port or unix:/path."
    )
    tag: str = Field(default="meterline.usage", min_length=1, description="The tag that the server routes by.")
    timeout_secs: PositiveFloat = Field(default=10.0, description="For connecting, the handshake, and each write.")
    ack_timeout_secs: PositiveFloat = Field(
        default=60.0, description="How long to wait for an acknowledgement; after it the outcome is unknown."
    )
    tls: TlsConfig | None = Field(default=None, description="Absent: plain text.")
    shared_key: Secret | None = Field(default=None, description="The server's shared_key; its proof is verified, too.")
    username: str | None = Field(default=None, min_length=1, description="User, if the server has user_auth.")
    password: Secret | None = Field(default=None, description="Password of the user.")

    @model_validator(mode="after")
    def _credentials_fit(self) -> Self:
        if (self.username is None) != (self.password is None):
            raise ValueError("reading credentials: username and password belong together; give both or none")
        if self.username is not None and self.shared_key is None:
            raise ValueError("reading credentials: a server that knows users has a shared_key, too; give it")
        return self
