"""
One connection: what it is waiting for, and until when.

aiohttp closes idle connections, but waits for ever for headers, and for a body as long as the handler does. So each connection
knows its deadline, and the listener's watchdog looks at all of them.
"""

import asyncio
from enum import Enum
from typing import TYPE_CHECKING, Any

from aiohttp import web
from aiohttp.http_exceptions import BadHttpMessage

from meterline.serving.auth import PeerIdentity

if TYPE_CHECKING:
    from meterline.serving.http.listener import HttpListener

_NEVER = float("inf")
_TOO_MUCH_HEAD = b"HTTP/1.1 431 Request Header Fields Too Large\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"


class Phase(Enum):
    """
    What a connection is doing.
    """

    IDLE = "idle"
    HEAD = "head"  # the first bytes of a request are there
    BODY = "body"
    BUSY = "busy"  # the request is ours to answer
    ANSWER = "answer"  # it is being written, or what was refused unread is being read away


class SlowClientError(Exception):
    """
    The body did not come in time.
    """


class Connection(web.RequestHandler):
    """
    aiohttp's protocol with deadlines and a budget for headers. On the loop only.
    """

    def __init__(self, manager: web.Server, listener: "HttpListener", **options: Any) -> None:
        super().__init__(manager, **options)
        self._listener = listener
        self._clock = asyncio.get_running_loop().time
        self.phase = Phase.IDLE
        self.deadline = _NEVER
        self.identity: PeerIdentity | None = None
        self.body: asyncio.StreamReader | Any = None
        self._head_bytes = 0
        self._seen = 0
        self._admitted = False

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
        self.enter(Phase.IDLE, self._listener.config.idle_timeout_secs)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """
        Begin, unless there are too many connections.
        """
        if not self._listener.opened(self):
            transport.abort()  # type: ignore[attr-defined]  # every transport of a stream has it
            return
        self._admitted = True
        certificate = transport.get_extra_info("peercert")
        self.identity = PeerIdentity.of_peer_certificate(certificate) if certificate else None
        super().connection_made(transport)
        self.rest()

    def connection_lost(self, exc: BaseException | None) -> None:
        """
        End.
        """
        self.deadline = _NEVER
        if self._admitted:
            self._listener.closed(self)
            super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """
        Take bytes; those of a head against the budget.
        """
        if self.phase is Phase.IDLE and data:
            self.enter(Phase.HEAD, self._listener.config.header_timeout_secs)
        super().data_received(data)
        if self.phase is Phase.HEAD and data:
            self._head_came(len(data))

    def _head_came(self, nbytes: int) -> None:
        if self._request_count != self._seen:  # a whole head is there; its size is looked at by the handler
            self._seen = self._request_count
            self.enter(Phase.BUSY)
            return
        self._head_bytes += nbytes
        if self._head_bytes > self._listener.config.max_header_bytes:
            self._refuse_head()

    def _refuse_head(self) -> None:
        if self.transport is not None:
            self.transport.write(_TOO_MUCH_HEAD)
        self.force_close()

    def expire(self) -> None:
        """
        End what did not come in time: a body by an answer, all else by closing.
        """
        self.deadline = _NEVER
        if self.phase is Phase.BODY and self.body is not None:
            self.body.set_exception(SlowClientError())
        elif self.phase is Phase.ANSWER and self.transport is not None:
            self.transport.abort()
        else:
            self.force_close()

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """
        Write the answer, read away what was refused unread, and wait for the next request.
        """
        finished = await super().finish_response(request, resp, start_time)
        if not request.content.at_eof() and not self._force_close:
            await self._listener.read_away(self, request)
        self.rest()
        return finished

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """
        Answer what is no HTTP; nothing of it is logged.
        """
        del message
        return self._listener.answer_unreadable(request, exc if isinstance(exc, BadHttpMessage) else None, status)
