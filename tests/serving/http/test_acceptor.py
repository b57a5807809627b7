"""
What counts as a connection, and from when on: looked at between two turns of the loop, where a socket test sees it once in
thousands of runs.
"""

import asyncio
import errno
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from typing import Any

import pytest
import structlog
import trustme
from aiohttp import web

from meterline.serving.config import HttpListenerConfig
from meterline.serving.http import acceptor as acceptors
from meterline.serving.http import sockets
from meterline.serving.http.acceptor import Acceptor
from meterline.serving.http.connection import Connections

TURNS = 12
"""More than asyncio takes from a connection that waits to its protocol's being told of it."""

TLS_TURNS = 16
"""More than a handshake takes, too."""


@pytest.fixture
def bound() -> Iterator[socket.socket]:
    """
    A listening socket.
    """
    with sockets.listen("stub", "127.0.0.1:0") as listening:
        yield listening


def connections() -> Connections:
    """
    Room for two, that are never served.
    """
    return Connections(HttpListenerConfig(endpoint="127.0.0.1:0", max_connections=2), never, structlog.get_logger())


async def never(_request: web.BaseRequest) -> web.StreamResponse:
    """
    No request is sent.
    """
    raise AssertionError


async def turns(count: int) -> None:
    """
    Let the loop go round.
    """
    for _ in range(count):
        await asyncio.sleep(0)


@pytest.mark.parametrize("between", range(TURNS))
def test_a_connection_counts_once_at_every_moment(bound: socket.socket, between: int) -> None:
    """
    The second of two comes any number of turns after the first: there is room for it; the third finds none.
    """

    async def run() -> tuple[int, int]:
        held = connections()
        acceptor = Acceptor(bound, held, None, 5)
        with ExitStack() as clients:
            clients.enter_context(socket.create_connection(bound.getsockname()))
            await turns(between)
            clients.enter_context(socket.create_connection(bound.getsockname()))
            await turns(TURNS)
            seen = held.count, held.refused
            clients.enter_context(socket.create_connection(bound.getsockname()))
            await turns(TURNS)
            assert (held.count, held.refused) == (2, 1)
            await acceptor.close()
            await held.close()
        return seen

    assert asyncio.run(run()) == (2, 0)


class TlsClient:
    """
    A client that does its part of a handshake when it is told to.
    """

    def __init__(self, address: tuple[str, int], authority: trustme.CA) -> None:
        context = ssl.create_default_context()
        authority.configure_trust(context)
        self._came, self._goes = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._came, self._goes, server_hostname="localhost")
        self.sock = socket.create_connection(address)
        self.sock.setblocking(False)
        self.greeted = False

    def step(self) -> None:
        """
        Read what is there, and answer it.
        """
        with suppress(BlockingIOError, ConnectionError):
            self._came.write(self.sock.recv(65536))
        with suppress(ssl.SSLError):
            self._tls.do_handshake()
            self.greeted = True
        with suppress(ConnectionError):
            self.sock.sendall(self._goes.read())

    def ended(self) -> bool:
        """
        Say whether the other side has closed.
        """
        try:
            while self.sock.recv(65536):
                pass
        except BlockingIOError:
            return False
        except ConnectionError:
            pass
        return True


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """
    A certificate authority.
    """
    return trustme.CA()


@pytest.fixture(scope="module")
def tls(authority: trustme.CA) -> ssl.SSLContext:
    """
    What a server with one of its certificates uses.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    return context


@pytest.mark.parametrize("between", range(TLS_TURNS))
def test_a_stop_at_any_moment_of_a_handshake_leaves_nothing_behind(
    bound: socket.socket, authority: trustme.CA, tls: ssl.SSLContext, between: int
) -> None:
    """
    However far a handshake is when the listener stops: the connection ends, it counts no more, and the loop, which other
    listeners go on with, no longer looks at its socket.
    """

    async def run() -> bool:
        loop: Any = asyncio.get_running_loop()
        watched = len(loop._selector.get_map())
        held = connections()
        acceptor = Acceptor(bound, held, lambda: tls, 5)
        client = TlsClient(bound.getsockname(), authority)
        with client.sock:
            for _ in range(between):
                client.step()
                await turns(1)
            await acceptor.close()
            bound.close()
            await held.close()
            await turns(TURNS)
            assert held.count == 0
            assert len(loop._selector.get_map()) == watched
            assert client.ended()
        return client.greeted

    greeted = asyncio.run(run())
    if between == TLS_TURNS - 1:
        assert greeted, "the turns are enough for a whole handshake"


class Exhausted:
    """
    A listening socket on a machine that has no file descriptors left, for now.
    """

    def __init__(self, bound: socket.socket) -> None:
        self._bound = bound
        self.full = True
        self.asked = 0
        self.fileno = bound.fileno

    def accept(self) -> Any:
        """
        Refuse, as the operating system does.
        """
        self.asked += 1
        if self.full:
            raise OSError(errno.EMFILE, "too many open files")
        return self._bound.accept()


async def until(condition: Callable[[], object]) -> None:
    """
    Let the loop go round until it holds.
    """
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - nothing of what is looked at tells
            await asyncio.sleep(0.001)


def test_without_file_descriptors_it_does_not_ask_at_every_turn(
    bound: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    It has asked once, and does not again before the pause is over.
    """
    monkeypatch.setattr(acceptors, "_PAUSE_SECS", 600)

    async def run() -> int:
        exhausted: Any = Exhausted(bound)
        acceptor = Acceptor(exhausted, connections(), None, 5)
        with socket.create_connection(bound.getsockname()):
            await until(lambda: exhausted.asked)
            await turns(100)
            await acceptor.close()
        asked: int = exhausted.asked
        return asked

    assert asyncio.run(run()) == 1


def test_when_there_are_file_descriptors_again_it_goes_on(
    bound: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    The connection that has waited is taken after a pause.
    """
    monkeypatch.setattr(acceptors, "_PAUSE_SECS", 0.01)

    async def run() -> None:
        held = connections()
        exhausted: Any = Exhausted(bound)
        acceptor = Acceptor(exhausted, held, None, 5)
        with socket.create_connection(bound.getsockname()):
            await until(lambda: exhausted.asked)
            exhausted.full = False
            await until(lambda: held.count)
            await acceptor.close()
            await held.close()
        assert held.refused == 0

    asyncio.run(run())


def test_a_stop_while_it_waits_for_file_descriptors_is_its_end(
    bound: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Nobody looks at the socket again once the pause would be over: it is closed by then.
    """
    monkeypatch.setattr(acceptors, "_PAUSE_SECS", 0.01)

    async def run() -> None:
        exhausted: Any = Exhausted(bound)
        acceptor = Acceptor(exhausted, connections(), None, 5)
        with socket.create_connection(bound.getsockname()):
            await until(lambda: acceptor._pause)
            await acceptor.close()
            asked = exhausted.asked
            await asyncio.sleep(0.05)  # later than the pause: what it had begun would have run by now
        assert exhausted.asked == asked

    asyncio.run(run())
