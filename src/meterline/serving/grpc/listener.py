"""
The gRPC listener: options of the core, services, threads, start and drain.
"""

import re
import socket
import threading
from collections.abc import Iterable, Sequence
from typing import Any, cast

import grpc
from grpc_health.v1 import health_pb2_grpc

from meterline.api import ConfigurationError, ReceiverContext, Sample
from meterline.api.network import host_and_port
from meterline.serving.auth import Authenticator
from meterline.serving.config import GrpcListenerConfig
from meterline.serving.counters import SignalCounters
from meterline.serving.exposure import require_guarded
from meterline.serving.faults import described
from meterline.serving.grpc.calls import Calls
from meterline.serving.grpc.certificates import Handshakes
from meterline.serving.grpc.health import Health
from meterline.serving.grpc.parts import Part, Routes, services_of
from meterline.serving.grpc.reflection import Reflection
from meterline.serving.memory import keep_large_blocks
from meterline.serving.pool import DaemonPool
from meterline.serving.rates import Rates
from meterline.serving.registration import Registration
from meterline.serving.seam import Method
from meterline.serving.tls import CertificateFiles

MINIMUM_GRPCIO = (1, 84)
MAX_THREADS = 256
STALLED_SECS = 10.0
_WATCH_SECS = 0.5
_UNLIMITED = 2**31 - 1
_METADATA_BYTES = 32_768  # a call's headers; as HTTP's max_header_bytes by default


def options(config: GrpcListenerConfig) -> list[tuple[str, int]]:
    """
    Return the core's channel arguments for this configuration.

    Never ``maximum_concurrent_rpcs``, and no limit on pending requests: the core would cancel calls or answer
    RESOURCE_EXHAUSTED by itself, and senders drop on that. What may wait is bounded by connections x streams.
    """
    return [
        ("grpc.so_reuseport", 0),  # a second process on the port is an error, not half of the traffic
        ("grpc.per_message_decompression", 0),
        ("grpc.max_receive_message_length", config.max_request_bytes),
        ("grpc.max_metadata_size", _METADATA_BYTES),
        ("grpc.absolute_max_metadata_size", _METADATA_BYTES),
        ("grpc.max_concurrent_streams", config.max_concurrent_streams),
        ("grpc.max_allowed_incoming_connections", config.max_connections),
        ("grpc.server.max_pending_requests", _UNLIMITED),
        ("grpc.server.max_pending_requests_hard_limit", _UNLIMITED),
        ("grpc.server_handshake_timeout_ms", 10_000),
        ("grpc.keepalive_time_ms", round(config.keepalive.time_secs * 1000)),
        ("grpc.keepalive_timeout_ms", round(config.keepalive.timeout_secs * 1000)),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_ping_interval_without_data_ms", 10_000),  # senders may ping, too
        *(
            [("grpc.max_connection_age_ms", round(config.max_connection_age_secs * 1000))]
            if config.max_connection_age_secs
            else []
        ),
    ]


def require_grpcio(version: str) -> None:
    """
    Refuse a grpcio that inflates a gzip bomb before it checks its size.

    :raises ConfigurationError: the version is older than 1.84.
    """
    found = tuple(int(part) for part in re.findall(r"\d+", version)[:2])
    if found < MINIMUM_GRPCIO:
        raise ConfigurationError(
            f"starting grpc listener: grpcio {version} can be made to exhaust memory; install grpcio>=1.84"
        )


class GrpcListener:
    """
    One port with the methods of one or several receivers, health and reflection. Those two need no credential.

    ``add`` before ``start`` or later; the last receiver to leave closes the port.
    """

    def __init__(self, config: GrpcListenerConfig, context: ReceiverContext, rates: Rates | None = None) -> None:
        """
        ``context``: of the receiver that is there first. ``rates``: those of the gateway; None: its own.
        """
        self._config = config
        self._context = context
        self._name = ""
        self._routes = Routes()
        self._calls = Calls(self._routes, config, context, rates or Rates(context.clock))
        self._pool = DaemonPool(f"grpc-{config.endpoint}", MAX_THREADS)
        self._health = Health(lambda: context.intake.ready)
        self._reflection = Reflection()
        self._certificates: CertificateFiles | None = None
        self._server: Any = None
        self._stopping = threading.Event()
        self._leaving = threading.Lock()
        self.endpoint = ""

    @property
    def closed(self) -> bool:
        """
        Say whether it was stopped: nobody can be added any more.
        """
        return self._stopping.is_set()

    def settle(self, *, settled: bool) -> None:
        """
        Say whether all receivers are there: until then an unknown method is refused for now, and not as unknown.
        """
        self._calls.settled = settled

    def add(
        self, receiver: str, config: GrpcListenerConfig, context: ReceiverContext, methods: Sequence[Method]
    ) -> Registration[Part]:
        """
        Serve a receiver's methods, under its own credentials. ``config``: as the listener's, but for ``auth``.

        :raises ConfigurationError: the listener would be open to everybody, or a method is taken.
        """
        require_guarded(receiver, config, context.auth, context.log)
        mutual = config.tls is not None and config.tls.client_ca_file is not None
        auth = Authenticator(config.auth or context.auth, by_certificate=mutual, clock=context.clock, log=context.log)
        counters = {method.signal: SignalCounters(method.signal) for method in methods}
        part = Part(receiver, context, auth, counters, services_of(methods))
        self._routes.add(part, methods)
        self._name = self._name or receiver
        self._health.add(part.services)
        self._reflection.add(part.services)
        auth.prepare()
        return Registration(self, part)

    def start(self) -> None:
        """
        Bind and serve.

        :raises ConfigurationError: the address cannot be bound, a certificate cannot be used, grpcio is too old.
        """
        require_grpcio(grpc.__version__)
        keep_large_blocks()
        if self._config.tls is not None:
            self._certificates = CertificateFiles(self._config.tls, self._context.log)
        server: Any = grpc.server(cast("Any", self._pool), handlers=[self._calls], options=options(self._config))
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        self._reflection.attach(server)
        self.endpoint = self._bind(server)
        server.start()
        self._server = server
        threading.Thread(target=self._watch, name=f"grpc-watch-{self.endpoint}", daemon=True).start()

    def _bind(self, server: Any) -> str:
        address = self._config.endpoint
        credentials = Handshakes(self._certificates).credentials() if self._certificates else None
        try:
            port = server.add_secure_port(address, credentials) if credentials else server.add_insecure_port(address)
        except RuntimeError as error:
            raise ConfigurationError(
                f"binding receiver {self._name!r} to {address}: {_why_not(address)}; "
                "stop what listens there, or change the receiver's grpc.endpoint"
            ) from error
        return address if address.startswith("unix:") else f"{address.rpartition(':')[0]}:{port}"

    def _watch(self) -> None:
        """
        Tell those who watch our health of changes; look after the certificate between connections, and after the threads.
        """
        while not self._stopping.wait(_WATCH_SECS):
            try:
                self._look()
            except Exception as error:  # noqa: BLE001 - without it no stalled call would ever be cancelled again
                self._complain(error)

    def _complain(self, error: Exception) -> None:
        self._context.log.error("looking after connections failed", endpoint=self.endpoint, error=described(error))

    def _look(self) -> None:
        if self._pool.exhausted and (count := self._calls.inbox.cancel_stalled(STALLED_SECS)):
            self._context.log.warning("cancelled calls that kept their request back while others waited", calls=count)
        self._health.refresh()
        if self._certificates is not None:
            self._certificates.refresh()

    def remove(self, part: Part, grace_secs: float) -> None:
        """
        Serve a receiver no longer; the last one closes the port.
        """
        with self._leaving:
            if part.leaving or self.closed:
                return
            last = all(other is part or other.leaving for other in self._routes.parts)
            if last:
                self._stopping.set()  # and nobody leaves any more
            part.leaving = not last  # the last one's calls are ended by the core
        if last:
            self.stop(grace_secs)
        else:
            self._health.remove(part.services)
            part.drain(grace_secs)

    def stop(self, grace_secs: float) -> None:
        """
        NOT_SERVING, no new calls, then wait for those in flight; what has no answer after the grace is cancelled.
        """
        self._stopping.set()
        server, self._server = self._server, None
        if server is not None:
            self._health.drain()
            server.stop(grace_secs).wait(grace_secs + 1)
            self._pool.shutdown(wait=False)

    def samples(self, part: Part) -> Iterable[Sample]:
        """
        Return what a receiver counts; the first one has the listener's own numbers, too.
        """
        yield from part.samples()
        if part is not self._routes.parts[0]:
            return
        labels = {"receiver": part.receiver, "transport": "grpc"}
        yield Sample("meterline_receiver_in_flight_bytes", labels, self._calls.budget.used)
        yield Sample("meterline_receiver_waiting_requests", labels, self._pool.waiting)
        yield Sample("meterline_receiver_threads", labels, self._pool.threads)
        if self._certificates is not None:
            yield from self._certificates.samples(labels)


def _why_not(address: str) -> str:
    """
    Return the operating system's reason, which the core keeps to itself.
    """
    try:
        host, port = host_and_port(address)
        family, kind, protocol, _, target = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.bind(target)
    except (OSError, ValueError) as error:
        return str(getattr(error, "strerror", None) or error).lower()
    return "it was refused"
