"""
One connection, and one request at a time on it: so that it is always known whether anything had been sent.
"""

import contextlib
import time
from collections.abc import Mapping
from http.client import HTTPException
from typing import Final

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError
from urllib3.response import BaseHTTPResponse
from urllib3.util import parse_url
from urllib3.util.connection import is_connection_dropped

from meterline.api import NotConnectedError, PausedError
from meterline.api.network import ClientTls
from meterline.exporters.http.answer import Answer

BODY_BYTES: Final = 65_536
"""No more of an answer's body is read."""


class NoAnswerError(Exception):
    """
    The request may have arrived, and no answer came.
    """


class Wire:
    """
    A connection to the endpoint, made when it is needed.
    """

    def __init__(self, endpoint: str, tls: ClientTls, timeout_secs: float) -> None:
        url = parse_url(endpoint)
        self._endpoint = f"{url.scheme}://{url.netloc}"
        self._target = url.request_uri
        self._host, self._port, self._secure = url.host or "", url.port, url.scheme == "https"
        self._tls = tls
        self._timeout = timeout_secs
        self._connection: HTTPConnection | None = None

    def open(self) -> HTTPConnection:
        """
        Return a connection that stands; the far side may have closed an idle one.

        :raises NotConnectedError: there is none to be had now.
        :raises PausedError: a certificate file cannot be used.
        """
        connection = self._connection
        if connection is not None and connection.sock is not None and not is_connection_dropped(connection):
            return connection
        self.close()
        connection = self._make()
        try:
            connection.connect()
        except (HTTPError, OSError) as error:
            connection.close()
            raise NotConnectedError(f"connecting to {self._endpoint}: {error}") from error
        self._connection = connection
        return connection

    def _make(self) -> HTTPConnection:
        if not self._secure:
            return HTTPConnection(self._host, self._port, timeout=self._timeout)
        try:
            context = self._tls.context()
        except OSError as error:
            raise PausedError(str(error)) from error
        name = self._tls.server_name
        return HTTPSConnection(self._host, self._port, timeout=self._timeout, ssl_context=context, server_hostname=name)

    def post(self, body: bytes, headers: Mapping[str, str]) -> Answer:
        """
        Send one request and return its answer.

        :raises NotConnectedError: nothing was sent.
        :raises NoAnswerError: the request may have arrived.
        """
        connection = self.open()
        try:
            response = self._exchange(connection, body, headers)
        except (HTTPError, HTTPException, OSError) as error:
            self.close()
            raise NoAnswerError(f"{self._endpoint} did not answer: {type(error).__name__}: {error}") from error
        answered = response.headers
        return Answer(response.status, answered.get("Retry-After"), answered.get("Location"), self._read(response))

    def _exchange(self, connection: HTTPConnection, body: bytes, headers: Mapping[str, str]) -> BaseHTTPResponse:
        """
        An answer may come, and the connection end, before all of the body was sent: then it is read all the same.
        """
        try:
            connection.request("POST", self._target, body, headers, preload_content=False, decode_content=False)
        except (BrokenPipeError, ConnectionResetError):
            with contextlib.suppress(HTTPError, HTTPException, OSError):
                return connection.getresponse()
            raise
        return connection.getresponse()

    def _read(self, response: BaseHTTPResponse) -> bytes:
        """
        Read what there is of the body, for so long and so much; the status alone decides, so a failure here is none.
        """
        body, end = b"", time.monotonic() + self._timeout
        with contextlib.suppress(HTTPError, HTTPException, OSError):
            while len(body) < BODY_BYTES and time.monotonic() < end:
                piece = response.read1(BODY_BYTES - len(body), decode_content=False)
                if not piece:
                    response.release_conn()
                    return body
                body += piece
        self.close()
        return body

    def close(self) -> None:
        """
        Close the connection.
        """
        if self._connection is not None:
            self._connection.close()
            self._connection = None
