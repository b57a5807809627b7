"""
Configuration of the Fluentd exporter.
"""

from typing import Self

from pydantic import ConfigDict, Field, PositiveFloat, model_validator

from meterline.api import ExporterConfig, Secret
from meterline.api.network import ClientTls, DialAddress


class FluentdConfig(ExporterConfig):
    """
    Records to Fluentd, Fluent Bit, or whatever speaks its forward protocol and acknowledges.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "endpoint": "fluentd.example:24224",
                    "tag": "billing.usage",
                    "tls": {},
                    "shared_key": "${env:FLUENTD_SHARED_KEY:-change-me}",
                }
            ]
        }
    )

    endpoint: DialAddress = Field(
        default="127.0.0.1:24224", description="Where the server listens: host:port or unix:/path."
    )
    tag: str = Field(default="meterline.usage", min_length=1, description="The tag that the server routes by.")
    timeout_secs: PositiveFloat = Field(default=10.0, description="For connecting, the handshake, and each write.")
    ack_timeout_secs: PositiveFloat = Field(
        default=60.0, description="How long to wait for an acknowledgement; after it the outcome is unknown."
    )
    tls: ClientTls | None = Field(default=None, description="Absent: plain text.")
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
