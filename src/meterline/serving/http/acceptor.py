"""
Accepting connections, and the TLS handshake of each.

Not by ``loop.create_server``: a connection counts from the moment it is accepted, so that handshakes that never end are bounded
like all others; each is greeted with the certificate of that moment; and what has just been accepted is closed when we stop.
"""

import asyncio
import socket
import ssl
from collections.abc import Callable

from meterline.serving.http.connection import Connection, Connections

_AT_ONCE = 16
_PAUSE_SECS = 0.5  # when the machine has no more file descriptors


class Acceptor:
    """
    Accepts on one socket. On the loop only.
    """

    def __init__(
        self,
        bound: socket.socket,
        connections: Connections,
        tls: Callable[[], ssl.SSLContext] | None,
        handshake_secs: float,
    ) -> None:
        """
        ``tls``: returns the context for the next connection; None: plain text.
        """
        self._bound = bound
        self._connections = connections
        self._tls = tls
        self._handshake_secs = handshake_secs
        self._greetings: set[asyncio.Task[None]] = set()
        self._loop = asyncio.get_running_loop()
        self._pause: asyncio.TimerHandle | None = None
        self._listen()

    def _listen(self) -> None:
        self._pause = None
        self._loop.add_reader(self._bound.fileno(), self._accept)

    def _accept(self) -> None:
        """
        Take what has come, a few at a time: others on the loop have their turn, too.
        """
        for _ in range(_AT_ONCE):
            try:
                accepted, _address = self._bound.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError:
                self._loop.remove_reader(self._bound.fileno())
                self._pause = self._loop.call_later(_PAUSE_SECS, self._listen)
                return
            connection = self._connections.admit()
            if connection is None:
                accepted.close()
            else:
                accepted.setblocking(False)
                self._begin(accepted, connection)

    def _begin(self, accepted: socket.socket, connection: Connection) -> None:
        greeting = asyncio.create_task(self._greet(accepted, connection))
        self._greetings.add(greeting)

        def ended(task: asyncio.Task[None]) -> None:
            self._greetings.discard(task)
            if task.cancelled() or task.exception() is not None:  # before its first step, or after the greeting
                connection.abort()  # or the loop would go on to look at the number of a closed socket
                self._connections.lost(connection)
                accepted.close()

        greeting.add_done_callback(ended)

    async def _greet(self, accepted: socket.socket, connection: Connection) -> None:
        """
        Make the socket a connection; an OSError is no handshake, or none in time.
        """
        tls = self._tls() if self._tls is not None else None
        await self._loop.connect_accepted_socket(
            lambda: connection,
            accepted,
            ssl=tls,
            ssl_handshake_timeout=self._handshake_secs if tls is not None else None,
        )

    async def close(self) -> None:
        """
        Accept no more; handshakes that are not done are broken off.
        """
        self._loop.remove_reader(self._bound.fileno())
        if self._pause is not None:
            self._pause.cancel()
        for task in self._greetings:
            task.cancel()
        await asyncio.gather(*self._greetings, return_exceptions=True)
