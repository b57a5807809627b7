"""
The one door: every receiver ends here. Admission by bytes in flight and by quarantine quota; then the writer's queue.
"""

import threading
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass
from queue import SimpleQueue
from types import MappingProxyType
from typing import Final, TypeVar

from meterline.api.plugin import Sample
from meterline.api.receiver import Format, Principal, Ticket
from meterline.intake.parcel import Job, Parcel, Stop
from meterline.intake.writer import Writer
from meterline.ledger.model import Transaction

T = TypeVar("T")

_NOTHING: Final[Mapping[str, bytes]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class IntakeOptions:
    """
    ``max_in_flight_bytes``: bodies between admission and answer, before and after decompression.
    """

    max_in_flight_bytes: int = 268_435_456


class Intake:
    """
    Implements ``api.Intake`` for receivers and ``ledger.model.Transactor`` for delivery and operators.
    """

    def __init__(self, writer: Writer, queue: "SimpleQueue[Parcel | Job | Stop]", options: IntakeOptions) -> None:
        self._writer = writer
        self._queue = queue
        self._options = options
        self._in_flight = 0
        self._refused = 0
        self._lock = threading.Lock()
        self._open = False
        self._running = False

    def start(self) -> None:
        """
        Start the writer thread and accept.
        """
        self._writer.start()
        self._running = True
        self._open = True

    def close(self) -> None:
        """
        Accept no more bodies; what was submitted is still answered, and jobs still run.
        """
        self._open = False

    def stop(self, timeout_secs: float) -> None:
        """
        Finish everything that is queued, and end the writer thread. Jobs that come later are cancelled.
        """
        self._open = False
        if self._running:
            self._running = False
            self._queue.put(Stop())
            self._writer.join(timeout_secs)

    @property
    def ready(self) -> bool:
        """
        Say whether intake accepts now: state restored, ledger writable, not draining.
        """
        return self._open and self._writer.writable

    def reserve(self, nbytes: int) -> bool:
        """
        Take bytes from the in-flight budget; False: answer RETRY. A single body within the budget always passes when idle.
        """
        with self._lock:
            if self._in_flight and self._in_flight + nbytes > self._options.max_in_flight_bytes:
                self._refused += 1
                return False
            self._in_flight += nbytes
            return True

    def release(self, nbytes: int) -> None:
        """
        Give bytes back to the in-flight budget.
        """
        with self._lock:
            self._in_flight -= nbytes

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
        Queue a decompressed body; never blocks, never raises.
        """
        parcel = Parcel(body, fmt, receiver, principal, ticket, remember=remember)
        refusal = self._refusal(principal)
        if refusal is not None:
            parcel.refuse(refusal)
            return
        self._queue.put(parcel)

    def _refusal(self, principal: Principal) -> str | None:
        if not self._open:
            return "the gateway is starting or shutting down"
        if not self._writer.writable:
            return "the ledger cannot be written: the disk is full or the size limit is reached"
        if self._writer.over_quota(principal.name):
            return f"principal {principal.name!r} is over its quarantine quota (ledger.quarantine_max_bytes)"
        return None

    def transact(self, job: Callable[[Transaction], T]) -> "Future[T]":
        """
        Queue a job for the writer thread; see ``ledger.model.Transactor``.
        """
        future: Future[T] = Future()
        if self._running and self._writer.alive:
            self._queue.put(Job(job, future))
            if not self._writer.alive:
                self._writer.refuse_rest()
        else:
            future.set_exception(CancelledError("the writer has stopped"))
        return future

    def samples(self) -> Iterable[Sample]:
        """
        Return the numbers of admission and of the writer.
        """
        yield Sample("meterline_intake_in_flight_bytes", {}, self._in_flight)
        yield Sample("meterline_intake_refused_requests", {"reason": "in_flight_bytes"}, self._refused)
        yield from self._writer.samples()
