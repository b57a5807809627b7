"""
The bytes of one connection, and who is at its other end.
"""

import asyncio
import ssl
from typing import Any, Final

from meterline.api import Clock, Principal, UnauthenticatedError, UndecodableError
from meterline.encodings.forward import Cutter
from meterline.receivers.fluent_forward.config import ForwardAuthConfig
from meterline.receivers.fluent_forward.handshake import Handshake, refusal
from meterline.serving.auth import Authenticator, PeerIdentity

READ_BYTES: Final = 64 * 1024
MAX_PING_BYTES: Final = 64 * 1024
_WRITE_SECS: Final = 10.0
_CLOSE_SECS: Final = 1.0


class Wire:
    """
    A connection's two streams. On the loop only.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        name = writer.get_extra_info("peername")
        self.peer = str(name[0]) if isinstance(name, tuple) else "unix"
        """The address of the sender, for the log."""

    async def read(self) -> bytes:
        """
        Return what comes next; b"" at the end. Raises OSError.
        """
        return await self._reader.read(READ_BYTES)

    async def write(self, data: bytes) -> None:
        """
        Write; raises OSError, which TimeoutError is one of, when the sender does not take it.
        """
        self._writer.write(data)
        async with asyncio.timeout(_WRITE_SECS):
            await self._writer.drain()

    async def close(self, *, at_once: bool) -> None:
        """
        Close, after what is written has gone out; a sender that does not take it is cut off.
        """
        self._writer.close()
        try:
            async with asyncio.timeout(0 if at_once else _CLOSE_SECS):
                await self._writer.wait_closed()
        except OSError:
            self._writer.transport.abort()

    async def start_tls(self, context: ssl.SSLContext) -> None:
        """
        Speak TLS from here on. Raises OSError, which ssl.SSLError is one of.
        """
        await self._writer.start_tls(context)

    def certified(self, authenticator: Authenticator) -> Principal:
        """
        Return whom the client certificate names; anonymous where none is asked for. Raises UnauthenticatedError.
        """
        certificate: Any = self._writer.get_extra_info("peercert")
        identity = PeerIdentity.of_peer_certificate(certificate) if certificate else None
        return authenticator.authenticate({}, identity)


async def shake_hands(wire: Wire, auth: ForwardAuthConfig, clock: Clock) -> Principal:
    """
    Ask for the shared key, and for a user's password.

    :raises UnauthenticatedError: it was wrong, and the sender has been told so.
    :raises UndecodableError: it was no answer.
    :raises EOFError: the sender went away.
    """
    handshake = Handshake(auth, clock)
    await wire.write(handshake.helo())
    cutter = Cutter(MAX_PING_BYTES)
    while (ping := cutter.cut()) is None:
        data = await wire.read()
        if not data:
            raise EOFError
        cutter.feed(data)
    if cutter.buffered:
        raise UndecodableError("reading handshake: something follows the PING before it is answered")
    try:
        welcome = handshake.answer(ping)
    except UnauthenticatedError as error:
        await wire.write(refusal(str(error)))
        raise
    await wire.write(welcome.pong)
    return welcome.principal
