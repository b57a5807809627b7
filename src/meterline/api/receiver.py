"""
The contract of a receiver: a protocol and nothing else. Bytes go in, one durable answer comes out.
"""

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from types import MappingProxyType
from typing import Any, ClassVar, Final, Generic, Literal, Protocol, TypeVar

from meterline.api.config import ReceiverConfig
from meterline.api.plugin import PluginSpec, Sample
from meterline.clock import Clock


class Format(Enum):
    """
    What a body is, decompressed.
    """

    OTLP_METRICS = "otlp_metrics"  # ExportMetricsServiceRequest, protobuf
    OTLP_LOGS = "otlp_logs"  # ExportLogsServiceRequest, protobuf
    TRANSCODED_METRICS = "transcoded_metrics"  # the same, made by a receiver that says more: docs/transcoding.md
    USAGE = "usage"  # meterline.usage.v1.RecordUsageRequest, protobuf
    REJECTS = "rejects"  # meterline.intake.v1.Rejects, protobuf: items of which no point could be made


@dataclass(frozen=True, slots=True)
class Limits:
    """
    What one principal may send; None = no limit. Rates and sizes are of requests as they are decoded (reliability B3).

    Over a rate: refused for now. Over one of the others: the point is quarantined, its neighbours pass. ``max_streams``: new
    ones a day, UTC. The rest is of each of resource, scope and point, looked at when a stream is opened, and of log records.
    """

    max_requests_per_sec: float | None = None
    max_bytes_per_sec: float | None = None
    max_points_per_sec: float | None = None
    max_streams: int | None = None
    max_attributes: int = 128
    max_key_bytes: int = 256
    max_value_bytes: int = 4096
    max_depth: int = 64


@dataclass(frozen=True, slots=True)
class Principal:
    """
    Who sent: the name of the key, the token's subject or the mTLS subject.

    ``customers``: globs it may write for; None = any. ``tenants``: globs of the tenants it may name; None = any.
    """

    name: str
    customers: tuple[str, ...] | None = None
    tenants: tuple[str, ...] | None = None
    limits: Limits = Limits()


ANONYMOUS = Principal("anonymous")

_NOTHING: Final[Mapping[str, bytes]] = MappingProxyType({})


class Status(Enum):
    """
    What a receiver must tell its sender (semantics.md 6); each protocol has its own words for it.
    """

    STORED = "stored"  # every point is on stable storage; ``rejected`` of them in quarantine
    RETRY = "retry"  # nothing was stored; send the same again after ``retry_after_secs``
    UNDECODABLE = "undecodable"  # refused for good: broken wire structure
    TOO_LARGE = "too_large"  # refused for good: over the size limit


@dataclass(frozen=True, slots=True)
class ItemResult:
    """
    What became of one item of a ``Format.USAGE`` body. ``reason``: code of a quarantined one, ``conflict`` included.

    ``record_id``: 32 hex digits of the record that it is, was before (duplicate), or would be; "" when there is none.
    """

    outcome: Literal["recorded", "duplicate", "no_usage", "quarantined"]
    record_id: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """
    The one answer to one body. ``points`` were in it; ``rejected`` counts those now in quarantine, and only those.

    ``items``: of a stored ``Format.USAGE`` body, one for each item, in order.
    """

    status: Status
    points: int = 0
    rejected: int = 0
    message: str = ""
    retry_after_secs: float | None = None
    items: tuple[ItemResult, ...] = ()


@dataclass(frozen=True, slots=True)
class Body:
    """
    What a receiver made of (a part of) a request: bytes of a format, ready to submit.
    """

    fmt: Format
    data: bytes


class Ticket:
    """
    A claim to one answer. Cheaper than a Future: one lock, no condition.
    """

    __slots__ = ("_answer", "_callback", "_lock")

    def __init__(self, callback: Callable[[Answer], None] | None = None) -> None:
        """
        With a callback, it is called once, from the engine's thread, and must not block.
        """
        self._answer: Answer | None = None
        self._callback = callback
        self._lock = threading.Lock()
        self._lock.acquire()

    def resolve(self, answer: Answer) -> None:
        """
        Give the answer; called once, by the engine.
        """
        self._answer = answer
        self._lock.release()
        if self._callback is not None:
            self._callback(answer)

    def wait(self, timeout_secs: float = -1) -> Answer | None:
        """
        Return the answer, or None when it does not come in time. A body whose answer is not awaited may still be stored.
        """
        if not self._lock.acquire(timeout=timeout_secs):
            return None
        self._lock.release()
        return self._answer


class Intake(Protocol):
    """
    The one door: every receiver ends here.
    """

    def reserve(self, nbytes: int) -> bool:
        """
        Take bytes from the in-flight budget before decompressing; False: answer RETRY. Give back by ``release``.
        """

    def release(self, nbytes: int) -> None:
        """
        Give bytes back to the in-flight budget.
        """

    def submit(
        self,
        body: bytes,
        fmt: Format,
        receiver: str,
        principal: Principal,
        ticket: Ticket,
        *,
        remember: Mapping[str, bytes] = _NOTHING,
    ) -> None:
        """
        Queue a decompressed body; never blocks, never raises. The ticket is resolved after the commit, or at once with
        RETRY when intake is closed, full, or this principal is over its quarantine quota.

        ``remember``: state of the receiver (a cursor, an election) that is stored in the same commit as the body, or not at
        all; ``ReceiverContext.state`` has it at the next start. b"" forgets a key. An empty body may carry it alone.
        """

    @property
    def ready(self) -> bool:
        """
        Say whether intake accepts now: state restored, ledger writable, not draining.
        """


@dataclass(frozen=True, slots=True)
class ReceiverContext:
    """
    What the gateway hands to a receiver: the intake, a clock, and a bound structlog logger (never log payloads).

    ``state``: what this receiver asked to be remembered, as of the start. ``listeners``: the gateway's open ports, shared by
    the receivers that name the same endpoint (``meterline.serving.Listeners``; None: the receiver opens its own).
    ``auth``: the config's ``auth`` section, for listeners without their own (``meterline.serving.AuthConfig``).
    """

    intake: Intake
    clock: Clock
    log: Any
    state: Mapping[str, bytes] = field(default_factory=dict)
    listeners: Any = None
    auth: Any = None


C = TypeVar("C", bound=ReceiverConfig)


class Receiver(ABC, Generic[C]):
    """
    One listener or reader. Subclasses set ``spec`` and ``Config``; no I/O in ``__init__``.
    """

    spec: ClassVar[PluginSpec]
    Config: ClassVar[type[ReceiverConfig]]

    def __init__(self, name: str, config: C, context: ReceiverContext) -> None:
        self.name = name
        self.config = config
        self.context = context

    @abstractmethod
    def start(self) -> None:
        """
        Bind and accept. Raises ConfigurationError when the address is taken or a file cannot be read.
        """

    @property
    @abstractmethod
    def endpoints(self) -> Mapping[str, str]:
        """
        Return the addresses really bound, by protocol (``{"grpc": "127.0.0.1:4317"}``); known after ``start``.
        """

    @abstractmethod
    def stop(self, grace_secs: float) -> None:
        """
        Stop accepting, let what is in flight finish for up to ``grace_secs``, then close. Legal without ``start``, and twice.
        """

    def samples(self) -> Iterable[Sample]:
        """
        Return numbers of this receiver for telemetry; any thread.
        """
        return ()
