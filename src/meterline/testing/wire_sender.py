"""
Senders for ``testing.wires``: each request again until it is stored; anything but "stored" or "again" is an error.
"""

import http.client
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import grpc

from meterline.testing.forward_client import ForwardClient
from meterline.testing.wires import Request

_AGAIN_SECS: Final = 0.05
_TIMEOUT_SECS: Final = 30.0


class Sender(ABC):
    """
    One connection; used by one thread.
    """

    def send(self, request: Request, timeout_secs: float = 60.0) -> bytes:
        """
        Send until it is stored, and return the answer. Raises TimeoutError, or AssertionError when it is refused for good.
        """
        deadline = time.monotonic() + timeout_secs
        while time.monotonic() < deadline:
            try:
                answer = self.attempt(request)
            except (OSError, http.client.HTTPException):
                answer = None
                self.close()
            if answer is not None:
                return answer
            time.sleep(_AGAIN_SECS)
        raise TimeoutError(f"sending to {request.path or 'a socket'}: not stored within {timeout_secs:g} s")

    @abstractmethod
    def attempt(self, request: Request) -> bytes | None:
        """
        Send once; None: send again. Raises AssertionError when it is refused for good, OSError when there is no answer.
        """

    @abstractmethod
    def close(self) -> None:
        """
        Close the connection; the next request opens another.
        """


class HttpSender(Sender):
    """
    HTTP/1.1 with keep-alive.
    """

    def __init__(self, target: str, headers: Mapping[str, str] | None = None) -> None:
        """
        ``headers`` go with every request.
        """
        self._target = target
        self._headers = dict(headers or {})
        self._connection: http.client.HTTPConnection | None = None

    def exchange(self, request: Request, method: str = "POST") -> tuple[int, Mapping[str, str], bytes]:
        """
        Send once, and return status, headers by lower-case name, and body.
        """
        if self._connection is None:
            self._connection = http.client.HTTPConnection(self._target, timeout=_TIMEOUT_SECS)
        self._connection.request(method, request.path, request.body, {**self._headers, **request.headers})
        response = self._connection.getresponse()
        body = response.read()
        headers = {name.lower(): value for name, value in response.getheaders()}
        return response.status, headers, body

    def attempt(self, request: Request) -> bytes | None:
        """
        Send once.
        """
        status, _, body = self.exchange(request)
        assert status // 100 == 2 or status == 503, f"{request.path}: refused with {status}: {body[:300]!r}"
        return None if status == 503 else body

    def close(self) -> None:
        """
        Close the connection.
        """
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class GrpcSender(Sender):
    """
    Unary calls of serialized messages.
    """

    def __init__(self, target: str, metadata: tuple[tuple[str, str], ...] = ()) -> None:
        """
        ``metadata`` goes with every call.
        """
        self._target = target
        self._metadata = metadata
        self._channel: Any = None

    def attempt(self, request: Request) -> bytes | None:
        """
        Call once.
        """
        if self._channel is None:
            self._channel = grpc.insecure_channel(self._target)
        call = self._channel.unary_unary(request.path)
        try:
            answer: bytes = call(request.body, timeout=_TIMEOUT_SECS, metadata=self._metadata)
        except grpc.RpcError as error:
            if error.code() is grpc.StatusCode.UNAVAILABLE:
                return None
            raise AssertionError(f"{request.path}: refused with {error}") from error
        return answer

    def close(self) -> None:
        """
        Close the channel.
        """
        if self._channel is not None:
            self._channel.close()
            self._channel = None


class ForwardSender(Sender):
    """
    The forward protocol with acknowledgements: a request has its ``chunk``.
    """

    def __init__(self, target: str, login: tuple[str, str, str] | None = None) -> None:
        """
        ``target``: host:port. ``login``: shared key, username and password of the handshake.
        """
        self._target = target
        self._login = login
        self._client: ForwardClient | None = None

    def attempt(self, request: Request) -> bytes | None:
        """
        Send once and wait for the acknowledgement; a closed connection means "again".
        """
        if self._client is None:
            self._client = ForwardClient(self._target)
            if self._login is not None:
                self._client.log_in(*self._login)
        self._client.send(request.body)
        answer = self._client.receive()
        if answer is None:
            raise ConnectionResetError("reading an acknowledgement: the connection was closed")
        return str(answer["ack"]).encode()

    def close(self) -> None:
        """
        Close the connection.
        """
        if self._client is not None:
            self._client.close()
            self._client = None


class FileSender(Sender):
    """
    Appends to a file, which is stored when the receiver has read it.
    """

    def __init__(self, path: Path) -> None:
        """
        The folder of ``path`` is there.
        """
        self._path = path

    def attempt(self, request: Request) -> bytes:
        """
        Append.
        """
        with self._path.open("ab") as file:
            file.write(request.body)
        return b""

    def close(self) -> None:
        """
        Nothing is open.
        """
