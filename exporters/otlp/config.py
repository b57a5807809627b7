"""
Configuration of the OTLP exporter.
"""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, ConfigDict, Field, PositiveFloat

from meterline.api import ExporterConfig, Secret
from meterline.api.network import ClientTls, DialAddress

_HEADER = re.compile(r"(?!grpc-)[0-9a-z_.-]+(?<!-bin)")
_VALUE = re.compile(r"[\x20-\x7e]*")


def _checked_headers(headers: dict[str, Secret]) -> dict[str, Secret]:
    """
    Return the headers with names in lower case, as HTTP/2 has them.
    """
    lowered = {name.lower(): value for name, value in headers.items()}
    for name, value in lowered.items():
        if not _HEADER.fullmatch(name):
            raise ValueError(f"reading header {name!r}: not a header's name, or one of gRPC's own")
        if not _VALUE.fullmatch(value.get_secret_value()):
            raise ValueError(f"reading header {name!r}: its value is not printable ASCII")
    return lowered


class OtlpExporterConfig(ExporterConfig):
    """
    Records to an OpenTelemetry Collector, or whatever takes OTLP over gRPC.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "endpoint": "collector.example:4317",
                    "tls": {},
                    "headers": {"authorization": "${env:COLLECTOR_AUTHORIZATION:-}"},
                }
            ]
        }
    )

    endpoint: DialAddress = Field(description="Where the server listens: host:port or unix:/path.")
    signal: Literal["logs", "metrics"] = Field(
        default="logs",
        description="logs carry each value as exact decimal text; metrics are delta sums of integers and exact doubles.",
    )
    tls: ClientTls | None = Field(
        default=None, description="Absent: plain text; `{}`: verified by the system's authorities."
    )
    headers: Annotated[dict[str, Secret], AfterValidator(_checked_headers)] = Field(
        default_factory=dict, description="Sent with each request, such as authorization or x-api-key."
    )
    compression: Literal["gzip", "none"] = Field(default="gzip", description="Of requests.")
    timeout_secs: PositiveFloat = Field(
        default=10.0, description="For connecting, and for an answer; after it the outcome is unknown."
    )
