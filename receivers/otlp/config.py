"""
Configuration of the OTLP receiver: names, defaults and what must fit together.
"""

from typing import Self

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, model_validator

from meterline.api import PluginConfig, ReceiverConfig, RelativePath, Secret
from meterline.api.network import ListenAddress

_MIB = 1024 * 1024


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


class KeyConfig(PluginConfig):
    """
    One credential. Keys that share a name are one principal, so that a key can be replaced without a gap.
    """

    name: str = Field(min_length=1, description="The principal; it stands in every record.")
    token: Secret = Field(min_length=1, description="Sent as `authorization: Bearer <token>` or `x-api-key: <token>`.")
    customers: tuple[str, ...] | None = Field(
        default=None, description="Globs of the customers it may write for; absent: any customer."
    )

    @model_validator(mode="after")
    def _can_be_sent(self) -> Self:
        token = self.token.get_secret_value()
        if token != token.strip() or not (token.isascii() and token.isprintable()):
            raise ValueError(
                f"reading token of {self.name!r}: no header can carry it; use printable ASCII without spaces at its ends"
            )
        return self


class AuthConfig(PluginConfig):
    """
    Who may send.
    """

    keys: tuple[KeyConfig, ...] = Field(min_length=1, description="The credentials that are accepted.")

    @model_validator(mode="after")
    def _one_principal_one_right(self) -> Self:
        rights: dict[str, tuple[str, ...] | None] = {}
        for key in self.keys:
            if rights.setdefault(key.name, key.customers) != key.customers:
                raise ValueError(f"reading keys of {key.name!r}: keys that share a name must have the same customers")
        tokens = [key.token.get_secret_value() for key in self.keys]
        if len(set(tokens)) != len(tokens):
            raise ValueError("reading keys: two of them have the same token; give each its own")
        return self


class GrpcConfig(PluginConfig):
    """
    The gRPC listener.
    """

    endpoint: ListenAddress = Field(
        default="127.0.0.1:4317", description="Address to listen on; port 0 takes a free one."
    )
    max_request_bytes: PositiveInt = Field(
        default=64 * _MIB, le=2**31 - 1, description="Size limit of a request, before and after decompression."
    )
    max_in_flight_bytes: PositiveInt = Field(
        default=256 * _MIB,
        description="Bytes of requests being handled at once; over it senders are told to try again.",
    )
    max_connections: PositiveInt = Field(default=1024, description="Connections at once; further ones are closed.")
    max_concurrent_streams: PositiveInt = Field(default=128, description="Requests at once on a connection.")
    max_connection_age_secs: NonNegativeFloat = Field(
        default=0.0, description="Close connections about this old, so that senders spread out anew; 0: never."
    )
    keepalive: KeepaliveConfig = Field(default_factory=KeepaliveConfig)
    tls: TlsConfig | None = Field(default=None, description="Absent: plain text.")
    auth: AuthConfig | None = Field(default=None, description="Absent: everybody who can connect may send.")

    @model_validator(mode="after")
    def _largest_request_fits(self) -> Self:
        if self.max_in_flight_bytes < 2 * self.max_request_bytes:
            raise ValueError(
                f"reading max_in_flight_bytes {self.max_in_flight_bytes}: a request counts before and after "
                f"decompression; give at least twice max_request_bytes ({2 * self.max_request_bytes})"
            )
        return self


class OtlpReceiverConfig(ReceiverConfig):
    """
    OTLP in.
    """

    grpc: GrpcConfig = Field(description="The gRPC listener; `grpc: {}` takes all defaults.")
