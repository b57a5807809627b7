"""
The sections of a config: frozen models, unknown keys forbidden. Names and defaults: semantics.md 9.
"""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, ConfigDict, Field, NonNegativeFloat, PositiveFloat, PositiveInt

from meterline.api.config import PluginConfig, RelativePath, Secret
from meterline.ledger.model import LedgerOptions
from meterline.rules.model import RuleConfig
from meterline.serving.auth_config import AuthConfig

MIB: Final = 1_048_576
_HOST_PORT: Final = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[^:\s\[\]/]+):(\d{1,5})")


def nanoseconds(secs: float) -> int:
    """
    Return seconds as whole nanoseconds.
    """
    return round(secs * 10**9)


def _checked_endpoint(endpoint: str) -> str:
    found = _HOST_PORT.fullmatch(endpoint)
    if found is None or int(found[1]) > 65_535:  # the largest port
        raise ValueError(f"reading endpoint '{endpoint}': write host:port or [ipv6]:port")
    return endpoint


Endpoint = Annotated[str, AfterValidator(_checked_endpoint)]


class LedgerConfig(PluginConfig):
    """
    Where the books are kept, and how much room they may take.
    """

    path: RelativePath = Field(description="The SQLite file; `-wal`, `-shm` and `.lock` files stand beside it.")
    max_bytes: PositiveInt = Field(
        default=10_240 * MIB, description="Over it, intake is refused with a hint to send again."
    )
    retention_secs: NonNegativeFloat = Field(
        default=604_800.0, description="How long frames are kept after everything in them is delivered."
    )
    quarantine_max_bytes: PositiveInt = Field(
        default=256 * MIB, description="Quarantined bytes of one principal; over it that principal alone is refused."
    )

    def to_options(self) -> LedgerOptions:
        """
        Return what the ledger takes, in base units.
        """
        return LedgerOptions(self.max_bytes, nanoseconds(self.retention_secs), self.quarantine_max_bytes)


class StateConfig(PluginConfig):
    """
    How much of the streams' state stays in memory; the rest is on disk and comes back when needed.
    """

    idle_secs: PositiveFloat = Field(default=86_400.0, description="A stream idle for so long moves to disk.")
    max_resident_streams: PositiveInt = Field(default=2_000_000, description="Streams in memory at most.")


class DedupeConfig(PluginConfig):
    """
    How long repeats of log records, and of delta points without a start, are recognised.
    """

    max_ids: PositiveInt = Field(
        default=5_000_000, description="Identities kept at most; the lowest event time leaves first."
    )
    horizon_secs: PositiveFloat = Field(default=2_678_400.0, description="An identity received longer ago is dropped.")


class TimeConfig(PluginConfig):
    """
    Which event times are plausible.
    """

    max_future_secs: NonNegativeFloat = Field(default=3600.0, description="Further ahead of the clock is quarantined.")
    max_past_secs: PositiveFloat = Field(default=34_560_000.0, description="Further back is quarantined.")
    start_skew_secs: NonNegativeFloat = Field(
        default=0.0, description="A new epoch may begin so much before the end of the one before."
    )


class _ListenConfig(PluginConfig):
    enabled: bool = Field(default=True, description="Whether to listen at all.")

    @property
    def written(self) -> bool:
        """
        Say whether the config names the address: a busy default warns, a busy written one is an error.
        """
        return "endpoint" in self.model_fields_set


class MetricsConfig(_ListenConfig):
    """
    Own metrics, for Prometheus, at `/metrics`.
    """

    endpoint: Endpoint = Field(default="127.0.0.1:8888", description="Address to listen on.")


class HealthConfig(_ListenConfig):
    """
    Health over HTTP: `/livez`, `/readyz`, `/startupz`.
    """

    endpoint: Endpoint = Field(default="127.0.0.1:13133", description="Address to listen on.")


class PushConfig(PluginConfig):
    """
    Own metrics, pushed over OTLP/gRPC.
    """

    endpoint: Endpoint = Field(description="host:port of a collector.")
    interval_secs: PositiveFloat = Field(default=60.0, description="How often.")
    headers: Mapping[str, Secret] = Field(default_factory=dict, description="Metadata sent with every push.")
    insecure: bool = Field(default=True, description="Plain text; false: TLS.")


class LogsConfig(PluginConfig):
    """
    Own logs, on standard error.
    """

    level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="The least that is written."
    )
    format: Literal["auto", "json", "console"] = Field(
        default="auto", description="auto: for people on a terminal, JSON lines elsewhere."
    )


class TelemetryConfig(PluginConfig):
    """
    What Meterline says of itself. Nothing of it is on the path of a point.
    """

    metrics: MetricsConfig = Field(default_factory=MetricsConfig)
    health: HealthConfig = Field(default_factory=HealthConfig)
    otlp: PushConfig | None = Field(default=None, description="Absent: nothing is pushed.")
    logs: LogsConfig = Field(default_factory=LogsConfig)


class CoreConfig(PluginConfig):
    """
    The top level. `receivers` and `exporters` are checked by their plugins.
    """

    model_config = ConfigDict(hide_input_in_errors=True)

    ledger: LedgerConfig
    receivers: Mapping[str, Any] = Field(
        default_factory=dict, description="By name; the plugin is `type`, by default the name itself."
    )
    auth: AuthConfig | None = Field(
        default=None, description="Who may send, on every listener that has no `auth` of its own; absent: anybody."
    )
    rules: tuple[RuleConfig, ...] = Field(default=(), description="What is usage; see rules.md.")
    exporters: Mapping[str, Any] = Field(
        default_factory=dict,
        description="By name; the plugin is `type`, by default the name itself. None: the ledger keeps all.",
    )
    telemetry: TelemetryConfig = Field(default_factory=TelemetryConfig)
    state: StateConfig = Field(default_factory=StateConfig)
    dedupe: DedupeConfig = Field(default_factory=DedupeConfig)
    time: TimeConfig = Field(default_factory=TimeConfig)
    forget: tuple[str, ...] = Field(
        default=(), description="Exporters that are gone for good: their cursors stop holding back retention."
    )
    shutdown_timeout_secs: NonNegativeFloat = Field(
        default=10.0, description="How long a stop may take to deliver what is pending."
    )
