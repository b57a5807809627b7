"""
Configuration of the files receiver.
"""

from typing import Literal

from pydantic import ConfigDict, Field, PositiveFloat, PositiveInt

from meterline.api import ReceiverConfig, RelativePath

MIB = 1024 * 1024

Format = Literal[
    "auto", "otlp_json", "vector", "logstash", "fluent_bit", "cloudevents", "amplitude", "mixpanel", "loki", "usage"
]


class FilesReceiverConfig(ReceiverConfig):
    """
    Files in.
    """

    model_config = ConfigDict(json_schema_extra={"examples": [{"include": ["/var/lib/otelcol/usage*.json*"]}]})

    include: tuple[RelativePath, ...] = Field(
        min_length=1, description="Globs of the files to read; `**` matches folders of any depth."
    )
    exclude: tuple[RelativePath, ...] = Field(default=(), description="Globs of files not to read.")
    read: Literal["follow", "once"] = Field(
        default="follow",
        description="follow: go on with what is appended and with new files; once: read each to its end as it is now.",
    )
    format: Format = Field(default="auto", description="What a line or message is; auto: told from each itself.")
    poll_secs: PositiveFloat = Field(default=1.0, description="How often to look for new lines and files.")
    max_line_bytes: PositiveInt = Field(
        default=16 * MIB, description="A longer line is quarantined, cut to its beginning."
    )
    batch_max_bytes: PositiveInt = Field(default=4 * MIB, description="About so many bytes of lines in one commit.")
    principal: str = Field(default="files", min_length=1, description="The principal; it stands in every record.")
    customers: tuple[str, ...] | None = Field(
        default=None, description="Globs of the customers that the files may write for; absent: any customer."
    )
