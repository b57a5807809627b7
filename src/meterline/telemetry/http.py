"""
A small HTTP server for operators: GET only, a table of paths, one thread a request, nothing kept alive.
"""

import json
import socket
import socketserver
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

_REQUEST_TIMEOUT_SECS = 10.0


@dataclass(frozen=True, slots=True)
class Reply:
    """
    What a route answers.
    """

    status: int
    content_type: str
    body: bytes

    @classmethod
    def json(cls, status: int, data: Mapping[str, Any]) -> "Reply":
        """
        Answer with one JSON object and a newline, for people with curl.
        """
        return cls(status, "application/json", json.dumps(data, default=str).encode() + b"\n")


Route = Callable[[Mapping[str, str]], Reply]
"""From the request's headers to an answer; called on a thread of the request."""


def split_endpoint(endpoint: str) -> tuple[str, int]:
    """
    Split ``host:port``, with brackets around an IPv6 address. Raises ValueError.
    """
    host, separator, port = endpoint.rpartition(":")
    if not separator or not port.isdecimal() or int(port) > 65_535:
        raise ValueError(f"reading endpoint {endpoint!r}: expected host:port, for example 127.0.0.1:8888")
    return host.removeprefix("[").removesuffix("]"), int(port)


class Listener:
    """
    One bound address and its routes. Binds in ``start``, never in ``__init__``.
    """

    def __init__(self, endpoint: str, routes: Mapping[str, Route]) -> None:
        self._address = split_endpoint(endpoint)
        self._routes = routes
        self._server: _Server | None = None

    def start(self) -> None:
        """
        Bind and answer. Raises OSError when the address cannot be bound.
        """
        server = _Server(self._address, self._routes)
        threading.Thread(target=server.serve_forever, name=f"http-{self._address[1]}", daemon=True).start()
        self._server = server

    @property
    def endpoint(self) -> str:
        """
        Return the address really bound; port 0 in the config becomes a real one here.
        """
        host, port = self._address if self._server is None else self._server.server_address[:2]
        name = host.decode() if isinstance(host, bytes | bytearray) else str(host)
        return f"[{name}]:{port}" if ":" in name else f"{name}:{port}"

    def stop(self) -> None:
        """
        Stop answering and free the address. Legal without ``start``, and twice.
        """
        server, self._server = self._server, None
        if server is not None:
            server.shutdown()
            server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False  # a slow reader of metrics must not hold up a shutdown

    def __init__(self, address: tuple[str, int], routes: Mapping[str, Route]) -> None:
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self.routes = routes
        super().__init__(address, _Handler)

    def server_bind(self) -> None:
        # HTTPServer.server_bind asks the resolver for a host name that nothing here uses; that can take seconds.
        socketserver.TCPServer.server_bind(self)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """
        Say nothing about a client that went away.
        """


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = _REQUEST_TIMEOUT_SECS
    server_version = "meterline"
    sys_version = ""

    def do_GET(self) -> None:
        route = self.server.routes.get(self.path.partition("?")[0])
        if route is None:
            known = {"error": "no such path", "paths": sorted(self.server.routes)}
            self._send(Reply.json(404, known))
        else:
            self._send(route({key.lower(): value for key, value in self.headers.items()}))

    do_HEAD = do_GET  # noqa: N815 - the name http.server looks for

    def _send(self, reply: Reply) -> None:
        self.send_response(reply.status)
        self.send_header("Content-Type", reply.content_type)
        self.send_header("Content-Length", str(len(reply.body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(reply.body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name http.server calls it by
        """
        Log nothing: scrapes and probes are normal operation.
        """
