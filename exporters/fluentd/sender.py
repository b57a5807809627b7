"""
fluent-logger's sender with what it lacks for money: acknowledgements, TLS, shared keys, IPv6 - and no ``pendings``.

``emit`` of the original returns True when bytes are in the kernel, sends what it could not send again with the next call,
and replaces a record that it cannot pack. None of it is used: a batch goes out whole, once, and is acknowledged or in doubt.
"""

import os
import socket
import ssl
import time
from typing import Any

import msgpack
from fluent.sender import FluentSender

from meterline.api import NotConnectedError
from meterline.exporters.fluentd.forward import Helo, Login, acknowledges

_MAX_ANSWER = 64 * 1024  # an acknowledgement has some 40 bytes


class DoubtError(Exception):
    """
    The batch, or a part of it, was sent, and nobody said what became of it.
    """


class AckingSender(FluentSender):  # type: ignore[misc]  # fluent-logger has no types
    """
    One connection. Not for several threads. ``host`` is a name, an address, or ``unix:///path``.
    """

    def __init__(
        self,
        tag: str,
        host: str,
        port: int,
        *,
        timeout: float,
        ack_timeout: float,
        tls: tuple[ssl.SSLContext, str] | None = None,
        secrets: tuple[str, str, str] | None = None,
    ) -> None:
        """
        ``tls``: context and the name to verify. ``secrets``: shared key, user and password ("" without).
        """
        super().__init__(tag, host, port, timeout=timeout, nanosecond_precision=True, forward_packet_error=False)
        self._ack_timeout = ack_timeout
        self._tls = tls
        self._secrets = secrets
        self._keepalive = True
        self._unpacker: Any = None
        self.socket: Any = None

    def connect(self) -> None:
        """
        Connect anew unless there is a connection that nobody has closed or written to.

        :raises NotConnectedError: the server cannot be reached, or the handshake failed.
        """
        if self.socket is not None and self._is_stale():
            self._close()
        if self.socket is not None:
            return
        try:
            self._reconnect()
            if self._secrets is not None:
                self._handshake(*self._secrets)
        except (OSError, ValueError) as error:
            self._close()
            raise NotConnectedError(f"connecting to fluentd at {self._address}: {error}") from error

    def deliver(self, message: bytes, chunk: str) -> None:
        """
        Send one batch over the connection that ``connect`` made, and wait until it is acknowledged.

        :raises DoubtError: anything else than the acknowledgement of this chunk; the connection is closed.
        """
        try:
            self.socket.sendall(message)
            answer = self._read(time.monotonic() + self._ack_timeout)
        except (OSError, ValueError) as error:
            self._close()
            raise DoubtError(f"waiting for fluentd's acknowledgement: {str(error) or type(error).__name__}") from error
        if not acknowledges(answer, chunk):
            self._close()
            raise DoubtError("waiting for fluentd's acknowledgement: it answered something else")
        if not self._keepalive:
            self._close()

    def disconnect(self) -> None:
        """
        Close the connection; ``connect`` opens a new one.
        """
        self._close()

    @property
    def _address(self) -> str:
        return str(self.host) if self.host.startswith("unix://") else f"{self.host}:{self.port}"

    def _reconnect(self) -> None:
        """
        Open the connection; the original speaks IPv4 and plain text only.
        """
        if self.host.startswith("unix://"):
            super()._reconnect()
        else:
            self.socket = socket.create_connection((self.host, self.port), self.timeout)
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._tls is not None:
            context, name = self._tls
            self.socket = context.wrap_socket(self.socket, server_hostname=name)
        self._keepalive = True
        self._unpacker = msgpack.Unpacker(raw=True, strict_map_key=False, max_buffer_size=_MAX_ANSWER)

    def _is_stale(self) -> bool:
        """
        Say whether the server has closed the connection, or has said something that nobody asked for.
        """
        try:
            self.socket.settimeout(0.0)
            self.socket.recv(1)
        except (BlockingIOError, ssl.SSLWantReadError):
            return False
        except OSError:
            return True
        finally:
            self.socket.settimeout(self.timeout)
        return True

    def _handshake(self, shared_key: str, username: str, password: str) -> None:
        helo = Helo.read(self._read(time.monotonic() + self.timeout))
        if helo is None:
            raise ValueError("the server did not begin with HELO; it may have no shared_key")
        login = Login(shared_key, username, password, socket.gethostname(), os.urandom(16).hex())
        self.socket.sendall(login.ping(helo))
        failure = login.verdict(helo, self._read(time.monotonic() + self.timeout))
        if failure is not None:
            raise ValueError(failure)
        self._keepalive = helo.keepalive

    def _read(self, deadline: float) -> Any:
        """
        Return the next message of the server, in as many pieces as it comes.

        :raises OSError: not in time, closed, or more than a message may be.
        :raises ValueError: it is not MessagePack.
        """
        try:
            while True:
                for message in self._unpacker:
                    return message
                self.socket.settimeout(max(deadline - time.monotonic(), 0.001))
                data = self.socket.recv(4096)
                if not data:
                    raise ConnectionResetError("the server closed the connection")
                self._unpacker.feed(data)
        except (msgpack.UnpackException, msgpack.BufferFull, UnicodeDecodeError) as error:
            raise ValueError(f"the answer is no message ({type(error).__name__})") from error
        finally:
            self.socket.settimeout(self.timeout)
