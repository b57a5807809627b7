"""
A listener with one scripted receiver behind it, and a client that sees every byte: what the tests of serving are made of.
"""

import http.client
import socket
import ssl
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

import structlog

from meterline.api import Answer, Body, Format, ReceiverContext, SystemClock
from meterline.serving.config import HttpListenerConfig
from meterline.serving.listeners import OpenListeners, Registration
from meterline.serving.seam import Decoded, Endpoint, Head, Page, Refusal, Reply, Request
from meterline.testing.fake_intake import FakeIntake

WAIT_SECS = 20.0


class StubEndpoint(Endpoint):
    """
    Submits the body as it is, unless ``decoder`` says otherwise; remembers all that it was asked.
    """

    signal = "metrics"

    def __init__(self, *paths: str) -> None:
        self.paths = paths or ("/v1/metrics",)
        self.decoder: Callable[[Request], Decoded] = lambda r: Decoded([Body(Format.OTLP_METRICS, r.body)])
        self.wording: Callable[[], None] = lambda: None
        self.requests: list[Request] = []
        self.answers: list[Answer] = []

    def accepts(self, head: Head) -> bool:
        """
        Take everything but pages.
        """
        return head.media_type != "text/html"

    def decode(self, request: Request) -> Decoded:
        """
        Note the request, and ask ``decoder``.
        """
        self.requests.append(request)
        return self.decoder(request)

    def answer(self, request: Request, decoded: Decoded, answer: Answer) -> Reply:  # noqa: ARG002 - one word for all
        """
        Note the answer, and say ``stored``.
        """
        self.wording()
        self.answers.append(answer)
        return Reply(200, b"stored", "text/plain")

    def refuse(self, head: Head, refusal: Refusal) -> Reply:  # noqa: ARG002 - the same words for all
        """
        Say why.
        """
        self.wording()
        return Reply(refusal.cause.value, f"refused: {refusal.message}".encode(), "text/plain")


class StubPage(Page):
    """
    One page of text.
    """

    paths = ("/page",)

    def __init__(self) -> None:
        self.reply = Reply(200, b"a page", "text/plain")

    def get(self, head: Head) -> Reply:  # noqa: ARG002 - one page
        """
        Return it.
        """
        return self.reply


@dataclass(frozen=True)
class Seen:
    """
    One answer. ``headers``: names in lower case.
    """

    status: int
    headers: dict[str, str]
    body: bytes


class _Unbuffered:
    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    def makefile(self, _mode: str) -> Any:
        return self._sock.makefile("rb", buffering=0)


@dataclass
class Rig:
    """
    A registry of listeners, one receiver named ``stub``, and what stands behind it.
    """

    registration: Registration
    endpoint: StubEndpoint
    intake: FakeIntake
    context: ReceiverContext
    listeners: OpenListeners
    config: HttpListenerConfig
    log: list[dict[str, Any]] = field(default_factory=list)
    sockets: list[socket.socket] = field(default_factory=list)

    def connect(self) -> socket.socket:
        """
        Return a new plain connection.
        """
        address = self.registration.endpoint
        if address.startswith("unix:"):
            sock = socket.socket(socket.AF_UNIX)
            sock.connect(address.removeprefix("unix:"))
        else:
            host, port = address.rsplit(":", 1)
            sock = socket.create_connection((host.strip("[]"), int(port)))
        sock.settimeout(WAIT_SECS)
        self.sockets.append(sock)
        return sock

    def read(self, sock: socket.socket, method: str = "POST") -> Seen:
        """
        Read one answer from a socket, not a byte more.
        """
        response = http.client.HTTPResponse(_Unbuffered(sock), method=method)  # type: ignore[arg-type]
        with closing(response):
            response.begin()
            return Seen(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())

    def connect_tls(self, context: ssl.SSLContext) -> ssl.SSLSocket:
        """
        Return a new connection after its handshake.
        """
        sock = context.wrap_socket(self.connect(), server_hostname="localhost")
        self.sockets.append(sock)
        return sock

    def send(
        self,
        body: bytes = b"points",
        headers: Mapping[str, str] | None = None,
        *,
        method: str = "POST",
        path: str = "/v1/metrics",
        over: socket.socket | None = None,
    ) -> Seen:
        """
        Send one request and return its answer; on a new connection, unless told ``over`` which.
        """
        sock = over or self.connect()
        lines = [f"{method} {path} HTTP/1.1", "Host: x", f"Content-Length: {len(body)}"]
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        sock.sendall("\r\n".join([*lines, "", ""]).encode("latin-1") + body)
        return self.read(sock, method)

    def sample(self, name: str, **labels: str) -> float:
        """
        Return a number of the receiver.
        """
        found = [s.value for s in self.registration.samples() if s.name == name and labels.items() <= s.labels.items()]
        assert len(found) == 1, (name, found)
        return found[0]

    def close(self) -> None:
        """
        Close all sockets and stop; nothing may be left reserved.
        """
        for sock in self.sockets:
            sock.close()
        self.registration.stop(5)
        assert self.intake.in_flight == 0, f"{self.intake.in_flight} bytes are still reserved"


def open_rig(*endpoints: StubEndpoint, settled: bool = True, pages: tuple[Page, ...] = (), **options: Any) -> Rig:
    """
    Start a listener with these options, on a free port unless they say otherwise.
    """
    intake = FakeIntake()
    log: list[dict[str, Any]] = []
    logger = structlog.wrap_logger(None, processors=[lambda _, method, event: _keep(log, method, event)])
    listeners = OpenListeners(SystemClock(), settled=settled)
    context = ReceiverContext(intake, SystemClock(), logger, listeners=listeners)
    config = HttpListenerConfig(**{"endpoint": "127.0.0.1:0", **options})
    served = endpoints or (StubEndpoint(),)
    registration = listeners.http("stub", config, context, served, pages)
    return Rig(registration, served[0], intake, context, listeners, config, log)


def _keep(log: list[dict[str, Any]], method: str, event: Any) -> Any:
    log.append({"level": method, **event})
    raise structlog.DropEvent
