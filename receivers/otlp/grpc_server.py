"""
The gRPC listener: options of the core, services, threads, start and drain.
"""

import re
import socket
import threading
from collections.abc import Iterable
from typing import Any, cast

import grpc
from grpc_health.v1 import health, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from meterline.api import ConfigurationError, ReceiverContext, Sample
from meterline.api.network import host_and_port
from meterline.receivers.otlp.export import LOGS_SERVICE, METRICS_SERVICE, ExportService
from meterline.serving.config import GrpcListenerConfig as GrpcConfig
from meterline.serving.grpc.certificates import Handshakes
from meterline.serving.grpc.health import Health
from meterline.serving.memory import keep_large_blocks
from meterline.serving.pool import DaemonPool
from meterline.serving.tls import CertificateFiles

MINIMUM_GRPCIO = (1, 84)
MAX_THREADS = 256
STALLED_SECS = 10.0
_WATCH_SECS = 0.5
_UNLIMITED = 2**31 - 1
_SERVICES = (METRICS_SERVICE, LOGS_SERVICE)


def options(config: GrpcConfig) -> list[tuple[str, int]]:
    """
    Return the core's channel arguments for this configuration.

    Never ``maximum_concurrent_rpcs``, and no limit on pending requests: the core would cancel calls or answer
    RESOURCE_EXHAUSTED by itself, and senders drop on that. What may wait is bounded by connections x streams.
    """
    return [
        ("grpc.so_reuseport", 0),  # a second process on the port is an error, not half of the traffic
        ("grpc.per_message_decompression", 0),
        ("grpc.max_receive_message_length", config.max_request_bytes),
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


class GrpcServer:
    """
    One listener with the export services, health and reflection. Health and reflection need no credential.
    """

    def __init__(self, receiver: str, config: GrpcConfig, context: ReceiverContext) -> None:
        self._receiver = receiver
        self._config = config
        self._context = context
        self._export = ExportService(receiver, config, context)
        self._pool = DaemonPool(f"{receiver}-grpc", MAX_THREADS)
        self._certificates: CertificateFiles | None = None
        self._health: Health | None = None
        self._server: Any = None
        self._stopping = threading.Event()
        self.endpoint = ""

    def start(self) -> None:
        """
        Bind and serve.

        :raises ConfigurationError: the address cannot be bound, a certificate cannot be used, grpcio is too old.
        """
        require_grpcio(grpc.__version__)
        keep_large_blocks()
        server: Any = grpc.server(cast("Any", self._pool), handlers=[self._export], options=options(self._config))
        self._health = Health(lambda: self._context.intake.ready, _SERVICES)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        reflection.enable_server_reflection((*_SERVICES, health.SERVICE_NAME, reflection.SERVICE_NAME), server)
        self.endpoint = self._bind(server)
        server.start()
        self._server = server
        threading.Thread(target=self._watch, name=f"{self._receiver}-grpc-watch", daemon=True).start()

    def _bind(self, server: Any) -> str:
        address = self._config.endpoint
        if self._config.tls is not None:
            self._certificates = CertificateFiles(self._config.tls, self._context.log)
        credentials = Handshakes(self._certificates).credentials() if self._certificates else None
        try:
            port = server.add_secure_port(address, credentials) if credentials else server.add_insecure_port(address)
        except RuntimeError as error:
            raise ConfigurationError(
                f"binding receiver {self._receiver!r} to {address}: {_why_not(address)}; "
                "stop what listens there, or change the receiver's grpc.endpoint"
            ) from error
        return address if address.startswith("unix:") else f"{address.rpartition(':')[0]}:{port}"

    def _watch(self) -> None:
        """
        Tell those who watch our health of changes; look after the certificate between connections, and after the threads.
        """
        while not self._stopping.wait(_WATCH_SECS):
            if self._health is not None:
                self._health.refresh()
            if self._certificates is not None:
                self._certificates.refresh()
            if self._pool.exhausted and (count := self._export.inbox.cancel_stalled(STALLED_SECS)):
                self._context.log.warning(
                    "cancelled calls that kept their request back while others waited", calls=count
                )

    def stop(self, grace_secs: float) -> None:
        """
        NOT_SERVING, no new calls, then wait for those in flight; what has no answer after the grace is cancelled.
        """
        self._stopping.set()
        if self._server is None or self._health is None:
            return
        server, self._server = self._server, None
        self._health.drain()
        server.stop(grace_secs).wait(grace_secs + 1)
        self._pool.shutdown(wait=False)

    def samples(self) -> Iterable[Sample]:
        """
        Return what this listener counts.
        """
        labels = {"receiver": self._receiver, "transport": "grpc"}
        for signal in self._export.signals.values():
            yield from signal.counters.samples(labels)
        yield Sample("meterline_receiver_in_flight_bytes", labels, self._export.budget.used)
        yield Sample("meterline_receiver_waiting_requests", labels, self._pool.waiting)
        yield Sample("meterline_receiver_threads", labels, self._pool.threads)
        if self._certificates is not None:
            yield Sample("meterline_receiver_certificate_reloads", labels, self._certificates.reloads)
            yield Sample("meterline_receiver_certificate_reload_failures", labels, self._certificates.reload_failures)


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
