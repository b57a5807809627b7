"""
Configuration of the usage receiver.
"""

from typing import Literal, Self

from pydantic import ConfigDict, Field, model_validator

from meterline.api import ReceiverConfig
from meterline.serving.config import GrpcSection, HttpSection

MissingTimestamp = Literal["quarantine", "received"]


class UsageReceiverConfig(ReceiverConfig):
    """
    Usage records in, over HTTP, gRPC or both.
    """

    model_config = ConfigDict(json_schema_extra={"examples": [{"http": {"endpoint": "127.0.0.1:4318"}, "grpc": {}}]})

    http: HttpSection = Field(
        default=None, description="The HTTP listener; `http: {}` takes all defaults; absent: none."
    )
    grpc: GrpcSection = Field(
        default=None, description="The gRPC listener; `grpc: {}` takes all defaults; absent: none."
    )
    missing_timestamp: MissingTimestamp = Field(
        default="quarantine",
        description="What becomes of an item without a timestamp: `received` gives one that has an idempotency key the "
        "time of its first reception.",
    )

    @model_validator(mode="after")
    def _one_at_least(self) -> Self:
        if self.grpc is None and self.http is None:
            raise ValueError("reading the usage receiver: it listens nowhere; write `http: {}`, `grpc: {}` or both")
        return self
