"""
Configuration of the exporter ``file``.
"""

from typing import Literal

from pydantic import ConfigDict, Field, PositiveFloat, PositiveInt, model_validator

from meterline.api import BatchOptions, ExporterConfig, PluginConfig, RelativePath


class FileBatchOptions(BatchOptions):
    """
    How many records are written and synced together; larger than elsewhere, since each batch costs one fsync.
    """

    max_records: PositiveInt = Field(default=20_000, description="At most so many records in a batch.")
    max_bytes: PositiveInt = Field(default=8_388_608, description="About so many bytes of encoded records in a batch.")


class Rotation(PluginConfig):
    """
    When a file is finished: renamed to ``<name>-<UTC time>-<generation><suffixes>``, and a new one begun at ``path``.
    """

    max_bytes: PositiveInt | None = Field(default=None, description="Finish a file once it is as large as this.")
    max_secs: PositiveFloat | None = Field(default=None, description="Finish a file so long after its first record.")

    @model_validator(mode="after")
    def _has_a_limit(self) -> "Rotation":
        if self.max_bytes is None and self.max_secs is None:
            raise ValueError("rotate needs max_bytes, max_secs, or both")
        return self


class FileConfig(ExporterConfig):
    """
    Appends usage records to a local file.
    """

    model_config = ConfigDict(json_schema_extra={"examples": [{"path": "./usage.ndjson"}]})

    path: RelativePath = Field(description="The file. Without `rotate`, this very file grows.")
    format: Literal["ndjson", "csv"] = Field(
        default="ndjson", description="One JSON object a line, or RFC 4180 CSV with a header line in each file."
    )
    compression: Literal["none", "gzip", "zstd"] = Field(
        default="none", description="Each batch becomes one whole gzip member or zstd frame."
    )
    rotate: Rotation | None = Field(
        default=None, description="When to finish a file and begin the next; absent: never."
    )
    batch: FileBatchOptions = Field(default_factory=FileBatchOptions)
