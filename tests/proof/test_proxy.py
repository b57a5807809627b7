"""
The TCP proxy that plays the network in the other proofs.
"""

import socket
import threading
from collections.abc import Iterator

import pytest

from meterline.testing.proxy import proxied


@pytest.fixture
def echo() -> Iterator[tuple[str, int]]:
    """
    Serve an echo on a free port.
    """
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                peer, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=talk, args=(peer,), daemon=True).start()

    def talk(peer: socket.socket) -> None:
        with peer:
            try:
                while data := peer.recv(4096):
                    peer.sendall(data)
            except OSError:
                return

    threading.Thread(target=serve, daemon=True).start()
    yield listener.getsockname()
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()


def ask(peer: socket.socket, text: bytes) -> bytes:
    """
    Send and return what comes back, b"" when the other side is gone.
    """
    peer.sendall(text)
    return peer.recv(4096)


def test_forwards_both_ways(echo: tuple[str, int]) -> None:
    """
    Bytes go there and back, and are counted.
    """
    with proxied(*echo) as proxy, socket.create_connection(proxy.address, timeout=20) as peer:
        assert ask(peer, b"hello") == b"hello"
        assert (proxy.connections, proxy.forwarded_bytes) == (1, 10)


def test_cut_resets_and_refuses_until_healed(echo: tuple[str, int]) -> None:
    """
    A cut ends what is connected, refuses what comes, and a healed network serves again at the same address.
    """
    with proxied(*echo) as proxy:
        with socket.create_connection(proxy.address, timeout=20) as peer:
            assert ask(peer, b"a") == b"a"
            proxy.cut()
            with pytest.raises(ConnectionError):
                ask(peer, b"b")
        with pytest.raises(ConnectionError), socket.create_connection(proxy.address, timeout=20) as peer:
            peer.recv(1)
        proxy.heal()
        with socket.create_connection(proxy.address, timeout=20) as peer:
            assert ask(peer, b"c") == b"c"


def test_hold_keeps_the_connection_and_forwards_later(echo: tuple[str, int]) -> None:
    """
    A held network lets the connection stand in silence; healed, what was sent meanwhile arrives.
    """
    with proxied(*echo) as proxy, socket.create_connection(proxy.address, timeout=20) as peer:
        assert ask(peer, b"a") == b"a"
        proxy.hold()
        peer.settimeout(0.3)
        with pytest.raises(TimeoutError):
            ask(peer, b"b")
        proxy.heal()
        peer.settimeout(20)
        assert peer.recv(16) == b"b"
