"""
The listener: its port, its certificates, its connections, and what they share. asyncio on a thread of its own.
"""

import asyncio
import ssl
import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, TypeVar

from meterline.api import ReceiverContext, Sample
from meterline.receivers.fluent_forward.config import FluentForwardConfig
from meterline.receivers.fluent_forward.connection import Connection
from meterline.receivers.fluent_forward.decode import Decoder
from meterline.receivers.fluent_forward.wire import READ_BYTES
from meterline.serving.admission import ByteBudget
from meterline.serving.auth import Authenticator
from meterline.serving.counters import SignalCounters
from meterline.serving.exposure import require_guarded
from meterline.serving.http import sockets
from meterline.serving.http.loop import EventLoop
from meterline.serving.listeners import listeners_of
from meterline.serving.tls import CertificateFiles

T = TypeVar("T")

_WATCH_SECS = 0.5
_SECS_BETWEEN_LINES = 1.0


class Server:
    """
    One port. ``start`` and ``stop`` are for the gateway's thread; the rest is for connections, on the loop.
    """

    def __init__(self, name: str, config: FluentForwardConfig, context: ReceiverContext) -> None:
        self.name = name
        self.config = config
        self.intake = context.intake
        self.clock = context.clock
        self.budget = ByteBudget(config.max_in_flight_bytes)
        self.counters = SignalCounters("logs")
        self.decoder = Decoder(config)
        self.rates = listeners_of(context).rates
        self.endpoint = ""
        self.authenticator = _authenticator(config, context)
        self._context = context
        self._log = context.log
        self._loop = EventLoop()
        self._certificates: CertificateFiles | None = None
        self._socket: Any = None
        self._server: asyncio.Server | None = None
        self._watching: asyncio.Task[None] | None = None
        self._connections: dict[Connection, asyncio.Task[Any]] = {}
        self._turned_away = 0
        self._silent_until = 0.0
        self._unsaid = 0

    def start(self) -> None:
        """
        Bind and serve.

        :raises ConfigurationError: everybody could send, the address cannot be bound, or a certificate cannot be used.
        """
        require_guarded(self.name, self.config, self._context.auth, self._log)
        if self.config.tls is not None:
            self._certificates = CertificateFiles(self.config.tls, self._log)
        self._socket = sockets.listen(self.name, self.config.endpoint)
        self.endpoint = sockets.address_of(self._socket, self.config.endpoint)
        self._loop.acquire()
        self._loop.run(self._serve())

    async def _serve(self) -> None:
        if self.config.endpoint.startswith("unix:"):
            self._server = await asyncio.start_unix_server(self._opened, sock=self._socket, limit=READ_BYTES)
        else:
            self._server = await asyncio.start_server(self._opened, sock=self._socket, limit=READ_BYTES)
        self._watching = asyncio.create_task(self._watch())

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(_WATCH_SECS)
            if self._certificates is not None:
                self._certificates.refresh()

    def stop(self, grace_secs: float) -> None:
        """
        Accept and read no more; what was read is answered, for as long as the grace; then close.
        """
        server, self._server = self._server, None
        if server is None:
            return
        self._loop.run(self._close(server, grace_secs))
        sockets.close(self._socket, self.config.endpoint)
        self._loop.release()

    async def _close(self, server: asyncio.Server, grace_secs: float) -> None:
        server.close()
        for connection in self._connections:
            connection.stop()
        if self._connections:
            _, left = await asyncio.wait(self._connections.values(), timeout=grace_secs)
            for task in left:
                task.cancel()

    def _opened(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """
        Serve a connection, unless there are too many.
        """
        if len(self._connections) >= self.config.max_connections:
            self._turned_away += 1
            writer.transport.abort()
            return
        connection = Connection(self, reader, writer)
        self._connections[connection] = asyncio.create_task(self._serve_one(connection))

    async def _serve_one(self, connection: Connection) -> None:
        try:
            await connection.run()
        except Exception:  # noqa: BLE001  # a defect costs this connection alone
            self.failed("serving a connection failed")
        finally:
            del self._connections[connection]

    # For connections

    def tls_context(self) -> ssl.SSLContext | None:
        """
        Return what a new connection shall use; None: plain text.
        """
        return None if self._certificates is None else self._certificates.current.context

    def post(self, job: Callable[[], None]) -> None:
        """
        Run a job on the loop soon; any thread.
        """
        self._loop.post(job)

    async def on_thread(self, job: Callable[[], T]) -> T:
        """
        Run a job on a decoding thread. It is not left alone: a task that is cancelled meanwhile waits for it.
        """
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._loop.decode(partial(_run, job, future, self.post))
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            await asyncio.wait({future})
            raise
        finally:
            del (
                future
            )  # an error's traceback holds this frame: with the future that would be a cycle, and keep the message

    def refused(self, outcome: str, why: str, peer: str) -> None:
        """
        Count what was not stored, and say why: the protocol has no words for it. One line a second.
        """
        self.counters.refuse(outcome)
        now = time.monotonic()
        if now < self._silent_until:
            self._unsaid += 1
            return
        self._log.warning("closing a connection", reason=why, peer=peer, more_before=self._unsaid)
        self._silent_until, self._unsaid = now + _SECS_BETWEEN_LINES, 0

    def failed(self, event: str) -> None:
        """
        Report a defect; called where it is handled.
        """
        self.counters.refuse("internal")
        self._log.exception(event)

    def samples(self) -> Iterable[Sample]:
        """
        Return what this listener counts.
        """
        labels = {"receiver": self.name, "transport": "forward"}
        yield from self.counters.samples(labels)
        yield Sample("meterline_receiver_in_flight_bytes", labels, self.budget.used)
        yield Sample("meterline_receiver_connections", labels, len(self._connections))
        yield Sample("meterline_receiver_refused_connections", labels, self._turned_away)
        if self._certificates is not None:
            yield from self._certificates.samples(labels)


def _authenticator(config: FluentForwardConfig, context: ReceiverContext) -> Authenticator:
    """
    Return what says whom a client certificate names; connections with a handshake do not ask it.
    """
    by_certificate = config.tls is not None and config.tls.client_ca_file is not None
    default = context.auth if by_certificate and context.auth is not None and context.auth.subjects else None
    return Authenticator(default, by_certificate=by_certificate, clock=context.clock, log=context.log)


def _run(job: Callable[[], T], future: "asyncio.Future[T]", post: Callable[[Callable[[], None]], None]) -> None:
    """
    Run a job on this thread, and hand its outcome over to the loop.
    """
    try:
        settle: Callable[[], None] = partial(future.set_result, job())
    except BaseException as error:  # noqa: BLE001  # raised where the job is waited for
        settle = partial(future.set_exception, error)
    try:
        post(settle)
    finally:
        del settle, future  # the same here
