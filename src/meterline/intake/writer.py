"""
The one thread that owns the kernel's meter and the ledger's write connection.

It drains its queue: bodies are decoded, resolved and applied, jobs of other parts are collected, and all of it becomes one
frame in one transaction with one fsync; only then are the answers given. Group commit costs nothing when one sender sends, and
shares the fsync when many do. A failed commit takes the meter back to what the ledger holds; senders are told to send again.
"""

import contextlib
import threading
from collections.abc import Callable, Iterable, Sequence
from queue import Empty, SimpleQueue
from typing import Any

from meterline.api.plugin import Sample
from meterline.api.receiver import Answer, Status
from meterline.clock import Clock
from meterline.errors import FatalError, LedgerFullError, MeterlineError, UndecodableError
from meterline.faultpoints import reached
from meterline.intake.chores import Chores
from meterline.intake.learner import Learner, Rules
from meterline.intake.parcel import Job, Parcel, Stop
from meterline.intake.tally import Tally
from meterline.kernel.seam import Applied, Frame, Kernel, Meter, Plan
from meterline.ledger.ledger import Ledger
from meterline.ledger.model import CommitGroup
from meterline.poison import CONDEMNED, Poison

MAX_GROUP_BYTES = 8_388_608
MAX_GROUP_ITEMS = 256
TICK_SECS = 0.25
BUSY_TICK_SECS = 0.005


class Writer:
    """
    Runs until ``Stop`` comes out of its queue, or a commit fails in a way that leaves the disk unknown (``on_fatal``).
    """

    def __init__(
        self,
        *,
        kernel: Kernel,
        plan: Plan,
        meter: Meter,
        rules: Rules,
        ledger: Ledger,
        queue: "SimpleQueue[Parcel | Job | Stop]",
        clock: Clock,
        last_seq: int,
        on_fatal: Callable[[Exception], None],
        log: Any,
    ) -> None:
        self._kernel = kernel
        self._plan = plan
        self._meter = meter
        self._ledger = ledger
        self._queue = queue
        self._clock = clock
        self._next_seq = last_seq + 1
        self._on_fatal = on_fatal
        self._log = log
        self._learner = Learner(meter, rules, queue.put, self._learning_failed)
        self._learning = 0
        self._stopping = False
        self._full = False
        self._poison = Poison()
        self._tally = Tally()
        self._chores = Chores(kernel, meter, ledger, clock)
        self._thread = threading.Thread(target=self._run, name="meterline-writer", daemon=True)

    def start(self) -> None:
        """
        Start the thread.
        """
        self._learner.start()
        self._thread.start()

    def join(self, timeout_secs: float) -> None:
        """
        Wait until everything queued before ``Stop`` is committed and answered.
        """
        self._thread.join(timeout_secs)

    @property
    def alive(self) -> bool:
        """
        Say whether the thread runs.
        """
        return self._thread.is_alive()

    @property
    def writable(self) -> bool:
        """
        Say whether a body could be stored now.
        """
        return not self._full and not self._ledger.over_limit

    def over_quota(self, principal: str) -> bool:
        """
        Say whether this principal alone is to be refused.
        """
        return self._ledger.quarantine_over_quota(principal)

    @property
    def clock_suspect(self) -> bool:
        """
        Say whether most points of the last hour were "in the future": the machine's clock may be wrong.
        """
        return self._tally.clock_suspect(self._clock.now_ns())

    def samples(self) -> Iterable[Sample]:
        """
        Return what became of points and requests, and the sizes of the state.
        """
        yield Sample("meterline_intake_queue_size", {}, self._queue.qsize())
        yield from self._tally.samples()
        for name, value in self._meter.counters().items():
            yield Sample(f"meterline_state_{name}", {}, value)

    def _run(self) -> None:
        try:
            while not (self._stopping and not self._learning and self._queue.empty()):
                self._turn()
        except FatalError as error:
            self._log.critical("stopping: the state of the disk is unknown", error=str(error))
            self._on_fatal(error)
        except Exception as error:  # noqa: BLE001 - a defect: nothing may be answered by a thread that is gone
            self._log.critical("stopping: the writer met an unexpected error", exc_info=error)
            self._on_fatal(error)
        finally:
            self._learner.stop()
            self.refuse_rest()

    def _turn(self) -> None:
        parcels, jobs = self._drain()
        if self._full:
            self._full = not self._ledger.probe()
        if not self.writable:
            for parcel in parcels:
                parcel.refuse("the ledger cannot be written: the disk is full or the size limit is reached")
            parcels = []
        self._commit(parcels, jobs)
        self._chores.after_commit(self._clock.monotonic())

    def _drain(self) -> tuple[list[Parcel], list[Job]]:
        """
        Wait for the first item up to a tick, then take what is there, up to a group's size.
        """
        parcels: list[Parcel] = []
        jobs: list[Job] = []
        nbytes = 0
        try:
            item = self._queue.get(timeout=BUSY_TICK_SECS if self._chores.busy else TICK_SECS)
            while True:
                if isinstance(item, Parcel):
                    self._learning -= item.learning
                    item.learning = False
                    parcels.append(item)
                    nbytes += len(item.body)
                elif isinstance(item, Job):
                    jobs.append(item)
                else:
                    self._stopping = True
                if nbytes >= MAX_GROUP_BYTES or len(parcels) + len(jobs) >= MAX_GROUP_ITEMS:
                    break
                item = self._queue.get_nowait()
        except Empty:
            pass
        return parcels, jobs

    def _commit(self, parcels: list[Parcel], jobs: list[Job]) -> None:
        applied = self._apply_all(parcels)
        now = self._clock.monotonic()
        idled = self._chores.evict(now)
        totals = self._chores.totals(now, final=self._stopping)
        unidled = self._meter.unidled()
        frame = self._meter.seal()
        remembered = _remembered(applied)
        group = CommitGroup(
            frame=frame,
            idled=idled,
            unidled=unidled,
            totals=totals,
            snapshot=self._chores.snapshot,
            jobs=[job.run for job in jobs],
            remembered=remembered,
        )
        if not (frame or jobs or idled or unidled or totals or group.snapshot or remembered):
            self._answer(applied)
            return
        self._store(group, applied, jobs)

    def _store(self, group: CommitGroup, applied: list[tuple[Parcel, Applied]], jobs: list[Job]) -> None:
        try:
            _reached("before_commit", group)
            result = self._ledger.commit(group)
            _reached("after_commit", group)
        except FatalError:
            self._refuse(applied, "the ledger failed")
            raise
        except Exception as error:  # noqa: BLE001 - not stored, whatever the reason: back to what the ledger holds
            self._undo(error, applied, jobs)
            return
        self._chores.stored(group)
        if group.frame is not None:
            self._advance(group.frame)
        self._answer(applied)
        for job, value in zip(jobs, result.jobs, strict=True):
            _settle(job, value)

    def _advance(self, frame: Frame) -> None:
        self._meter.committed(frame.seq)
        self._next_seq = frame.seq + 1

    def _undo(self, error: Exception, applied: list[tuple[Parcel, Applied]], jobs: list[Job]) -> None:
        self._meter.rollback(self._next_seq)
        self._chores.undone()
        self._full = self._full or isinstance(error, LedgerFullError)
        if not isinstance(error, MeterlineError):
            self._log.error("committing failed in an unexpected way; rolled back", exc_info=error)
        self._refuse(applied, f"the ledger could not store it: {error}")
        if jobs and (applied or self._full):
            self._jobs_alone(jobs)
        else:
            for job in jobs:
                _settle(job, error)

    def _jobs_alone(self, jobs: list[Job]) -> None:
        """
        Commit jobs without any body: cursors and outcomes live on the reserve when intake is refused.
        """
        try:
            result = self._ledger.commit(CommitGroup(jobs=[job.run for job in jobs]))
        except FatalError:
            raise
        except Exception as error:  # noqa: BLE001 - handed to whoever waits for the job
            for job in jobs:
                _settle(job, error)
        else:
            for job, value in zip(jobs, result.jobs, strict=True):
                _settle(job, value)

    def _apply_all(self, parcels: list[Parcel]) -> list[tuple[Parcel, Applied]]:
        """
        Apply in order. An unexpected exception undoes the open frame; the others are then applied again without that parcel.
        """
        applied: list[tuple[Parcel, Applied]] = []
        waiting = list(parcels)
        done: list[Parcel] = []
        while waiting:
            parcel = waiting.pop(0)
            try:
                outcome = self._apply(parcel)
            except Exception as error:  # noqa: BLE001 - semantics.md 6: never INTERNAL, twice UNAVAILABLE, then quarantine
                self._meter.rollback(self._next_seq)
                self._chores.undone()
                waiting = done + waiting
                applied, done = [], []
                self._poisoned(parcel, error, waiting)
                continue
            if outcome is not None:
                applied.append((parcel, outcome))
                done.append(parcel)
        return applied

    def _apply(self, parcel: Parcel) -> Applied | None:
        """
        Return None when the parcel was answered or went to the learner.
        """
        now = self._clock.now_ns()
        source = self._meter.source(parcel.receiver, parcel.principal)
        parcel.raise_failure()
        poison = self._poison.reason(parcel.fmt.value, parcel.body)
        if poison is not None:
            return self._meter.quarantine_body(parcel.body, parcel.fmt, now, source, poison)
        if parcel.batch is None:
            try:
                parcel.batch = self._kernel.decode(parcel.body, parcel.fmt, self._plan)
            except UndecodableError as error:
                parcel.ticket.resolve(Answer(Status.UNDECODABLE, message=str(error)))
                self._tally.undecodable(parcel)
                return None
        if parcel.cold:
            # on this thread: a row read earlier could be of a stream that came back, went on and left again since
            self._meter.load(parcel.cold, self._ledger.idle_rows(parcel.cold))
            parcel.cold = ()
        if self._meter.resolve(parcel.batch) is None:
            outcome = self._meter.apply(parcel.batch, now, source)
            if outcome is not None:
                return outcome
        self._to_learner(parcel)
        return None

    def _to_learner(self, parcel: Parcel) -> None:
        parcel.learning = True
        self._learning += 1
        self._learner.submit(parcel)

    def _poisoned(self, parcel: Parcel, error: Exception, waiting: list[Parcel]) -> None:
        self._tally.internal_error()
        attempt = self._poison.blame(parcel.fmt.value, parcel.body, error)
        self._log.error("applying a body met an unexpected error", exc_info=error, attempt=attempt)
        if attempt == CONDEMNED:
            waiting.append(parcel)
        else:
            parcel.refuse("an unexpected error; send the same again")

    def _learning_failed(self, parcel: Parcel, error: Exception) -> None:
        """
        Called on the learner's thread: the parcel goes back to the writer, which treats it as poisoned.
        """
        parcel.failure = error
        self._queue.put(parcel)

    def _answer(self, applied: Sequence[tuple[Parcel, Applied]]) -> None:
        now = self._clock.now_ns()
        for parcel, outcome in applied:
            self._tally.stored(parcel, outcome, now)
            rejected = outcome.quarantined + outcome.answered
            message = "" if not rejected else _message(outcome, rejected)
            parcel.ticket.resolve(Answer(Status.STORED, outcome.points, rejected, message, items=outcome.items))

    def _refuse(self, applied: Sequence[tuple[Parcel, Applied]], why: str) -> None:
        for parcel, _ in applied:
            parcel.refuse(why)

    def refuse_rest(self) -> None:
        """
        Refuse what is left in the queue of a thread that has ended; any thread.
        """
        with contextlib.suppress(Empty):
            while True:
                item = self._queue.get_nowait()
                if isinstance(item, Parcel):
                    item.refuse("the gateway is shutting down")
                elif isinstance(item, Job):
                    item.future.cancel()


def _remembered(applied: Sequence[tuple[Parcel, Applied]]) -> dict[tuple[str, str], bytes]:
    """
    Return what receivers asked to be stored with their bodies, by receiver and key; a later body's word counts.
    """
    return {(parcel.receiver, key): value for parcel, _ in applied for key, value in parcel.remember.items()}


def _reached(place: str, group: CommitGroup) -> None:
    if group.frame is not None:
        reached(f"intake.{place}")
    if group.snapshot is not None:
        reached(f"snapshot.{place}")


def _settle(job: Job, value: object) -> None:
    if isinstance(value, Exception):
        job.future.set_exception(value)
    else:
        job.future.set_result(value)


def _message(outcome: Applied, rejected: int) -> str:
    reasons = ", ".join(f"{reason.code}: {count}" for reason, count in outcome.reasons.items())
    return f"{rejected} in quarantine ({reasons or 'as answered before'})"
