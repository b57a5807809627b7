"""
A config that can be used.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from meterline.api.config import ExporterConfig, PluginConfig, ReceiverConfig
from meterline.config.listeners import listeners
from meterline.config.model import DedupeConfig, LedgerConfig, StateConfig, TelemetryConfig, TimeConfig, nanoseconds
from meterline.config.pointer import Pointer
from meterline.kernel.seam import MeterOptions
from meterline.rules import RuleConfig, RuleSet
from meterline.serving.auth_config import AuthConfig
from meterline.serving.config import GrpcListenerConfig

_DEFAULT_BUDGET: Final = 256 * 1_048_576


@dataclass(frozen=True, slots=True)
class Config:
    """
    A config that can be used. Secrets print as ``**********``; ``source_text`` is the file with them masked.

    ``rule_set`` is ``rules``, compiled. ``pointer`` finds the place of a value again, for lints.
    """

    path: Path
    ledger: LedgerConfig
    receivers: Mapping[str, ReceiverConfig]
    auth: AuthConfig | None
    rules: tuple[RuleConfig, ...]
    exporters: Mapping[str, ExporterConfig]
    telemetry: TelemetryConfig
    state: StateConfig
    dedupe: DedupeConfig
    time: TimeConfig
    forget: tuple[str, ...]
    shutdown_timeout_secs: float
    rule_set: RuleSet = field(repr=False)
    source_text: str = field(repr=False)
    pointer: Pointer = field(repr=False, compare=False)

    @property
    def base_dir(self) -> Path:
        """
        Return the folder that relative paths are relative to.
        """
        return self.path.parent

    def to_meter_options(self) -> MeterOptions:
        """
        Return what a kernel's meter takes, in base units.
        """
        return MeterOptions(
            max_dedupe_ids=self.dedupe.max_ids,
            dedupe_horizon_ns=nanoseconds(self.dedupe.horizon_secs),
            idle_ns=nanoseconds(self.state.idle_secs),
            max_resident_streams=self.state.max_resident_streams,
            start_skew_ns=nanoseconds(self.time.start_skew_secs),
            max_future_ns=nanoseconds(self.time.max_future_secs),
            max_past_ns=nanoseconds(self.time.max_past_secs),
        )

    @property
    def max_in_flight_bytes(self) -> int:
        """
        Return the sum of the ports' byte budgets, a shared port once; a receiver without a port adds its own, or 256 MiB.
        """
        ports: dict[tuple[bool, str], int] = {}
        others = 0
        for receiver in self.receivers.values():
            found = [listener for _, listener in listeners((), receiver)]
            others += 0 if found else _budget(receiver)
            ports |= {(isinstance(one, GrpcListenerConfig), one.endpoint): one.max_in_flight_bytes for one in found}
        return sum(ports.values()) + others or _DEFAULT_BUDGET


def _budget(receiver: ReceiverConfig) -> int:
    sections = [receiver, *(value for _, value in receiver if isinstance(value, PluginConfig))]
    found = [getattr(section, "max_in_flight_bytes", None) for section in sections]
    return sum(value for value in found if isinstance(value, int)) or _DEFAULT_BUDGET
