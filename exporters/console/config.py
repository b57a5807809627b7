"""
Configuration of the exporter ``console``.
"""

from typing import Literal

from pydantic import ConfigDict, Field

from meterline.api import ExporterConfig


class ConsoleConfig(ExporterConfig):
    """
    Writes usage records to standard output.
    """

    model_config = ConfigDict(json_schema_extra={"examples": [{"view": "totals"}]})

    format: Literal["auto", "table", "ndjson"] = Field(
        default="auto", description="`auto`: a table on a terminal, one JSON object a line in a pipe or file."
    )
    view: Literal["totals", "rows"] = Field(
        default="totals",
        description="A table of running totals by customer and dimension since the start, or a row for each record.",
    )
