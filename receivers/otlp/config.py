"""
Configuration of the OTLP receiver.
"""

from typing import Self

from pydantic import Field, model_validator

from meterline.api import ReceiverConfig
from meterline.serving.config import GrpcSection, HttpSection


class OtlpReceiverConfig(ReceiverConfig):
    """
    OTLP in, over gRPC, HTTP or both.
    """

    grpc: GrpcSection = Field(
        default=None, description="The gRPC listener; `grpc: {}` takes all defaults; absent: none."
    )
    http: HttpSection = Field(
        default=None, description="The HTTP listener; `http: {}` takes all defaults; absent: none."
    )

    @model_validator(mode="after")
    def _one_at_least(self) -> Self:
        if self.grpc is None and self.http is None:
            raise ValueError("reading the otlp receiver: it listens nowhere; write `grpc: {}`, `http: {}` or both")
        return self
