"""
Configuration of the exporter ``faulty``.
"""

from typing import Annotated

from pydantic import ConfigDict, Field, NonNegativeFloat

from meterline.api import ExporterConfig, RelativePath

Ratio = Annotated[float, Field(ge=0, le=1)]


class FaultyConfig(ExporterConfig):
    """
    Fails by a seed. Each ratio is a part of the sends, or of the records where it says so.
    """

    model_config = ConfigDict(json_schema_extra={"examples": [{"seed": 7, "reject_ratio": 0.01}]})

    path: RelativePath | None = Field(default=None, description="An NDJSON file that keeps every record it took.")
    seed: int = Field(default=0, description="The same seed fails the same way for the same batches.")
    retry_ratio: Ratio = Field(default=0.1, description="Records that are not taken now and may be later.")
    reject_ratio: Ratio = Field(default=0.0, description="Records that are refused for good.")
    unknown_ratio: Ratio = Field(default=0.05, description="Sends without an answer; half of them took the records.")
    raise_ratio: Ratio = Field(default=0.05, description="Sends that end in an error; half of them took the records.")
    disconnect_ratio: Ratio = Field(default=0.05, description="Sends that find no connection.")
    slow_ratio: Ratio = Field(default=0.05, description="Sends that take `slow_secs` longer.")
    slow_secs: NonNegativeFloat = Field(default=0.05, description="How much longer a slow send takes.")
