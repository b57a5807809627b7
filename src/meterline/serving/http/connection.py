"""
Connections: what each is waiting for, and until when.

aiohttp closes idle connections, but waits for ever for headers, and for a body as long as the handler does. So each connection
knows its deadline, and the listener looks at all of them a few times a second.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from enum import Enum
from typing import Any, cast

from aiohttp import web

from meterline.serving import refusals
from meterline.serving.auth import PeerIdentity
from meterline.serving.config import HttpListenerConfig
from meterline.serving.faults import described
from meterline.serving.http import replies
from meterline.serving.seam import Cause, Refusal

_NEVER = float("inf")
_FOR_EVER = 10.0**9  # seconds; for aiohttp's own timers
_LINGER_SECS = 10.0
_CLOSE_SECS = 1.0
_TOO_MUCH_HEAD = b"HTTP/1.1 431 Request Header Fields Too Large\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class Phase(Enum):
    """
    What a connection is doing.
    """

    IDLE = "idle"
    HEAD = "head"  # the first bytes of a request are there
    BODY = "body"
    BUSY = "busy"  # the request is ours to answer
    ANSWER = "answer"  # it is being written, or what was refused unread is being read away
    CLOSING = "closing"


class SlowClientError(Exception):
    """
    The body did not come in time.
    """


class Connection(web.RequestHandler):
    """
    aiohttp's protocol with deadlines and a budget for headers. On the loop only.
    """

    def __init__(self, server: web.Server, connections: "Connections", **options: Any) -> None:
        super().__init__(server, **options)
        self._connections = connections
        self._config = connections.config
        self._clock = asyncio.get_running_loop().time
        self.phase = Phase.IDLE
        self.deadline = _NEVER
        self.identity: PeerIdentity | None = None
        self.body: Any = None
        self._unread: Any = None
        self._wire: asyncio.Transport | None = None
        self._head_bytes = 0
        self._seen = 0

    def enter(self, phase: Phase, secs: float = _NEVER) -> None:
        """
        Say what comes now, and within how many seconds it must be over.
        """
        self.phase = phase
        self.deadline = self._clock() + secs

    def rest(self) -> None:
        """
        Wait for the next request.
        """
        self.body = None
        self._head_bytes = 0
        self._seen = self._request_count
        self.enter(Phase.IDLE, self._config.idle_timeout_secs)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """
        Begin.
        """
        self._wire = cast("asyncio.Transport", transport)
        certificate = transport.get_extra_info("peercert")
        self.identity = PeerIdentity.of_peer_certificate(certificate) if certificate else None
        super().connection_made(transport)
        self.rest()

    def connection_lost(self, exc: BaseException | None) -> None:
        """
        End.
        """
        self.deadline = _NEVER
        if self._unread is not None:  # aiohttp tells those who read for a handler, and nobody else
            self._unread.set_exception(ConnectionResetError("reading away a request: the sender is gone"))
        self._connections.lost(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """
        Take bytes; those of a head against the budget.
        """
        if self.phase is Phase.IDLE and data:
            self.enter(Phase.HEAD, self._config.header_timeout_secs)
        super().data_received(data)
        if self.phase is Phase.HEAD and data:
            self._head_came(len(data))

    def _head_came(self, nbytes: int) -> None:
        if self._request_count != self._seen:  # a whole head is there; the handler looks at its size
            self._seen = self._request_count
            self.enter(Phase.BUSY)
            return
        self._head_bytes += nbytes
        if self._head_bytes > self._config.max_header_bytes:
            if self.transport is not None:
                self.transport.write(_TOO_MUCH_HEAD)
            self.force_close()

    def expire(self) -> None:
        """
        End what did not come in time: a body by an answer, all else by closing.
        """
        self.deadline = self._clock() + _CLOSE_SECS
        if self.phase is Phase.BODY and self.body is not None:
            self.body.set_exception(SlowClientError())
        elif self.phase is Phase.CLOSING or self.phase is Phase.ANSWER:
            self.abort()
        else:
            self.phase = Phase.CLOSING
            self.force_close()

    def abort(self) -> None:
        """
        Drop the connection, whatever is still to be written.
        """
        if self._wire is not None:
            self._wire.abort()

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """
        Write the answer, read away what was refused unread, and wait for the next request.
        """
        self.enter(Phase.ANSWER, self._config.idle_timeout_secs)
        finished = await super().finish_response(request, resp, start_time)
        if not request.content.at_eof() and self.transport is not None:
            await self._read_away(request)
        self.rest()
        return finished

    async def _read_away(self, request: web.BaseRequest) -> None:
        """
        Read what a refused sender still sends, within bounds, so that it sees the answer instead of a reset.
        """
        self.enter(Phase.ANSWER, _LINGER_SECS)
        if self.transport is not None and self.transport.can_write_eof():
            with suppress(OSError):  # it may be gone already
                self.transport.write_eof()
        self._unread = request.content
        room = 2 * self._config.max_request_bytes
        with suppress(Exception):  # whatever it is, the connection is closed next
            while room > 0 and (piece := await request.content.readany()):
                room -= len(piece)
        self._unread = None

    def log_exception(self, *args: Any, **kw: Any) -> None:
        """
        Say that aiohttp met something unexpected, without its words.
        """
        del args
        error = kw.get("exc_info")
        if isinstance(error, Exception):
            self._connections.log.error("handling a connection failed", error=described(error))

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """
        Answer what is no HTTP, of which nothing is logged; and what went wrong before a path was known.
        """
        del request, message
        if status >= 500:
            if not isinstance(exc, ConnectionError):  # the sender is gone: nothing unusual
                self.log_exception(exc_info=exc)
            refusal = refusals.retry("handling request: an unexpected error; send it again")
        else:
            refusal = Refusal(Cause.UNDECODABLE, "reading request: it is no HTTP/1.1 request")
        return replies.Written(replies.plain(refusal), replies.retry_after(refusal), close=True)


class Connections:
    """
    All connections of one listener. On the loop only, but for the numbers.
    """

    def __init__(self, config: HttpListenerConfig, handler: Handler, log: Any) -> None:
        self.config = config
        self.log = log
        self._handler = handler
        self._server: web.Server | None = None
        self._open: set[Connection] = set()
        self.refused = 0
        self.expired = 0

    @property
    def count(self) -> int:
        """
        Return how many there are.
        """
        return len(self._open)

    def admit(self) -> Connection | None:
        """
        Return the protocol of a connection just accepted, which counts from here on until it is lost; None: there is no room.
        """
        if len(self._open) >= self.config.max_connections:
            self.refused += 1
            return None
        connection = self._make()
        self._open.add(connection)
        return connection

    def _make(self) -> Connection:
        self._server = self._server or web.Server(self._handler)
        return Connection(
            self._server,
            self,
            loop=asyncio.get_running_loop(),
            keepalive_timeout=_FOR_EVER,
            access_log=None,
            max_line_size=self.config.max_header_bytes,
            max_field_size=self.config.max_header_bytes,
            lingering_time=0,
            auto_decompress=False,
        )

    def lost(self, connection: Connection) -> None:
        """
        Forget a connection; legal twice.
        """
        self._open.discard(connection)

    def expire(self) -> None:
        """
        End what is over its deadline.
        """
        now = asyncio.get_running_loop().time()
        for connection in [each for each in self._open if each.deadline < now]:
            self.expired += 1
            connection.expire()

    async def close(self) -> None:
        """
        Close all: those that wait at once, those that still have an answer coming without it.
        """
        if self._server is not None:
            self._server.pre_shutdown()
            await _turns()  # those that wait for a request end here
            await self._server.shutdown(_CLOSE_SECS)
        for connection in list(self._open):
            connection.abort()
        await _turns()


async def _turns() -> None:
    """
    Let the loop go round as often as asyncio takes from dropping a connection to telling its protocol.
    """
    for _ in range(5):
        await asyncio.sleep(0)
