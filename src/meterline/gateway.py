"""
Builds everything from a config, and starts and stops it in an order in which nothing acknowledged can be lost.

Start: ledger (lock, state restored) -> rules activated -> writer -> exporters -> receivers. Stop: receivers (finish what is in
flight) -> exporters (deliver what is pending, up to the deadline) -> writer (commit what is queued) -> ledger.
"""

import threading
from collections.abc import Iterable, Mapping
from queue import SimpleQueue
from typing import Any

import structlog

from meterline.api.exporter import Exporter, ExporterContext
from meterline.api.plugin import Sample
from meterline.api.receiver import Receiver, ReceiverContext
from meterline.clock import Clock, SystemClock
from meterline.config import Config
from meterline.delivery import Delivery
from meterline.intake import Intake, IntakeOptions, Writer
from meterline.intake.parcel import Job, Parcel, Stop
from meterline.kernel import load_kernel
from meterline.kernel.seam import Meter, RestoreReport
from meterline.ledger import Ledger, open_reader
from meterline.plugins import load_exporter, load_receiver
from meterline.rules import RuleSet
from meterline.serving.listeners import OpenListeners

DRAIN_SHARE = 0.5  # of the shutdown time at most, so that delivery always has some of it


class Gateway:
    """
    One running Meterline. ``start`` raises ConfigurationError or LedgerLockedError and leaves nothing behind.
    """

    def __init__(self, config: Config, *, clock: Clock | None = None, log: Any = None) -> None:
        """
        Nothing is opened or bound here.
        """
        self._config = config
        self._clock = clock or SystemClock()
        self._log = log or structlog.get_logger("meterline")
        self._fatal = threading.Event()
        self._fatal_error: Exception | None = None
        self._started = False
        self._draining = False
        self._ledger: Ledger | None = None
        self._intake: Intake | None = None
        self._writer: Writer | None = None
        self._delivery: Delivery | None = None
        self._receivers: dict[str, Receiver[Any]] = {}
        self.report: RestoreReport | None = None

    def start(self) -> None:
        """
        Restore, then accept. On an error everything that was started is stopped again.
        """
        try:
            self._start()
        except BaseException:
            self.stop(0)
            raise

    def _start(self) -> None:
        config = self._config
        rules = RuleSet.compile(config.rules, config.base_dir)
        ledger = self._ledger = Ledger.open(config.ledger.path, config.ledger.to_options(), self._clock)
        generation = ledger.activate_rules(rules.hash, rules.keys(), rules.text)
        kernel = load_kernel()
        meter = kernel.meter(config.to_meter_options())
        self.report = self._restore(ledger, meter)
        ledger.catch_up_totals(lambda frame, names: kernel.records(frame.body, names).totals())
        queue: SimpleQueue[Parcel | Job | Stop] = SimpleQueue()
        writer = self._writer = Writer(
            kernel=kernel,
            plan=kernel.plan(generation.gen, rules.hash),
            meter=meter,
            rules=rules.bind(generation),
            ledger=ledger,
            queue=queue,
            clock=self._clock,
            last_seq=self.report.last_seq,
            on_fatal=self._stop_fatally,
            log=self._log.bind(part="intake"),
        )
        remembered = {name: ledger.remembered(name) for name in config.receivers}
        self._intake = Intake(writer, queue, IntakeOptions(max_in_flight_bytes=config.max_in_flight_bytes))
        self._intake.start()
        self._start_delivery(kernel, ledger)
        self._start_receivers(self._intake, remembered)
        self._started = True

    def _restore(self, ledger: Ledger, meter: Meter) -> RestoreReport:
        state = ledger.stored_state()
        report = meter.restore(state.chunks, state.frames, state.open_raw, state.idle, state.next_meter)
        if report.holes:
            self._log.error("restoring state found holes in the chain of last times", frames=list(report.holes)[:20])
        return report

    def _start_delivery(self, kernel: Any, ledger: Ledger) -> None:
        assert self._intake is not None  # noqa: S101 - started just before
        exporters: dict[str, Exporter[Any]] = {}
        for name, options in self._config.exporters.items():
            context = ExporterContext(ledger.id, self._clock, self._log.bind(exporter=name))
            exporters[name] = load_exporter(options.type)(name, options, context)
        self._delivery = Delivery(
            exporters=exporters,
            ledger=ledger,
            open_reader=lambda: open_reader(self._config.ledger.path),
            transactor=self._intake,
            kernel=kernel,
            clock=self._clock,
            forget=self._config.forget,
            log=self._log.bind(part="delivery"),
        )
        self._delivery.start()

    def _start_receivers(self, intake: Intake, remembered: Mapping[str, Mapping[str, bytes]]) -> None:
        listeners = OpenListeners(self._clock)
        for name, options in self._config.receivers.items():
            log = self._log.bind(receiver=name)
            context = ReceiverContext(intake, self._clock, log, remembered[name], listeners, self._config.auth)
            receiver = load_receiver(options.type)(name, options, context)
            self._receivers[name] = receiver
            receiver.start()
        listeners.settle()

    def stop(self, timeout_secs: float | None = None) -> None:
        """
        Stop accepting, finish what is in flight, deliver what is pending until the timeout, close. Legal at any time, twice.
        """
        timeout = self._config.shutdown_timeout_secs if timeout_secs is None else timeout_secs
        deadline = self._clock.monotonic() + timeout
        self._draining = True
        self._stop_receivers(timeout * DRAIN_SHARE)
        if self._intake is not None:
            self._intake.close()
        if self._delivery is not None:
            self._delivery.stop(deadline)
        if self._intake is not None:
            self._intake.stop(max(1.0, deadline - self._clock.monotonic()))
        if self._ledger is not None:
            self._ledger.close()
            self._ledger = None
        self._started = False

    def _stop_receivers(self, grace_secs: float) -> None:
        """
        Stop all of them at once: each may take the whole grace.
        """
        stops = [
            threading.Thread(target=each.stop, args=(grace_secs,), daemon=True) for each in self._receivers.values()
        ]
        for thread in stops:
            thread.start()
        for thread in stops:
            thread.join()

    def _stop_fatally(self, error: Exception) -> None:
        self._fatal_error = error
        self._fatal.set()

    def wait_fatal(self, timeout_secs: float | None = None) -> Exception | None:
        """
        Wait for an error after which the process must end; None when the timeout came first.
        """
        self._fatal.wait(timeout_secs)
        return self._fatal_error

    @property
    def ready(self) -> bool:
        """
        Say whether a body sent now would be stored.
        """
        return self._started and not self._draining and self._intake is not None and self._intake.ready

    @property
    def endpoints(self) -> Mapping[str, Mapping[str, str]]:
        """
        Return the bound addresses by receiver name and protocol.
        """
        return {name: receiver.endpoints for name, receiver in self._receivers.items()}

    def health(self) -> Mapping[str, Any]:
        """
        Return what an operator looks at first, as JSON-able data.
        """
        intake_ready = self._intake is not None and self._intake.ready
        return {
            "started": self._started,
            "draining": self._draining,
            "ready": self.ready,
            "ledger_writable": intake_ready,
            "clock_suspect": self._writer is not None and self._writer.clock_suspect,
            "principals_over_quarantine_quota": sorted(self._ledger.principals_over_quota()) if self._ledger else [],
            "exporters": self._delivery.health() if self._delivery is not None else {},
            "fatal": str(self._fatal_error) if self._fatal_error else None,
        }

    def samples(self) -> Iterable[Sample]:
        """
        Return the numbers of all parts.
        """
        for part in (self._intake, self._ledger, self._delivery, *self._receivers.values()):
            if part is not None:
                yield from part.samples()
