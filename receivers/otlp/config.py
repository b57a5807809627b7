"""
Configuration of the OTLP receiver.
"""

from typing import Annotated, Self

from pydantic import AfterValidator, ConfigDict, Field, model_validator

from meterline.api import ReceiverConfig
from meterline.serving.config import GrpcSection, HttpListenerConfig

_PATH = Annotated[str, Field(pattern=r"^/[!$&'()*+,./0-9:;=@A-Z_a-z~-]*$")]


class OtlpHttpConfig(HttpListenerConfig):
    """
    The HTTP listener, and where the endpoints are on it.
    """

    metrics_path: _PATH = Field(
        default="/v1/metrics",
        description="Path of metrics; `/otlp/v1/metrics` and `/api/v1/otlp/v1/metrics` are served beside it.",
    )
    logs_path: _PATH = Field(default="/v1/logs", description="Path of logs; `/otlp/v1/logs` is served beside it.")

    @model_validator(mode="after")
    def _paths_differ(self) -> Self:
        if self.metrics_path == self.logs_path:
            raise ValueError(f"reading metrics_path and logs_path: both are {self.logs_path!r}; give each its own")
        return self


def _http(section: OtlpHttpConfig | None) -> OtlpHttpConfig:
    return OtlpHttpConfig() if section is None else section


HttpSection = Annotated[OtlpHttpConfig | None, AfterValidator(_http)]


class OtlpReceiverConfig(ReceiverConfig):
    """
    OTLP in, over gRPC, HTTP or both.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"grpc": {"endpoint": "127.0.0.1:4317"}, "http": {"endpoint": "127.0.0.1:4318"}}],
        }
    )

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
