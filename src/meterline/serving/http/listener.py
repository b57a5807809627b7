"""
One open port, and the receivers behind it.
"""

import asyncio
import socket
import threading
from collections.abc import Iterable, Sequence

from meterline.api import ReceiverContext, Sample
from meterline.poison import Poison
from meterline.serving.admission import ByteBudget
from meterline.serving.auth import Authenticator
from meterline.serving.config import HttpListenerConfig
from meterline.serving.counters import SignalCounters
from meterline.serving.exposure import require_guarded
from meterline.serving.faults import described
from meterline.serving.http import sockets
from meterline.serving.http.acceptor import Acceptor
from meterline.serving.http.connection import Connections
from meterline.serving.http.cors import Cors
from meterline.serving.http.exchange import Site, serve
from meterline.serving.http.loop import EventLoop
from meterline.serving.http.routes import Part, Routes
from meterline.serving.memory import keep_large_blocks
from meterline.serving.rates import Rates
from meterline.serving.registration import Registration
from meterline.serving.seam import Endpoint, Page
from meterline.serving.tls import CertificateFiles

_TICK_SECS = 0.25
_DRAIN_TICK_SECS = 0.01


class HttpListener:
    """
    An HTTP/1.1 server for the endpoints of one or several receivers.

    ``add`` before ``start`` or later; the last receiver to leave closes the port. Any thread but the loop's.
    """

    def __init__(
        self,
        config: HttpListenerConfig,
        context: ReceiverContext,
        loop: EventLoop | None = None,
        rates: Rates | None = None,
    ) -> None:
        """
        ``context``: of the receiver that is there first. ``loop``, ``rates``: those of the gateway; None: its own.
        """
        self._config = config
        self._log = context.log
        self._loop = loop or EventLoop()
        budget = ByteBudget(config.max_in_flight_bytes)
        rates = rates or Rates(context.clock)
        self._site = Site(config, context.log, self._loop, rates, Routes(), Cors(config.cors), Poison(), budget)
        self._connections = Connections(config, lambda request: serve(self._site, request), context.log)
        self._socket: socket.socket | None = None
        self._acceptor: Acceptor | None = None
        self._watchdog: asyncio.Task[None] | None = None
        self._certificates: CertificateFiles | None = None
        self._leaving = threading.Lock()
        self.endpoint = ""

    @property
    def closed(self) -> bool:
        """
        Say whether it was stopped: nobody can be added any more.
        """
        return self._site.closing

    def settle(self, *, settled: bool) -> None:
        """
        Say whether all receivers are there: until then an unknown path is refused for now, and not as unknown.
        """
        self._site.settled = settled

    def add(
        self,
        receiver: str,
        config: HttpListenerConfig,
        context: ReceiverContext,
        endpoints: Sequence[Endpoint],
        pages: Sequence[Page] = (),
    ) -> Registration[Part]:
        """
        Serve a receiver's endpoints and pages, under its own credentials.

        :raises ConfigurationError: the listener would be open to everybody, or a path is taken.
        """
        require_guarded(receiver, config, context.auth, context.log)
        mutual = config.tls is not None and config.tls.client_ca_file is not None
        auth = Authenticator(config.auth or context.auth, by_certificate=mutual, clock=context.clock, log=context.log)
        counters = {endpoint.signal: SignalCounters(endpoint.signal) for endpoint in endpoints}
        part = Part(receiver, context, auth, counters)
        self._site.routes.add(part, endpoints, pages)
        auth.prepare()
        return Registration(self, part)

    def start(self) -> None:
        """
        Bind and serve.

        :raises ConfigurationError: the address cannot be bound, or a certificate cannot be used.
        """
        keep_large_blocks()
        if self._config.tls is not None:
            self._certificates = CertificateFiles(self._config.tls, self._log)
        parts = self._site.routes.parts
        self._socket = sockets.listen(parts[0].receiver if parts else "http", self._config.endpoint)
        self.endpoint = sockets.address_of(self._socket, self._config.endpoint)
        self._loop.acquire()
        self._loop.run(self._open(self._socket))

    async def _open(self, bound: socket.socket) -> None:
        tls = self._certificates
        context = (lambda: tls.current.context) if tls is not None else None
        self._acceptor = Acceptor(bound, self._connections, context, self._config.header_timeout_secs)
        self._watchdog = asyncio.create_task(self._watch())

    async def _watch(self) -> None:
        """
        Look after every connection's deadline and the certificate, a few times a second.
        """
        while True:
            await asyncio.sleep(_TICK_SECS)
            try:
                self._connections.expire()
                if self._certificates is not None:
                    self._certificates.refresh()
            except Exception as error:  # noqa: BLE001 - without it nobody would ever be cut off again
                self._complain(error)

    def _complain(self, error: Exception) -> None:
        self._log.error("looking after connections failed", endpoint=self.endpoint, error=described(error))

    def remove(self, part: Part, grace_secs: float) -> None:
        """
        Refuse a receiver's requests for now, and let what is in flight have its answer; the last one closes the port.
        """
        with self._leaving:
            if part.leaving or self.closed:
                return
            last = all(other is part or other.leaving for other in self._site.routes.parts)
            part.leaving = True
            waits = not last and self._socket is not None
            if waits:
                self._loop.acquire()  # or whoever leaves last meanwhile would end the loop under us
        if last:
            self.stop(grace_secs)
        elif waits:
            self._drain(part, grace_secs)

    def _drain(self, part: Part, grace_secs: float) -> None:
        try:
            self._loop.run(_drained([part], grace_secs))
        finally:
            self._loop.release()

    def stop(self, grace_secs: float) -> None:
        """
        Stop accepting, answer what is in flight for up to the grace, then close. Legal without ``start``, and twice.
        """
        self._site.closing = True
        for part in self._site.routes.parts:
            part.leaving = True
        bound, self._socket = self._socket, None
        if bound is not None:
            self._loop.run(self._close(bound, grace_secs))
            self._loop.release()

    async def _close(self, bound: socket.socket, grace_secs: float) -> None:
        if self._acceptor is not None:
            await self._acceptor.close()
        sockets.close(bound, self._config.endpoint)
        await _drained(self._site.routes.parts, grace_secs)
        if self._watchdog is not None:
            self._watchdog.cancel()
        await self._connections.close()

    def samples(self, part: Part) -> Iterable[Sample]:
        """
        Return what a receiver counts; the first one has the listener's own numbers, too.
        """
        yield from part.samples()
        if part is not self._site.routes.parts[0]:
            return
        labels = {"receiver": part.receiver, "transport": "http"}
        yield Sample("meterline_receiver_in_flight_bytes", labels, self._site.budget.used)
        yield Sample("meterline_receiver_connections", labels, self._connections.count)
        yield Sample("meterline_receiver_refused_connections", labels, self._connections.refused)
        yield Sample("meterline_receiver_expired_connections", labels, self._connections.expired)
        if self._certificates is not None:
            yield from self._certificates.samples(labels)


async def _drained(parts: Sequence[Part], grace_secs: float) -> None:
    """
    Wait until no request of these is in flight, or the grace is over.
    """
    loop = asyncio.get_running_loop()
    until = loop.time() + grace_secs
    while any(part.in_flight for part in parts) and loop.time() < until:  # noqa: ASYNC110 - rare, and per request it costs nothing
        await asyncio.sleep(_DRAIN_TICK_SECS)
