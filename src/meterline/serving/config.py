"""
Configuration of listeners: names, defaults and what must fit together.
"""

from typing import Annotated, ClassVar, Literal, Self

from pydantic import AfterValidator, Field, NonNegativeFloat, PositiveFloat, PositiveInt, model_validator

from meterline.api import PluginConfig, RelativePath
from meterline.api.network import ListenAddress
from meterline.serving.auth_config import AuthConfig

MIB = 1024 * 1024

Compression = Literal["gzip", "zstd", "zlib", "deflate", "snappy", "x-snappy-framed", "lz4"]


class KeepaliveConfig(PluginConfig):
    """
    Pings that find dead connections.
    """

    time_secs: PositiveFloat = Field(default=60.0, description="After so long without traffic, ping the sender.")
    timeout_secs: PositiveFloat = Field(
        default=20.0, description="Close the connection when a ping has no answer for so long."
    )


class TlsConfig(PluginConfig):
    """
    TLS of the listener. The files are read again when they change; a broken new one leaves the old one in use.
    """

    cert_file: RelativePath = Field(description="Certificate chain, PEM.")
    key_file: RelativePath = Field(description="Private key, PEM.")
    client_ca_file: RelativePath | None = Field(
        default=None,
        description="CA certificates, PEM: a sender must have a certificate of one of them, and its subject is the principal.",
    )


class ListenerConfig(PluginConfig):
    """
    What every listener has.
    """

    takes_top_level_auth: ClassVar[bool] = True
    """Whether the protocol can carry the credentials of the top-level ``auth``."""

    endpoint: ListenAddress
    insecure: bool = Field(
        default=False,
        description="Allow an address that other machines reach without `auth` and without client certificates.",
    )
    max_request_bytes: PositiveInt = Field(
        default=64 * MIB, le=2**31 - 1, description="Size limit of a request, before and after decompression."
    )
    max_in_flight_bytes: PositiveInt = Field(
        default=256 * MIB,
        description="Bytes of requests being handled at once; over it senders are told to try again.",
    )
    max_connections: PositiveInt = Field(default=1024, description="Connections at once; further ones are closed.")
    tls: TlsConfig | None = Field(default=None, description="Absent: plain text.")
    auth: AuthConfig | None = Field(
        default=None, description="Who may send; absent: the top-level `auth`, or else everybody who can connect."
    )

    @model_validator(mode="after")
    def _certificates_are_asked_for(self) -> Self:
        by_certificate = self.tls is not None and self.tls.client_ca_file is not None
        if self.auth is not None and self.auth.subjects and not by_certificate:
            raise ValueError(
                "reading auth.subjects: no sender is asked for a certificate; write tls.client_ca_file, or leave subjects out"
            )
        return self

    @model_validator(mode="after")
    def _largest_request_fits(self) -> Self:
        if self.max_in_flight_bytes < 2 * self.max_request_bytes:
            raise ValueError(
                f"reading max_in_flight_bytes {self.max_in_flight_bytes}: a request counts before and after "
                f"decompression; give at least twice max_request_bytes ({2 * self.max_request_bytes})"
            )
        return self


class GrpcListenerConfig(ListenerConfig):
    """
    A gRPC listener.
    """

    endpoint: ListenAddress = Field(
        default="127.0.0.1:4317", description="Address to listen on; port 0 takes a free one."
    )
    max_concurrent_streams: PositiveInt = Field(default=128, description="Requests at once on a connection.")
    max_connection_age_secs: NonNegativeFloat = Field(
        default=0.0, description="Close connections about this old, so that senders spread out anew; 0: never."
    )
    keepalive: KeepaliveConfig = Field(default_factory=KeepaliveConfig)


class CorsConfig(PluginConfig):
    """
    Which web pages may send from a browser.
    """

    allowed_origins: tuple[str, ...] = Field(
        min_length=1, description="Origins such as `https://app.example.com`; `*` in one is a glob, `*` alone any."
    )
    allowed_headers: tuple[str, ...] = Field(
        default=(), description="Request headers beyond the safelisted ones, Content-Type, Authorization and X-Api-Key."
    )
    max_age_secs: NonNegativeFloat = Field(default=0.0, description="How long a browser may remember the answer.")


class HttpListenerConfig(ListenerConfig):
    """
    An HTTP/1.1 listener. Receivers that name the same endpoint share it, and must agree on all but `auth`.
    """

    endpoint: ListenAddress = Field(
        default="127.0.0.1:4318", description="Address to listen on; port 0 takes a free one."
    )
    compression_algorithms: tuple[Compression, ...] = Field(
        default=("gzip", "zstd", "zlib", "deflate", "snappy", "x-snappy-framed", "lz4"),
        description="Values of Content-Encoding that are accepted.",
    )
    max_header_bytes: PositiveInt = Field(default=32_768, description="Size limit of a request's line and headers.")
    header_timeout_secs: PositiveFloat = Field(default=10.0, description="A request's headers must be there by then.")
    body_timeout_secs: PositiveFloat = Field(default=30.0, description="A request's body must be there by then.")
    idle_timeout_secs: PositiveFloat = Field(default=60.0, description="Close a connection without requests.")
    cors: CorsConfig | None = Field(default=None, description="Absent: no browser may send.")


def _grpc(section: GrpcListenerConfig | None) -> GrpcListenerConfig:
    return GrpcListenerConfig() if section is None else section


def _http(section: HttpListenerConfig | None) -> HttpListenerConfig:
    return HttpListenerConfig() if section is None else section


GrpcSection = Annotated[GrpcListenerConfig | None, AfterValidator(_grpc)]
"""``grpc:`` of a receiver that also has ``http:``; None when absent. Written with nothing in it, it is ``grpc: {}``."""

HttpSection = Annotated[HttpListenerConfig | None, AfterValidator(_http)]
"""``http:`` likewise."""
