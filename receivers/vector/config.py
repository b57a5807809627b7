"""
Configuration of the receiver of Vector's native protocol.
"""

from typing import Literal

from pydantic import ConfigDict, Field, PositiveInt

from meterline.api import ReceiverConfig
from meterline.api.network import ListenAddress
from meterline.serving.config import GrpcListenerConfig


class VectorConfig(ReceiverConfig, GrpcListenerConfig):
    """
    Vector's native protocol in.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "endpoint": "0.0.0.0:6000",
                    "tls": {"cert_file": "server.pem", "key_file": "server.key", "client_ca_file": "clients.pem"},
                }
            ]
        }
    )

    endpoint: ListenAddress = Field(
        default="127.0.0.1:6000", description="Address to listen on; port 0 takes a free one."
    )
    max_event_bytes: PositiveInt = Field(
        default=262_144, le=16 * 1024 * 1024, description="Size limit of one event; a larger one is quarantined."
    )
    missing_timestamp: Literal["quarantine", "received"] = Field(
        default="quarantine",
        description="What becomes of a log event without a time: quarantine, or it gets the time at which it was received, "
        "which a repeat does not share: use it with rules whose identity is a selector.",
    )
