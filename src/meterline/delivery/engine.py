"""
Delivery as the gateway sees it: opens every exporter's cursor, runs one thread for each, stops them together.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

from meterline.api import Clock, Exporter, Sample
from meterline.delivery.bell import Tide
from meterline.delivery.selection import filter_text
from meterline.delivery.shared import Shared
from meterline.delivery.source import FrameCache, FrameReader
from meterline.delivery.start import start_positions
from meterline.delivery.states import State, Watch
from meterline.delivery.worker import Worker
from meterline.kernel.seam import Kernel
from meterline.ledger import deliveries
from meterline.ledger.deliveries import ExporterRow, Opening, Position
from meterline.ledger.model import Transaction, Transactor

START_SECS = 60.0
LEAVE_SECS = 1.0


class LedgerView(Protocol):
    """
    What delivery needs of the ledger itself.
    """

    @property
    def id(self) -> str:
        """
        Return the ledger's id: part of every batch id.
        """

    def room_to_record(self) -> bool:
        """
        Say whether a receipt could be stored now: nothing is sent while it could not.
        """


class Delivery:
    """
    Brings every record to every exporter, as semantics.md 8 says. One thread per exporter: none slows another.
    """

    def __init__(
        self,
        *,
        exporters: Mapping[str, Exporter[Any]],
        ledger: LedgerView,
        open_reader: Callable[[], FrameReader],
        transactor: Transactor,
        kernel: Kernel,
        clock: Clock,
        log: Any,
        forget: Sequence[str] = (),
    ) -> None:
        """
        Nothing is opened here. ``forget``: names whose cursors, batches and outcomes are dropped at start.
        """
        self._exporters = exporters
        self._forget = forget
        self._open_reader = open_reader
        self._transactor = transactor
        self._clock = clock
        self._log = log
        self._tide = Tide(clock)
        shared = Shared(
            ledger_id=ledger.id,
            transactor=transactor,
            readers=open_reader,
            cache=FrameCache(kernel),
            room_to_record=ledger.room_to_record,
            tide=self._tide,
        )
        self._watch = Watch(open_reader)
        self._workers = [Worker(exporter, shared) for exporter in exporters.values()]

    def start(self) -> None:
        """
        Open the cursors, say which are unused, and begin. The transactor must be running.

        :raises ConfigurationError: an exporter does not say where to begin; nothing was started.
        """
        reader = self._open_reader()
        try:
            starts = start_positions(reader.connection, self._exporters)
        finally:
            reader.close()
        rows = self._transactor.transact(lambda transaction: self._open(transaction, starts)).result(START_SECS)
        for row in rows:
            if row.name not in self._exporters:
                self._say_unused(row)
        for worker in self._workers:
            worker.start()

    def _open(self, transaction: Transaction, starts: Mapping[str, Position]) -> list[ExporterRow]:
        connection = transaction.connection
        for name in self._forget:
            if name not in starts and deliveries.forget(connection, name):
                self._log.warning("forgot an exporter: its cursor, batches and outcomes are dropped", exporter=name)
        for name, start in starts.items():
            only_filter = filter_text(self._exporters[name].config.only)
            deliveries.open_exporter(connection, Opening(name, start, only_filter), transaction.now_ns)
        return deliveries.exporters(connection)

    def _say_unused(self, row: ExporterRow) -> None:
        self._log.warning(
            "a cursor has no exporter in the config; it keeps frames until `forget` names it",
            exporter=row.name,
            needs_frames_from=row.cursor.seq,
            pending_batches=row.batches,
        )

    def stop(self, deadline: float) -> None:
        """
        Deliver what is pending until ``deadline`` (monotonic seconds), then end. Changes no record's state.

        The transactor must still run. Legal without ``start``, and twice. A send that does not return is left behind; its
        batch is unknown at the next start.
        """
        self._tide.deadline = deadline
        self._ring()
        for worker in self._workers:
            worker.join(deadline - self._clock.monotonic() + LEAVE_SECS)
        self._tide.abandoned.set()
        self._ring()
        self._watch.close()
        end = self._clock.monotonic() + LEAVE_SECS
        stuck = [worker.name for worker in self._workers if not worker.join(end - self._clock.monotonic())]
        if stuck:
            self._log.warning("a send did not end in time; its batch is unknown at the next start", exporters=stuck)

    def _ring(self) -> None:
        for worker in self._workers:
            worker.bell.ring()

    def resume(self, name: str) -> bool:
        """
        Let a paused exporter go on, after a person has acted; False: there is none of that name.
        """
        found = [worker for worker in self._workers if worker.name == name]
        for worker in found:
            worker.resume()
        return bool(found)

    def states(self) -> list[State]:
        """
        Return how each running exporter stands; any thread.
        """
        rows = [(worker, worker.books.last) for worker in self._workers]
        aheads = self._watch.aheads([row for _, row in rows if row is not None])
        return [
            State(row, aheads[row.name], worker.paused, worker.port.connected, worker.trouble)
            for worker, row in rows
            if row is not None
        ]

    def health(self) -> Mapping[str, Any]:
        """
        Return what an operator looks at first, as JSON-able data, by exporter name.
        """
        now = self._clock.now_ns()
        return {state.row.name: state.health(now) for state in self.states()}

    def samples(self) -> Iterable[Sample]:
        """
        Return the numbers of delivery and of every exporter; any thread.
        """
        now = self._clock.now_ns()
        for state in self.states():
            yield from state.samples(now)
        for exporter in self._exporters.values():
            yield from exporter.samples()
