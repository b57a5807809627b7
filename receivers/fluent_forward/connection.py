"""
One connection: who sends, then messages in and acknowledgements out, side by side.

The protocol has no word for "not now": a sender that gets no acknowledgement, and sees its connection closed, sends the chunk
again. So a chunk that is refused closes the connection, after the chunks before and behind it had their answer. A message
without chunk is never sent again by anybody: it is kept and offered to the intake until it is stored, and meanwhile nothing
more is read, so that its sender notices.
"""

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar

from meterline.api import (
    ANONYMOUS,
    Answer,
    OverloadedError,
    Principal,
    Status,
    TooLargeError,
    UnauthenticatedError,
    UndecodableError,
)
from meterline.encodings.forward import Cutter
from meterline.receivers.fluent_forward.decode import Work
from meterline.receivers.fluent_forward.wire import Wire, shake_hands
from meterline.serving.admission import Reservation
from meterline.serving.storing import store

if TYPE_CHECKING:
    from meterline.receivers.fluent_forward.server import Server

T = TypeVar("T")

MAX_WAITING: Final = 256
"""Messages of a connection that wait for their answer; then it is not read from, and its sender waits."""

KEEP_SECS: Final = 60.0
"""How long a message without chunk is offered again."""

_INLINE_BYTES: Final = 16 * 1024  # decoding less takes less time than a thread takes to wake up
_POLL_SECS: Final = 0.02
_OUTCOMES: Final = {
    Status.RETRY: "unavailable",
    Status.TOO_LARGE: "resource_exhausted",
    Status.UNDECODABLE: "invalid_argument",
}
_OUTCOMES_OF: Final = {
    TooLargeError: "resource_exhausted",
    UndecodableError: "invalid_argument",
    UnauthenticatedError: "unauthenticated",
    OverloadedError: "unavailable",
}


class _SlowError(Exception):
    """
    The sender did not go on in time.
    """


class Held(Reservation):
    """
    The bytes of a connection, given back message by message, and the rest at the end of the block.
    """

    __slots__ = ()

    def give(self, nbytes: int) -> None:
        """
        Give some of it back.
        """
        self._held -= nbytes
        self._budget.give(nbytes)
        self._intake.release(nbytes)


@dataclass(slots=True)
class _Waiting:
    """
    A message that was submitted. ``nbytes``: as it came; ``inflated``: what it takes beyond that.
    """

    work: Work
    answer: "asyncio.Future[Answer]"
    nbytes: int
    inflated: Reservation = field(repr=False)


class Connection:
    """
    One sender. On the loop only.
    """

    def __init__(self, server: "Server", reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._server = server
        self._config = server.config
        self._wire = Wire(reader, writer)
        self._clock = asyncio.get_running_loop().time
        self._cutter = Cutter(self._config.max_request_bytes)
        self._room = asyncio.Semaphore(MAX_WAITING)
        self._waiting: asyncio.Queue[_Waiting | None] = asyncio.Queue()
        self._shaking: asyncio.Task[Any] | None = None
        self._task: asyncio.Task[None] | None = None
        self._interruptible = False
        self._stopping = False
        self._broken = False
        self._deaf = False
        self._spent = 0.0
        self._principal = ANONYMOUS
        self._tenant = ""

    async def run(self) -> None:
        """
        Serve it until it ends.
        """
        self._shaking = asyncio.current_task()
        try:
            async with asyncio.timeout(self._config.handshake_timeout_secs):
                self._principal = await self._who()
            self._shaking = None
            self._tenant = self._server.authenticator.tenant(self._principal, None)
            with Held(self._server.budget, self._server.intake) as held:
                await self._exchange(held)
        except TimeoutError:  # an OSError, too
            self._server.refused("deadline_exceeded", "the handshake was not done in time", self._wire.peer)
        except ssl.SSLError as error:  # an OSError, too
            self._server.refused("unauthenticated", f"the TLS handshake failed ({error.reason})", self._wire.peer)
        except (OSError, EOFError):
            pass  # it went away
        except (UnauthenticatedError, UndecodableError, TooLargeError) as error:
            self._refused(error)
        finally:
            del self._cutter  # what is left of a message is let go now, whoever still refers to this connection
            await self._wire.close(at_once=self._deaf)

    def stop(self) -> None:
        """
        Read no more; what was read is answered.
        """
        self._stopping = True
        task = self._task if self._interruptible else self._shaking
        if task is not None:
            task.cancel()

    async def _who(self) -> Principal:
        server = self._server
        context = server.tls_context()
        if context is not None:
            await self._wire.start_tls(context)
        if self._config.auth is not None:
            return await shake_hands(self._wire, self._config.auth, server.clock)
        return self._wire.certified(server.authenticator)

    # Messages

    async def _exchange(self, held: Held) -> None:
        """
        Read and answer, until reading ends; then give the answers that are still to come.
        """
        self._task = asyncio.create_task(self._receive(held))
        answering = asyncio.create_task(self._answer_all(held))
        await asyncio.wait({self._task})
        self._waiting.put_nowait(None)
        await answering

    async def _receive(self, held: Held) -> None:
        try:
            while not self._stopping and (data := await self._next_part()):
                await self._patiently(partial(_taken, held, len(data)))
                self._server.counters.received(len(data))
                self._cutter.feed(data)
                while not self._broken and (message := self._cutter.cut()) is not None:
                    self._spent = 0.0
                    await self._take(message)
        except (UndecodableError, TooLargeError, OverloadedError) as error:
            self._refused(error)
        except _SlowError:
            self._server.refused("deadline_exceeded", "a message did not come in time", self._wire.peer)
        except Exception:  # noqa: BLE001  # a defect costs this connection, and its sender sends again
            self._server.failed("handling a message failed")

    async def _next_part(self) -> bytes:
        """
        Return what comes next; b"" at the end. Only the sender's time counts against it.
        """
        begun = self._cutter.buffered > 0
        limit = self._config.message_timeout_secs - self._spent if begun else self._config.silence_timeout_secs
        since = self._clock()
        self._interruptible = True
        try:
            async with asyncio.timeout(max(limit, 0.0)):
                return await self._wire.read()
        except TimeoutError:
            if begun:
                raise _SlowError from None
            return b""
        except OSError:
            return b""
        finally:
            self._interruptible = False
            self._spent += self._clock() - since if begun else 0.0

    async def _take(self, message: bytes) -> None:
        """
        Decode a message and submit what it holds.
        """
        await self._room.acquire()
        await self._patiently(partial(self._admit, len(message)))
        work, inflated = await self._patiently(partial(self._decode, message))
        self._server.rates.spend(self._principal, 0, max(inflated.held - len(message), 0))
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._submit(work, answer)
        self._waiting.put_nowait(_Waiting(work, answer, len(message), inflated))

    async def _admit(self, nbytes: int) -> None:
        self._server.rates.admit(self._principal, nbytes)

    async def _decode(self, message: bytes) -> tuple[Work, Reservation]:
        server = self._server
        inflated = Reservation(server.budget, server.intake)
        received_at = server.clock.now_ns()
        job = partial(server.decoder.decode, message, self._principal, self._tenant, received_at, inflated.take)
        try:
            return (job() if len(message) <= _INLINE_BYTES else await server.on_thread(job)), inflated
        except BaseException:
            inflated.release()
            raise

    def _submit(self, work: Work, answer: "asyncio.Future[Answer]") -> None:
        server = self._server
        store(server.intake, server.name, self._principal, work.decoded, partial(_settle, server.post, answer))

    async def _patiently(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """
        Try until there is room: meanwhile nothing is read, which is how a sender learns of it. Raises OverloadedError when
        it takes as long as a message may take.
        """
        deadline = self._clock() + self._config.message_timeout_secs
        while True:
            try:
                return await attempt()
            except OverloadedError as error:
                if self._stopping or self._clock() > deadline:
                    raise
                await asyncio.sleep(min(max(error.retry_after_secs or 0.0, _POLL_SECS), 1.0))

    # Answers

    async def _answer_all(self, held: Held) -> None:
        while (waiting := await self._waiting.get()) is not None:
            try:
                await self._answer(waiting)
            finally:
                waiting.inflated.release()
                held.give(waiting.nbytes)
                self._room.release()

    async def _answer(self, waiting: _Waiting) -> None:
        answer = await waiting.answer
        if not waiting.work.acknowledgement:
            answer = await self._offered_again(waiting, answer)
        self._server.rates.spend(self._principal, answer.points)
        if answer.status is not Status.STORED:
            self._server.refused(_OUTCOMES[answer.status], answer.message, self._wire.peer)
            self._broken = True
            self.stop()
            return
        size = sum(len(body.data) for body in waiting.work.decoded.bodies)
        self._server.counters.stored(answer.points, answer.rejected, size)
        if waiting.work.acknowledgement and not self._deaf:
            await self._acknowledge(waiting.work.acknowledgement)

    async def _acknowledge(self, acknowledgement: bytes) -> None:
        """
        Write it; to a sender that does not take it nothing more is written, and it comes again.
        """
        try:
            await self._wire.write(acknowledgement)
        except OSError:
            self._deaf = self._broken = True
            self.stop()

    async def _offered_again(self, waiting: _Waiting, answer: Answer) -> Answer:
        """
        Offer a message that nobody sends again, until it is stored.
        """
        deadline = self._clock() + KEEP_SECS
        while answer.status is Status.RETRY and not self._stopping and self._clock() < deadline:
            await asyncio.sleep(min(answer.retry_after_secs or 1.0, 1.0))
            again: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
            self._submit(waiting.work, again)
            answer = await again
        return answer

    def _refused(self, error: Exception) -> None:
        outcome = next((outcome for kind, outcome in _OUTCOMES_OF.items() if isinstance(error, kind)), "unavailable")
        self._server.refused(outcome, str(error), self._wire.peer)


async def _taken(held: Held, nbytes: int) -> None:
    held.take(nbytes)


def _settle(post: Callable[[Callable[[], None]], None], future: "asyncio.Future[Answer]", answer: Answer) -> None:
    """
    Hand an answer over to the loop; called on the engine's thread.
    """
    post(partial(_resolve, future, answer))


def _resolve(future: "asyncio.Future[Answer]", answer: Answer) -> None:
    if not future.done():
        future.set_result(answer)
