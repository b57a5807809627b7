"""
Configuration of the exporter ``http``.
"""

import re
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import AfterValidator, ConfigDict, Field, PositiveFloat
from urllib3.exceptions import LocationParseError
from urllib3.util import parse_url

from meterline.api import ExporterConfig, Secret
from meterline.api.network import ClientTls

OURS = frozenset({"content-length", "content-type", "host", "idempotency-key", "transfer-encoding", "connection"})
_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")


def _checked_endpoint(text: str) -> str:
    try:
        url = parse_url(text)
    except LocationParseError as error:
        raise ValueError(f"{text!r} is not a URL") from error
    if url.scheme not in {"http", "https"} or not url.host:
        raise ValueError(f"{text!r} is not an http:// or https:// URL")
    if url.auth:
        raise ValueError("credentials in a URL end up in logs; give an Authorization header instead")
    return text


def _checked_headers(headers: Mapping[str, Secret]) -> Mapping[str, Secret]:
    for name, value in headers.items():
        if not _NAME.fullmatch(name) or name.lower() in OURS:
            raise ValueError(f"{name!r} is not a header that can be set here")
        if not value.get_secret_value().isprintable() or not value.get_secret_value().isascii():
            raise ValueError(f"the value of header {name!r} has characters that are not printable ASCII")
    return headers


class HttpConfig(ExporterConfig):
    """
    POSTs usage records as JSON.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"endpoint": "https://billing.example/usage", "headers": {"Authorization": "${env:BILLING_TOKEN:-}"}}
            ]
        }
    )

    endpoint: Annotated[str, AfterValidator(_checked_endpoint)] = Field(
        description="The URL. Redirects are not followed."
    )
    mode: Literal["batch", "record"] = Field(
        default="batch", description="One request for a batch, or one for each record, with results of its own."
    )
    format: Literal["json", "ndjson"] = Field(
        default="json",
        description="A batch as a JSON array, or as one JSON object a line. A single record is an object.",
    )
    headers: Annotated[Mapping[str, Secret], AfterValidator(_checked_headers)] = Field(
        default_factory=dict, description="Headers of every request, such as `Authorization`; never printed."
    )
    timeout_secs: PositiveFloat = Field(
        default=30.0, description="How long to wait for a connection, and for an answer."
    )
    tls: ClientTls = Field(default_factory=ClientTls, description="Of an `https` endpoint.")
