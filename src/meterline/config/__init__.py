"""
Config: one YAML file in, typed sections out, or every error of it at once with line, column, caret and suggestion.
"""

from meterline.config.diagnostics import ConfigurationErrors, Diagnostic
from meterline.config.lint import lint
from meterline.config.load import load_config
from meterline.config.loaded import Config
from meterline.config.model import (
    DedupeConfig,
    LedgerConfig,
    StateConfig,
    TelemetryConfig,
    TimeConfig,
)
from meterline.config.schema import json_schema
from meterline.rules.model import RuleConfig

__all__ = [
    "Config",
    "ConfigurationErrors",
    "DedupeConfig",
    "Diagnostic",
    "LedgerConfig",
    "RuleConfig",
    "StateConfig",
    "TelemetryConfig",
    "TimeConfig",
    "json_schema",
    "lint",
    "load_config",
]
