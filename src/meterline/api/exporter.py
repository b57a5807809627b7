"""
The contract of an exporter. The engine owns batching, retries, deadlines, dead letters and metrics; a plugin sends once.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, Literal, Protocol, TypeVar

from meterline.api.config import ExporterConfig
from meterline.api.plugin import PluginSpec, Sample
from meterline.api.receipt import Receipt
from meterline.clock import Clock
from meterline.records import UsageRecord


@dataclass(frozen=True, slots=True)
class DeliveryContract:
    """
    What a backend promises; ``validate`` and the docs print it, and the engine derives its defaults from it.

    ``dedupe_key`` names the field a backend dedupes on, ``dedupe_window_secs`` for how long (None = for ever).
    ``never_unknown`` holds for a sink that cuts back to its checkpoint, so that a resend cannot repeat anything.
    """

    dedupe_key: str | None = None
    dedupe_window_secs: float | None = None
    never_unknown: bool = False
    on_unknown: Literal["resend", "hold"] = "resend"
    max_records: int | None = None
    max_bytes: int | None = None
    oldest_secs: float | None = None
    newest_secs: float | None = None
    value_type: str = "decimal string"
    per_record_results: bool = False
    rejects_later: bool = False


class Batch(Protocol):
    """
    Records in ledger order with fixed boundaries: a second send of the same batch is byte-identical.
    """

    @property
    def id(self) -> str:
        """
        Return ``<ledger id>/<exporter name>/<batch number>``: the same at every attempt, unique for ever.
        """

    @property
    def number(self) -> int:
        """
        Return the batch number: 1, 2, ... per exporter.
        """

    @property
    def attempt(self) -> int:
        """
        Return 1 at the first send.
        """

    @property
    def records(self) -> Sequence[UsageRecord]:
        """
        Return the records; built when first asked for.
        """

    def encode(self, fmt: Literal["ndjson", "csv"]) -> bytes:
        """
        Return all records as lines of UTF-8 that end in a newline, without a header; faster than ``records``.
        """

    def __len__(self) -> int: ...


@dataclass(frozen=True, slots=True)
class ExporterContext:
    """
    What the engine hands to an exporter: the ledger's id, a clock, and a bound structlog logger (never log payloads).
    """

    ledger_id: str
    clock: Clock
    log: Any


C = TypeVar("C", bound=ExporterConfig)


class Exporter(ABC, Generic[C]):
    """
    One backend. Methods are called from one thread of its own, never at the same time, except ``samples``.

    Subclasses set ``spec`` and ``Config``. No I/O in ``__init__``; no retries of their own.
    """

    spec: ClassVar[PluginSpec]
    Config: ClassVar[type[ExporterConfig]]

    def __init__(self, name: str, config: C, context: ExporterContext) -> None:
        self.name = name
        self.config = config
        self.context = context

    @property
    @abstractmethod
    def contract(self) -> DeliveryContract:
        """
        Say what this backend, configured so, promises. Pure.
        """

    @abstractmethod
    def connect(self, checkpoint: bytes | None) -> None:
        """
        Make ready to send; ``checkpoint`` is the last one stored, None at the first start.

        Called before the first ``send``, and again after ``send`` raised, a receipt held RETRY or UNKNOWN outcomes, or a
        receipt could not be stored.

        :raises NotConnectedError: not now; the engine calls again, on its schedule.
        :raises PausedError: not before a person has acted.
        """

    @abstractmethod
    def send(self, batch: Batch) -> Receipt:
        """
        Send once, and say what became of each record. Any exception counts as UNKNOWN for the whole batch, except
        ``NotConnectedError``, ``RetryableError`` (certainly not sent) and ``PausedError``.
        """

    @abstractmethod
    def close(self) -> None:
        """
        Release everything; legal without ``connect``, legal twice. Changes no record's state.
        """

    def idle(self) -> None:
        """
        Called about once a second while there is nothing to send: time-based rotation belongs here.
        """

    def settled(self) -> None:
        """
        Called after the receipt of the last ``send``, or a pending checkpoint, is durable, before anything else is sent.
        """

    def pending_checkpoint(self) -> bytes | None:
        """
        Return a checkpoint that must be durable before anything else is sent, or None.

        Asked after ``connect``, ``settled`` and ``idle``; once it is stored, ``settled`` is called. A file says here where
        it begins before its first write, and that it rotates before it renames.
        """
        return None

    def samples(self) -> Iterable[Sample]:
        """
        Return numbers of this backend for telemetry; any thread.
        """
        return ()
