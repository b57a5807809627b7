"""
One exporter's thread: forms batches, sends them one at a time, stores receipts, keeps the retry schedule.

Nothing is sent that the ledger does not know of: a batch's row is durable before its first send, ``sending`` is durable
before each further one, and the next batch is formed in the transaction that stores the last receipt. A thread that meets
an error nobody expected starts again from the ledger.
"""

import random
import threading
from dataclasses import replace
from typing import Any, Final

from meterline.api import Exporter, PausedError, Receipt
from meterline.api.receipt import unknown_all
from meterline.delivery.batch import StoredBatch
from meterline.delivery.bell import Bell
from meterline.delivery.books import Books, StoppedError
from meterline.delivery.desk import TROUBLE_SECS, Desk, Follower, enter
from meterline.delivery.judge import Again, Decision, Policy, corrupted
from meterline.delivery.pace import DeadLetterLimit, Pace
from meterline.delivery.plan import Draft, Limits, find
from meterline.delivery.port import Port
from meterline.delivery.schedule import clamp
from meterline.delivery.selection import filter_text
from meterline.delivery.shared import Shared
from meterline.delivery.source import FrameSource
from meterline.delivery.stock import EMPTY_FRAMES, Stock
from meterline.faultpoints import reached
from meterline.ledger import deliveries
from meterline.ledger.deliveries import BatchRow, OutcomeRow

IDLE_SECS: Final = 1.0
POLL_SECS: Final = 0.25
MIN_POLL_SECS: Final = 0.02
PAUSED_SECS: Final = 60.0


class Worker:
    """
    The thread of one exporter. ``paused``: why it waits for a person, or None.
    """

    def __init__(self, exporter: Exporter[Any], shared: Shared) -> None:
        config, contract = exporter.config, exporter.contract
        self.name = exporter.name
        self.paused: str | None = None
        self.trouble = ""
        self.books = Books(exporter.name, shared.transactor, shared.tide.abandoned)
        self.port = Port(exporter)
        self.stock: Stock | None = None
        self._owner = f"{shared.ledger_id}/{exporter.name}"
        self._shared = shared
        self._clock = shared.tide.clock
        self._tide = shared.tide
        self._log = exporter.context.log
        self.bell = Bell(shared.tide)
        self._policy = Policy.of(contract, config.on_unknown, config.retry)
        self._limits = Limits.of(config.batch, contract)
        self._max_wait = config.batch.max_wait_secs
        self._only = filter_text(config.only)
        self._pace = Pace(config.retry)
        self._dead = DeadLetterLimit(config.dead_letters)
        self._random = random.Random(f"{shared.ledger_id}/{exporter.name}")  # noqa: S311 - jitter that tests can repeat
        self.desk = Desk(self.books, self._policy, self.bell, self._random, self._log)
        self._next: StoredBatch | None = None
        self._fill_since: float | None = None
        self._retry_first = False
        self._idle_at = 0.0
        self._thread = threading.Thread(target=self._run, name=f"meterline-exporter-{exporter.name}", daemon=True)

    def start(self) -> None:
        """
        Start the thread.
        """
        self._thread.start()

    def join(self, timeout_secs: float) -> bool:
        """
        Wait for the thread to end; False: it has not. Legal without ``start``.
        """
        if self._thread.ident is not None:
            self._thread.join(max(0.0, timeout_secs))
        return not self._thread.is_alive()

    def resume(self) -> None:
        """
        Go on after a person has acted; any thread.
        """
        self.paused = None
        self.bell.ring()

    # What follows runs on the thread.

    def _run(self) -> None:
        finished = False
        while not finished:
            try:
                self._turn()
                finished = self._finished()
            except StoppedError:
                break
            except Exception as error:  # noqa: BLE001 - after start nothing dies; the ledger says where to go on
                self._start_again(error)
                finished = self._tide.over
        self._leave()

    def _turn(self) -> None:
        now = self._clock.monotonic()
        if self.paused is not None:
            self.books.show_pause(self.paused)
            self.bell.sleep(PAUSED_SECS)
            return
        stock = self.stock or self._load()
        self.books.show_pause(None)
        if now < self._pace.all_until:
            self.bell.sleep(self._pace.all_until - now)
        elif not self._shared.room_to_record():
            self.bell.sleep(TROUBLE_SECS)
        elif not self.port.connected:
            self._connect()
        elif self._next is not None:
            self._send_next(stock)
        else:
            stock.look()
            self._choose(stock, now)

    def _choose(self, stock: Stock, now: float) -> None:
        """
        Take turns between a retry that is due and a new batch, so that neither starves the other.
        """
        due = self.desk.due(now)
        fresh = self._is_due(stock, now)
        if due is not None and (self._retry_first or not fresh):
            self._retry_first = False
            self._resend(stock, due)
        elif fresh:
            self._retry_first = True
            self._form(stock)
        else:
            self._idle(now)

    def _is_due(self, stock: Stock, now: float) -> bool:
        """
        Say whether a new batch is to be formed: full, waited long enough, or the gateway stops.
        """
        if stock.backlog == 0:
            self._fill_since = None
            return False
        if self._fill_since is None:
            self._fill_since = now
        waited = now - self._fill_since >= self._max_wait
        full = waited or stock.backlog >= self._limits.max_records or self._tide.deadline is not None
        return full and now >= self._pace.new_until

    def _finished(self) -> bool:
        """
        Say whether the thread may end: nobody waits any more, or nothing can be done before the deadline.
        """
        deadline = self._tide.deadline
        if deadline is None or self._tide.over:
            return self._tide.over
        if self.paused is not None or self._pace.all_until >= deadline:
            return True
        if self.stock is None or self._next is not None:
            return False
        self.stock.look()
        fresh = self.stock.backlog > 0 and self._pace.new_until < deadline
        return not fresh and all(each.due >= deadline for each in self.desk.waiting.values())

    # Start, trouble, end.

    def _load(self) -> Stock:
        """
        Take up where the ledger stands. A batch whose send has begun and whose receipt is not stored is unknown.
        """
        rows = self.books.load()
        source = FrameSource(self._shared.readers(), self._shared.cache)
        stock = self.stock = Stock(source, self.books.row, self._only, self._limits)
        self._next = None
        self.desk.waiting.clear()
        now_ns = self._clock.now_ns()
        for row in rows:
            self.desk.wait_for(replace(row, next_at=clamp(row.next_at, now_ns, self._policy.retry)))
        for row in rows:
            if row.sending:
                self._doubt(stock, row)
        return stock

    def _doubt(self, stock: Stock, row: BatchRow) -> None:
        now_ns = self._clock.now_ns()
        if self._policy.never_unknown:
            self.desk.wait_for(replace(row, sending=0, next_at=now_ns))
            return
        batch = self._find(stock, row)
        if batch is None:
            return
        self.desk.doubt(stock, batch)

    def _start_again(self, error: Exception) -> None:
        self.trouble = f"{type(error).__name__}: {error}"
        self._log.warning("delivery begins again from the ledger", error=self.trouble)
        if isinstance(error, PausedError):
            self.paused = str(error)
        self.port.disconnect()
        self._close_source()
        self.bell.sleep(TROUBLE_SECS)

    def _leave(self) -> None:
        """
        Take back what was formed and never sent, so that it is not unknown at the next start; then close.
        """
        try:
            if self._next is not None and not self._tide.abandoned.is_set():
                self.desk.take_back(self._next.row)
            self.port.exporter.close()
        except Exception as error:  # noqa: BLE001 - a row stays as it is: unknown at the next start
            self._log.warning("ending delivery failed", error=f"{type(error).__name__}: {error}")
        self._close_source()

    def _close_source(self) -> None:
        if self.stock is not None:
            self.stock.source.close()
            self.stock = None

    def _connect(self) -> None:
        try:
            failure = self.port.connect(self.books.row.checkpoint)
        except PausedError as error:
            self._pause(str(error))
            return
        if failure is None:
            self._store_checkpoints()
            return
        self.trouble = failure
        delay = self._pace.disconnected(self._clock.monotonic(), self._random.random())
        self._log.warning("connecting failed", error=failure, next_try_secs=round(delay, 1))

    def _pause(self, reason: str, unsent: BatchRow | None = None) -> None:
        self.paused = reason
        self.port.disconnect()
        self._log.error("exporter paused", reason=reason)
        self.books.show_pause(reason, unsent)

    def _store_checkpoints(self) -> None:
        exporter = self.port.exporter
        while (checkpoint := exporter.pending_checkpoint()) is not None:
            self.books.store_checkpoint(checkpoint)
            exporter.settled()

    # New batches.

    def _form(self, stock: Stock) -> None:
        before = stock.mark()
        draft = stock.draft()
        self._fill_since = None
        if draft.lost is not None:
            self._lose(stock, draft)
        elif draft.count:
            row = stock.row_of(draft, self._clock.now_ns())
            reached("delivery.before_form")
            self.books.commit(lambda connection: enter(connection, self.name, draft, row))
            reached("delivery.after_form")
            self._next = self._batch_of(draft, row)
        elif draft.passed or stock.cursor.seq - before.cursor.seq > EMPTY_FRAMES:
            self.books.commit(lambda c: deliveries.advance(c, self.name, draft.cursor, draft.passed))

    def _batch_of(self, draft: Draft, row: BatchRow) -> StoredBatch:
        return StoredBatch(self._owner, row, draft.parts, (draft.fmt, b"".join(draft.encoded)))

    def _lose(self, stock: Stock, draft: Draft) -> None:
        lost = stock.skip(draft)
        row = OutcomeRow(draft.cursor, "dead", "frame_corrupt", self._clock.now_ns(), records=lost)
        self._log.error("frame is corrupt, its records are dead", frame=draft.cursor.seq, records=lost)
        self.books.commit(lambda connection: deliveries.lose(connection, self.name, stock.cursor, row))

    # Batches that wait.

    def _find(self, stock: Stock, row: BatchRow) -> StoredBatch | None:
        """
        Read a stored batch; None: a corrupt frame took some of it, and what is left has become another batch.
        """
        found = find(stock.source, row)
        if found.lost_at is None:
            return StoredBatch(self._owner, row, found.parts)
        self._log.error("frame is corrupt, its records are dead", frame=found.lost_at.seq, records=found.lost)
        self.desk.commit(corrupted(row, found, self._clock.now_ns(), stock.number))
        return None

    def _resend(self, stock: Stock, row: BatchRow) -> None:
        batch = self._find(stock, row)
        if batch is None:
            return
        if row.unanswered and not self._policy.resends(row, self._clock.now_ns()):
            self._settle(stock, batch, unknown_all("the backend's dedupe window is over", hold=True))
            return
        batch.row = replace(row, attempt=row.attempt + 1, sending=1, reason="")
        self.books.commit(lambda connection: deliveries.begin(connection, self.name, row.number))
        del self.desk.waiting[row.number]
        self._next = batch

    # Sending.

    def _send_next(self, stock: Stock) -> None:
        batch, self._next = self._next, None
        assert batch is not None  # noqa: S101 - the caller asked
        try:
            receipt, unreachable = self.port.send(batch)
        except PausedError as error:
            self._stand_still(batch, str(error))
            return
        if unreachable:
            self._pace.disconnected(self._clock.monotonic(), self._random.random())
        stock.fmt = batch.asked_for or stock.fmt
        reached("delivery.before_settle")
        self._settle(stock, batch, receipt)

    def _stand_still(self, batch: StoredBatch, reason: str) -> None:
        row = replace(batch.row, sending=0, next_at=self._clock.now_ns(), reason=reason)
        self.desk.wait_for(row)
        self._pause(reason, row)

    def _settle(self, stock: Stock, batch: StoredBatch, receipt: Receipt) -> None:
        decision = self.desk.judge(stock, batch, receipt)
        why = self._note(batch, receipt, decision)
        follower = self._store(stock, decision, alone=why is not None)
        reached("delivery.after_settle")
        self.port.exporter.settled()
        if why is not None:
            self._pause(why)
        elif self.port.connected:
            self._store_checkpoints()
            self._next = follower

    def _note(self, batch: StoredBatch, receipt: Receipt, decision: Decision) -> str | None:
        """
        Set the pace by what came back; returns why the exporter is to pause, or None.
        """
        if isinstance(decision, Again):
            self.trouble = decision.row.reason
            hint = receipt.default.retry_after_secs
            first = batch.row.attempt == 1
            self._pace.fruitless(self._clock.monotonic(), hint, self._random.random(), first_send=first)
            return None
        self._pace.fruitful()
        settlement = decision.settlement
        return self._dead.add(len(batch) - sum(row.count for row in settlement.rest), settlement.dead)

    def _store(self, stock: Stock, decision: Decision, *, alone: bool) -> StoredBatch | None:
        """
        Make a receipt durable, together with the next batch if one is due.

        A receipt that cannot be stored is kept and stored later; only an exporter that cuts back sends again instead.
        """
        before = stock.mark()
        follower = None if alone else self._follower(stock, decision)
        try:
            self.desk.commit(decision, follower)
        except StoppedError:
            raise
        except Exception as error:
            if self._policy.never_unknown:
                raise
            stock.back_to(before)
            self.desk.keep_storing(decision, error)
            return None
        return self._batch_of(*follower) if follower is not None else None

    def _follower(self, stock: Stock, decision: Decision) -> Follower | None:
        now = self._clock.monotonic()
        if isinstance(decision, Again) or not self.port.connected or self._tide.over:
            return None
        stock.look()
        if self.desk.due(now) is not None or not self._is_due(stock, now) or not self._shared.room_to_record():
            return None
        before = stock.mark()
        draft = stock.draft()
        if draft.lost is None and draft.count:
            self._fill_since = None
            return draft, stock.row_of(draft, self._clock.now_ns())
        stock.back_to(before)
        return None

    def _idle(self, now: float) -> None:
        if now - self._idle_at >= IDLE_SECS:
            self._idle_at = now
            self.port.exporter.idle()
            self._store_checkpoints()
        until = [each.due for each in self.desk.waiting.values()]
        if self._fill_since is not None:
            until.append(max(self._fill_since + self._max_wait, self._pace.new_until))
        poll = min(POLL_SECS, max(self._max_wait / 2, MIN_POLL_SECS))
        self.bell.sleep(min([poll, *(each - now for each in until if each > now)]))
