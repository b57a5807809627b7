"""
Bases of plugin configuration: frozen pydantic models that refuse unknown keys.
"""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    SecretStr,
)
from pydantic import ValidationInfo as _Info

from meterline.times import parse_rfc3339

Secret = SecretStr
"""Text that prints as ``**********`` everywhere; ``get_secret_value()`` reads it."""


def _against_base(path: Path, info: _Info) -> Path:
    base = (info.context or {}).get("base_dir")
    return path if base is None else Path(base) / path


RelativePath = Annotated[Path, AfterValidator(_against_base)]
"""A path that is relative to the config file (semantics.md 9)."""


class PluginConfig(BaseModel):
    """
    User YAML of one plugin. Unknown keys are errors; nothing is coerced between types in silence.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=False)


class ReceiverConfig(PluginConfig):
    """
    Keys that every receiver has.
    """

    type: str = Field(description="The receiver plugin; by default the name this receiver was given.")


class BatchOptions(PluginConfig):
    """
    How records are put together for one send. A batch is fixed before its first send.
    """

    max_records: PositiveInt = Field(default=1000, description="At most so many records in a batch.")
    max_bytes: PositiveInt = Field(default=1_048_576, description="About so many bytes of encoded records in a batch.")
    max_wait_secs: NonNegativeFloat = Field(default=1.0, description="How long a batch may wait to fill.")


class RetryOptions(PluginConfig):
    """
    The durable retry schedule: exponential from the first delay to the longest, without an end.
    """

    initial_secs: PositiveFloat = Field(default=1.0, description="The first delay.")
    max_secs: PositiveFloat = Field(default=300.0, description="The longest delay.")


class DeadLetterOptions(PluginConfig):
    """
    When too many records are refused for good, the exporter pauses: a bad credential or rule is not bad data.
    """

    max_ratio: float = Field(
        default=0.2,
        ge=0,
        le=1,
        description="Pause when more than this part of the last 10,000 records is dead; 1: never.",
    )
    min_records: PositiveInt = Field(default=100, description="Never pause before so many of them are dead.")


class Only(PluginConfig):
    """
    Which records this exporter is given: all that match every key given; each value is a text or glob, or a list.
    """

    rule: str | tuple[str, ...] | None = Field(default=None, description="Rule names.")
    customer: str | tuple[str, ...] | None = Field(default=None, description="Customer ids.")
    dimension: str | tuple[str, ...] | None = Field(default=None, description="Dimension ids.")


def start_instant(text: str) -> int | Literal["now", "beginning"]:
    """
    Read an exporter's ``start``; a time comes back as nanoseconds since the Unix epoch. Raises ValueError.
    """
    if text == "now":
        return "now"
    if text == "beginning":
        return "beginning"
    try:
        return parse_rfc3339(text)
    except ValueError:
        raise ValueError(f"{text!r} is not now, beginning, or an RFC 3339 time such as 2026-11-01T00:00:00Z") from None


def _checked_start(text: str | None) -> str | None:
    if text is not None:
        start_instant(text)
    return text


class ExporterConfig(PluginConfig):
    """
    Keys that every exporter has; the engine acts on them, not the plugin.
    """

    type: str = Field(description="The exporter plugin; by default the name this exporter was given.")
    only: Only | None = Field(default=None, description="Which records it is given; absent: all.")
    start: Annotated[str | None, AfterValidator(_checked_start)] = Field(
        default=None,
        description="Where a new exporter begins in a ledger that has records: now, beginning, or an RFC 3339 time.",
    )
    on_unknown: Literal["resend", "hold"] | None = Field(
        default=None,
        description="What becomes of records whose send had no answer; by default what the backend allows.",
    )
    batch: BatchOptions = Field(default_factory=BatchOptions)
    retry: RetryOptions = Field(default_factory=RetryOptions)
    dead_letters: DeadLetterOptions = Field(default_factory=DeadLetterOptions)


def redacted(model: BaseModel) -> dict[str, Any]:
    """
    Return the configuration as plain data in which every secret reads ``**********``.
    """
    return model.model_dump(mode="json")
