"""
What a plugin may import: the contracts of receivers and exporters, records, receipts, errors.
"""

from meterline.api.config import (
    BatchOptions,
    DeadLetterOptions,
    ExporterConfig,
    Only,
    PluginConfig,
    ReceiverConfig,
    RelativePath,
    RetryOptions,
    Secret,
)
from meterline.api.exporter import Batch, DeliveryContract, Exporter, ExporterContext
from meterline.api.plugin import PluginSpec, Sample
from meterline.api.receipt import Outcome, Receipt, Verdict
from meterline.api.receiver import (
    ANONYMOUS,
    Answer,
    Body,
    Format,
    Intake,
    ItemResult,
    Limits,
    Principal,
    Receiver,
    ReceiverContext,
    Status,
    Ticket,
)
from meterline.clock import Clock, SystemClock
from meterline.errors import (
    ConfigurationError,
    ForbiddenError,
    MeterlineError,
    NotConnectedError,
    OverloadedError,
    PausedError,
    RetryableError,
    TooLargeError,
    UnauthenticatedError,
    UndecodableError,
)
from meterline.globs import any_glob, compile_glob, is_glob
from meterline.quantity import Quantity
from meterline.records import Source, UsageRecord

__all__ = [
    "ANONYMOUS",
    "Answer",
    "Batch",
    "BatchOptions",
    "Body",
    "Clock",
    "ConfigurationError",
    "DeadLetterOptions",
    "DeliveryContract",
    "Exporter",
    "ExporterConfig",
    "ExporterContext",
    "ForbiddenError",
    "Format",
    "Intake",
    "ItemResult",
    "Limits",
    "MeterlineError",
    "NotConnectedError",
    "Only",
    "Outcome",
    "OverloadedError",
    "PausedError",
    "PluginConfig",
    "PluginSpec",
    "Principal",
    "Quantity",
    "Receipt",
    "Receiver",
    "ReceiverConfig",
    "ReceiverContext",
    "RelativePath",
    "RetryOptions",
    "RetryableError",
    "Sample",
    "Secret",
    "Source",
    "Status",
    "SystemClock",
    "Ticket",
    "TooLargeError",
    "UnauthenticatedError",
    "UndecodableError",
    "UsageRecord",
    "Verdict",
    "any_glob",
    "compile_glob",
    "is_glob",
]
