"""
Configuration of the forward protocol's receiver.
"""

from collections import Counter
from typing import ClassVar, Literal, Self

from pydantic import ConfigDict, Field, PositiveFloat, PositiveInt, model_validator

from meterline.api import PluginConfig, ReceiverConfig
from meterline.api.network import ListenAddress
from meterline.serving.auth_config import KeyConfig, SubjectConfig
from meterline.serving.config import ListenerConfig

MAX_EVENT_BYTES = 262_144


class ForwardAuthConfig(PluginConfig):
    """
    Who may send. The protocol's handshake proves who knows a secret without sending it, so both sides must have it as it is.
    """

    subjects: ClassVar[tuple[SubjectConfig, ...]] = ()
    """As in ``AuthConfig``: none, since with a handshake a certificate says nothing of who sends."""

    shared_key: KeyConfig = Field(
        description="What all senders know: its `token` is their shared_key. Without users, its name is the principal."
    )
    users: tuple[KeyConfig, ...] = Field(
        default=(),
        description="Users, each a principal: `name` and `token` are their username and password; absent: none is asked for.",
    )

    @model_validator(mode="after")
    def _secrets_are_known(self) -> Self:
        for key in (self.shared_key, *self.users):
            if key.token is None:
                raise ValueError(
                    f"reading auth: of {key.name!r} only token_sha256 is known; the forward protocol needs the token itself"
                )
        twice = [name for name, count in Counter(user.name for user in self.users).items() if count > 1]
        if twice:
            raise ValueError(f"reading users: {twice[0]!r} stands there twice; a username has one password")
        return self


class FluentForwardConfig(ReceiverConfig, ListenerConfig):
    """
    The forward protocol in, from Fluent Bit, Fluentd and their loggers.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "endpoint": "0.0.0.0:24224",
                    "tls": {"cert_file": "server.pem", "key_file": "server.key"},
                    "auth": {
                        "shared_key": {"name": "fleet", "token": "${env:FLUENT_SHARED_KEY:-change-me}"},
                        "users": [
                            {
                                "name": "acme-eu",
                                "token": "${env:ACME_EU:-change-me-too}",
                                "customers": ["acme", "acme-*"],
                            }
                        ],
                    },
                }
            ]
        }
    )

    takes_top_level_auth: ClassVar[bool] = False
    """A handshake proves a secret without sending it, and the top-level section may know hashes only."""

    endpoint: ListenAddress = Field(
        default="127.0.0.1:24224", description="Address to listen on; port 0 takes a free one; or unix:/path."
    )
    auth: ForwardAuthConfig | None = Field(  # type: ignore[assignment]  # no header can carry the keys of other listeners
        default=None,
        description="Who may send; absent: whoever can connect, or has a client certificate. The top-level `auth` has no "
        "keys that this protocol could carry, so with one either this or `insecure: true` is needed.",
    )
    max_event_bytes: PositiveInt = Field(
        default=MAX_EVENT_BYTES,
        le=16 * 1024 * 1024,
        description="Size limit of one event; a larger one is quarantined.",
    )
    id_field: str = Field(
        default="",
        description="Path of the event's unique id, such as `event_id`; it becomes the attribute log.record.uid. Absent: "
        "`log.record.uid` or `event.id`, where an event has one.",
    )
    missing_timestamp: Literal["quarantine", "received"] = Field(
        default="quarantine",
        description="What becomes of an event without a time: quarantine, or it gets the time at which it was received, "
        "which a repeat does not share: use it with rules whose identity is a selector.",
    )
    handshake_timeout_secs: PositiveFloat = Field(
        default=10.0, description="TLS and the handshake must be done by then."
    )
    message_timeout_secs: PositiveFloat = Field(
        default=30.0, description="A message that has begun must be there by then."
    )
    silence_timeout_secs: PositiveFloat = Field(default=3600.0, description="Close a connection without messages.")
