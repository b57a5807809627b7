"""
What counts as a connection, and from when on: looked at between two turns of the loop, where a socket test sees it once in
thousands of runs.
"""

import asyncio
import socket
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
import structlog
from aiohttp import web

from meterline.serving.config import HttpListenerConfig
from meterline.serving.http import sockets
from meterline.serving.http.acceptor import Acceptor
from meterline.serving.http.connection import Connections

TURNS = 12
"""More than asyncio takes from a connection that waits to its protocol's being told of it."""


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
