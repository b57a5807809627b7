"""
Every receiver's decoders without sockets: what the receivers register with their listeners, and the two that have none.

What is decoded goes on through a kernel, so that a body which a receiver makes of hostile input is tried too.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

import structlog

from meterline.api import (
    ANONYMOUS,
    Answer,
    Body,
    Format,
    ReceiverContext,
    Sample,
    Status,
    SystemClock,
    TooLargeError,
    UndecodableError,
)
from meterline.encodings.forward import Cutter
from meterline.kernel import load_kernel
from meterline.plugins import load_receiver
from meterline.receivers.files.decoding import decode as decode_lines
from meterline.receivers.files.lines import Line
from meterline.receivers.fluent_forward.config import FluentForwardConfig
from meterline.receivers.fluent_forward.decode import Decoder
from meterline.serving.codecs import CODECS, decompress, encoding_of
from meterline.serving.http.head import head_of
from meterline.serving.seam import Call, Endpoint, Method, Page
from meterline.serving.seam import Request as HttpRequest
from meterline.testing.fake_intake import FakeIntake
from meterline.testing.kernel import KernelHarness
from meterline.testing.rules import SimpleRule
from meterline.testing.wires import Request, Wire

LIMIT: Final = 8 * 1024 * 1024
_LISTEN: Final = {"endpoint": "127.0.0.1:0", "max_request_bytes": LIMIT}
_FORMATS: Final = ("auto", "vector", "logstash", "fluent_bit", "cloudevents", "amplitude", "mixpanel")
CONFIGS: Final[Mapping[str, Mapping[str, Any]]] = {
    "otlp": {"http": _LISTEN, "grpc": _LISTEN},
    "prometheus": _LISTEN,
    "loki": _LISTEN,
    "json": {**_LISTEN, "formats": _FORMATS},
    "vector": _LISTEN,
    "usage": {"http": _LISTEN, "grpc": _LISTEN},
}
_BODIES_OF_A_KERNEL: Final = 5_000
_NOW: Final = 1_795_000_000 * 10**9


class RefusedError(Exception):
    """
    The request was refused in a documented way.
    """


class _Registered:
    """
    Listeners that open nothing and keep what is registered.
    """

    endpoint = "127.0.0.1:0"

    def __init__(self) -> None:
        self.endpoints: list[Endpoint] = []
        self.methods: list[Method] = []
        self.pages: list[Page] = []

    def http(
        self, _receiver: str, _config: Any, _context: Any, endpoints: Sequence[Endpoint], pages: Sequence[Page] = ()
    ) -> "_Registered":
        self.endpoints += endpoints
        self.pages += pages
        return self

    def grpc(self, _receiver: str, _config: Any, _context: Any, methods: Sequence[Method]) -> "_Registered":
        self.methods += methods
        return self

    def stop(self, grace_secs: float) -> None:
        del grace_secs

    def samples(self) -> Iterable[Sample]:
        return ()


class Doors:
    """
    All decoders, and a kernel behind them. ``endpoints``: by path; ``methods``: likewise.
    """

    def __init__(self) -> None:
        registered = _Registered()
        for name, values in CONFIGS.items():
            _start(name, values, registered)
        self.endpoints = {path: endpoint for endpoint in registered.endpoints for path in endpoint.paths}
        self.methods = {method.path: method for method in registered.methods}
        self.pages = {path: page for page in registered.pages for path in page.paths}
        self._forward = Decoder(FluentForwardConfig.model_validate({"type": "fluent_forward"}))
        self._kernel = _kernel()
        self._metered = 0

    def knock(self, wire: Wire, request: Request) -> list[Body]:
        """
        Decode a request as its receiver would, and take what it makes through the kernel.

        :raises RefusedError: it is refused as the seam documents it; anything else that is raised is a defect.
        """
        decode = self._decoder(wire)
        try:
            bodies = decode(request)
        except (UndecodableError, TooLargeError) as error:
            raise RefusedError(str(error)) from error
        for body in bodies:
            self._meter(body, as_sent=wire.receiver == "otlp")
        return bodies

    def _decoder(self, wire: Wire) -> Callable[[Request], list[Body]]:
        if wire.transport == "http":
            return self._http
        if wire.transport == "grpc":
            return self._grpc
        return self._messages if wire.transport == "forward" else self._lines

    def _meter(self, body: Body, *, as_sent: bool) -> None:
        """
        Send a body through the kernel, which may refuse nothing but what a sender itself wrote.
        """
        self._metered += 1
        if self._metered % _BODIES_OF_A_KERNEL == 0:  # the harness keeps all frames
            self._kernel = _kernel()
        try:
            self._kernel.send(body.data, body.fmt)
        except UndecodableError as error:
            if not as_sent:
                raise AssertionError(f"a receiver made a body that is none of its format: {error}") from error
            raise RefusedError(str(error)) from error

    def _http(self, request: Request) -> list[Body]:
        head = head_of("POST", request.path, request.headers.items())
        endpoint = self.endpoints[head.path]
        encoding = head.headers.get("content-encoding", "").strip().lower()
        if not endpoint.accepts(head) or (encoding and encoding not in CODECS):
            raise RefusedError("media type")
        body = decompress(encoding, (request.body,), LIMIT, _admit) if encoding else request.body
        received = HttpRequest(head, body, ANONYMOUS, "", _NOW)
        decoded = endpoint.decode(received)
        if all(body.fmt is not Format.USAGE for body in decoded.bodies):  # their answer needs the items' outcomes
            endpoint.answer(received, decoded, Answer(Status.STORED))
        return list(decoded.bodies)

    def _grpc(self, request: Request) -> list[Body]:
        encoding = encoding_of(request.body)
        message = decompress(encoding, (request.body,), LIMIT, _admit) if encoding else request.body
        return list(self.methods[request.path].decode(Call({}, message, ANONYMOUS, "", _NOW)).bodies)

    def _messages(self, request: Request) -> list[Body]:
        cutter = Cutter(LIMIT)
        cutter.feed(request.body)
        bodies: list[Body] = []
        while (message := cutter.cut()) is not None:
            bodies += self._forward.decode(message, ANONYMOUS, "", _NOW, _admit).decoded.bodies
        return bodies

    def _lines(self, request: Request) -> list[Body]:
        data = [Line(text, 0, len(text)) for text in request.body.split(b"\n")]
        forms = ("auto", "otlp_json", "loki", "usage")
        return [body for form in forms for body in decode_lines(data, "file", form=form)]


def _kernel() -> KernelHarness:
    readings = SimpleRule("readings", metric="*", customer="customer")
    return KernelHarness(load_kernel(), readings, SimpleRule("events", metric=None, customer="customer"))


def _start(name: str, values: Mapping[str, Any], registered: _Registered) -> None:
    kind = load_receiver(name)
    config = kind.Config.model_validate({"type": name, **values})
    kind(name, config, _context(registered)).start()


def _context(registered: _Registered) -> Any:
    return ReceiverContext(_no_intake(), SystemClock(), structlog.get_logger(), listeners=registered)


def _no_intake() -> FakeIntake:
    """
    Return one that is ready, and never asked.
    """
    intake = FakeIntake()
    intake.decide = _never_asked
    return intake


def _never_asked(_body: Body) -> Answer:
    raise AssertionError("submitting: these decoders have no intake")


def _admit(_nbytes: int) -> None:
    pass
