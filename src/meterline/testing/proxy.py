"""
A TCP proxy whose network can be cut, held, and healed, for tests of senders and exporters. Threads, no root,
127.0.0.1 only.
"""

import contextlib
import selectors
import socket
import struct
import threading
from collections.abc import Iterator
from types import TracebackType
from typing import Literal, Self

State = Literal["open", "cut", "held"]


class Proxy:
    """
    Forwards ``address`` to ``target``. ``cut`` resets what is connected and refuses what comes; ``hold`` lets
    connections stand and forwards nothing, as a half-open network does; ``heal`` ends both.

    What was read from one side before a cut may be lost to the other side, like on a real network.
    """

    def __init__(self, target: tuple[str, int]) -> None:
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.setblocking(False)
        self.address: tuple[str, int] = self._listener.getsockname()[:2]
        self.connections = 0
        self.forwarded_bytes = 0
        self._state: State = "open"
        self._peers: dict[socket.socket, socket.socket] = {}
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._wake_reader, self._wake_writer = socket.socketpair()
        self._selector.register(self._wake_reader, selectors.EVENT_READ)
        self._stopped = False
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="proxy", daemon=True)

    @property
    def endpoint(self) -> str:
        """
        Return ``host:port``, where senders connect to.
        """
        return f"{self.address[0]}:{self.address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopped = True
        self._wake_writer.send(b"x")
        self._thread.join(10)
        with self._lock:
            self._reset_all()
        for end in (self._listener, self._wake_reader, self._wake_writer):
            end.close()
        self._selector.close()

    def cut(self) -> None:
        """
        Reset every connection, and every new one at once.
        """
        with self._lock:
            self._state = "cut"
            self._reset_all()

    def hold(self) -> None:
        """
        Forward nothing any more; connections stay up.
        """
        with self._lock:
            self._state = "held"

    def heal(self) -> None:
        """
        Forward again. Connections that were held go on where they were.
        """
        with self._lock:
            self._state = "open"
        self._wake_writer.send(b"x")

    def _run(self) -> None:
        while not self._stopped:
            ready = [key.fileobj for key, _ in self._selector.select(timeout=0.05)]
            with self._lock:
                if self._state == "held":
                    ready = [end for end in ready if end in (self._listener, self._wake_reader)]
                for end in ready:
                    assert isinstance(end, socket.socket)
                    self._serve(end)
            if self._state == "held":
                threading.Event().wait(0.01)

    def _serve(self, end: socket.socket) -> None:
        if end is self._wake_reader:
            end.recv(64)
        elif end is self._listener:
            self._accept()
        elif end in self._peers:
            self._forward(end)

    def _accept(self) -> None:
        try:
            client, _ = self._listener.accept()
        except BlockingIOError:
            return
        if self._state == "cut":
            _reset(client)
            return
        try:
            server = socket.create_connection(self._target, timeout=2)
        except OSError:
            _reset(client)
            return
        self.connections += 1
        for end, other in ((client, server), (server, client)):
            end.settimeout(2)
            self._peers[end] = other
            self._selector.register(end, selectors.EVENT_READ)

    def _forward(self, end: socket.socket) -> None:
        try:
            data = end.recv(65_536)
            if data:
                self.forwarded_bytes += len(data)  # before they leave: whoever has them sees them counted
                self._peers[end].sendall(data)
                return
        except OSError:
            data = b""
        self._drop(end)

    def _drop(self, end: socket.socket) -> None:
        other = self._peers.pop(end)
        self._peers.pop(other, None)
        for one in (end, other):
            self._selector.unregister(one)
            _reset(one)

    def _reset_all(self) -> None:
        for end in list(self._peers):
            if end in self._peers:
                self._drop(end)


def _reset(end: socket.socket) -> None:
    """
    Close with RST, as a cut network looks to the far side.
    """
    with contextlib.suppress(OSError):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    end.close()


@contextlib.contextmanager
def proxied(host: str, port: int) -> Iterator[Proxy]:
    """
    Run a proxy in front of ``host:port`` for the length of a block.
    """
    with Proxy((host, port)) as proxy:
        yield proxy
