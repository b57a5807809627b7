"""
One open port, and the receivers behind it.
"""

import asyncio
import socket
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any

from aiohttp import web

from meterline.api import ReceiverContext, Sample, UndecodableError
from meterline.serving.admission import ByteBudget
from meterline.serving.auth import Authenticator
from meterline.serving.config import HttpListenerConfig
from meterline.serving.counters import SignalCounters
from meterline.serving.http import body, replies, sockets
from meterline.serving.http.connection import Connection, Phase
from meterline.serving.http.cors import Cors
from meterline.serving.http.exchange import serve
from meterline.serving.http.loop import EventLoop
from meterline.serving.http.routes import Part, Routes
from meterline.serving.memory import keep_large_blocks
from meterline.serving.poison import Poison
from meterline.serving.rates import Rates
from meterline.serving.seam import Cause, Endpoint, Head, Page, Refusal

_TICK_SECS = 0.25
_LINGER_SECS = 10.0


class HttpListener:
    """
    An HTTP/1.1 server for the endpoints of one or more receivers. Its methods are called from any thread but the loop's.
    """

    def __init__(self, config: HttpListenerConfig, context: ReceiverContext, loop: EventLoop, rates: Rates) -> None:
        self.config = config
        self.log = context.log
        self.loop = loop
        self.rates = rates
        self.routes = Routes()
        self.cors = Cors(config.cors)
        self.poison = Poison()
        self.budget = ByteBudget(config.max_in_flight_bytes)
        algorithms = config.compression_algorithms
        self.encodings = (*algorithms, "x-gzip") if "gzip" in algorithms else algorithms
        self.closing = False
        self.settled = True
        self.endpoint = ""
        self._socket: socket.socket | None = None
        self._server: asyncio.Server | None = None
        self._http: Any = None
        self._watchdog: asyncio.Task[None] | None = None
        self._connections: set[Connection] = set()
        self._parts: list[Part] = []
        self._refused_connections = 0

    def add(
        self,
        receiver: str,
        config: HttpListenerConfig,
        context: ReceiverContext,
        endpoints: Sequence[Endpoint],
        pages: Sequence[Page] = (),
    ) -> Part:
        """
        Serve one more receiver. ``config``: its own, of which only ``auth`` may differ.

        :raises ConfigurationError: a path is taken.
        """
        by_certificate = config.tls is not None and config.tls.client_ca_file is not None
        auth = config.auth or context.auth
        authenticator = Authenticator(auth, by_certificate=by_certificate, clock=context.clock, log=context.log)
        signals = {
            endpoint.signal: SignalCounters(endpoint.signal) for endpoint in endpoints
        }
        part = Part(receiver, context, authenticator, signals)
        self.routes.add(part, endpoints, pages)
        authenticator.prepare()
        self._parts.append(part)
        return part

    def start(self) -> None:
        """
        Bind and serve.

        :raises ConfigurationError: the address cannot be bound, or a certificate cannot be used.
        """
        receiver = self._parts[0].receiver if self._parts else "http"
        keep_large_blocks()
        self._socket = sockets.listen(receiver, self.config.endpoint)
        self.endpoint = sockets.address_of(self._socket, self.config.endpoint)
        self.loop.acquire()
        self.loop.run(self._open())

    async def _open(self) -> None:
        self._http = _Http(self)
        await self._accept()
        self._watchdog = asyncio.create_task(self._watch())

    async def _accept(self) -> None:
        """
        Accept on a copy of the socket, so that a server can replace another without a connection being refused between.
        """
        assert self._socket is not None  # noqa: S101 - bound by start
        loop = asyncio.get_running_loop()
        old, self._server = self._server, await loop.create_server(self._http, sock=self._socket.dup())
        if old is not None:
            old.close()

    def leave(self, part: Part, grace_secs: float) -> None:
        """
        Take nothing new for one receiver, and let what is in flight have its answer.
        """
        part.leaving = True
        if self._server is not None:
            self.loop.run(self._drained([part], grace_secs))

    def stop(self, grace_secs: float) -> None:
        """
        Stop accepting, answer what is in flight for up to the grace, then close. Legal without ``start``, and twice.
        """
        self.closing = True
        for part in self._parts:
            part.leaving = True
        if self._server is None or self._socket is None:
            return
        self.loop.run(self._close(grace_secs))
        sockets.close(self._socket, self.config.endpoint)
        self._server = self._socket = None
        self.loop.release()

    async def _close(self, grace_secs: float) -> None:
        if self._server is not None:
            self._server.close()
        if self._watchdog is not None:
            self._watchdog.cancel()
        await self._drained(self._parts, grace_secs)
        for connection in list(self._connections):
            connection.close()
        await asyncio.sleep(0)  # connections that wait for a request end here
        await self._http.shutdown(1.0)

    async def _drained(self, parts: Sequence[Part], grace_secs: float) -> None:
        """
        Wait until no request of these is in flight, or the grace is over.
        """
        loop = asyncio.get_running_loop()
        until = loop.time() + grace_secs
        while any(part.in_flight for part in parts) and loop.time() < until:
            await asyncio.sleep(0.01)

    async def _watch(self) -> None:
        """
        Look at every connection's deadline, a few times a second.
        """
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(_TICK_SECS)
            now = loop.time()
            for connection in [each for each in self._connections if each.deadline < now]:
                connection.expire()

    def opened(self, connection: Connection) -> bool:
        """
        Count a new connection; False: there are too many, or no more shall come.
        """
        if len(self._connections) >= self.config.max_connections or self.closing:
            self._refused_connections += 1
            return False
        self._connections.add(connection)
        return True

    def closed(self, connection: Connection) -> None:
        """
        Forget a connection.
        """
        self._connections.discard(connection)

    def check_head(self, request: web.BaseRequest, head: Head) -> None:
        """
        Hold a head against the budget.

        :raises UndecodableError: it is over it.
        """
        size = len(request.raw_path) + sum(len(name) + len(value) for name, value in request.raw_headers)
        if size > self.config.max_header_bytes:
            raise UndecodableError("reading request: its headers are over max_header_bytes")

    async def read_away(self, connection: Connection, request: web.BaseRequest) -> None:
        """
        Read what a refused sender still sends, within bounds, so that it sees the answer instead of a reset.
        """
        connection.enter(Phase.ANSWER, _LINGER_SECS)
        if connection.transport is not None and connection.transport.can_write_eof():
            connection.transport.write_eof()
        with suppress(Exception):  # whatever it is, the connection is closed next
            await body.read_away(request, 2 * self.config.max_request_bytes)

    def answer_unreadable(self, request: web.BaseRequest, error: Exception | None, status: int) -> web.Response:
        """
        Answer what is no HTTP request.
        """
        del request
        if error is None and status >= 500:
            refusal = replies.delayed(Refusal(Cause.RETRY, "handling request: an unexpected error; send it again"))
            return replies.response(replies.plain(refusal), replies.retry_after(refusal), close=True)
        refusal = Refusal(Cause.UNDECODABLE, "reading request: it is no HTTP/1.1 request")
        return replies.response(replies.plain(refusal), {}, close=True)

    def samples(self) -> Iterable[Sample]:
        """
        Return what this port counts, whoever the receiver is.
        """
        labels = {"endpoint": self.endpoint, "transport": "http"}
        yield Sample("meterline_receiver_in_flight_bytes", labels, self.budget.used)
        yield Sample("meterline_receiver_connections", labels, len(self._connections))
        yield Sample("meterline_receiver_refused_connections", labels, self._refused_connections)


class _Http(web.Server):
    """
    Makes connections for one listener.
    """

    def __init__(self, listener: HttpListener) -> None:
        async def handle(request: web.BaseRequest) -> web.StreamResponse:
            return await serve(listener, request)

        super().__init__(handle)
        self._listener = listener

    def __call__(self) -> Connection:
        """
        Return a protocol for a new connection.
        """
        limit = self._listener.config.max_header_bytes
        return Connection(
            self,
            self._listener,
            loop=self._loop,
            keepalive_timeout=_FOR_EVER,
            access_log=None,
            max_line_size=limit,
            max_field_size=limit,
            lingering_time=0,
            auto_decompress=False,
        )


_FOR_EVER = 10.0**9  # seconds: connections have deadlines of their own
