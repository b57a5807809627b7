"""
Meterline's own telemetry: a Prometheus page, an OTLP push where wanted, health over HTTP, structured logs.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from meterline.api import Sample
from meterline.errors import ConfigurationError
from meterline.telemetry.health import Health, Phase
from meterline.telemetry.http import Listener
from meterline.telemetry.logs import LogFormat, LogLevel, configure_logs
from meterline.telemetry.metrics import Metrics, pushing

__all__ = ["Health", "Listen", "LogFormat", "LogLevel", "Observed", "Phase", "Push", "Telemetry", "configure_logs"]


@dataclass(frozen=True, slots=True)
class Listen:
    """
    An address, and whether somebody wrote it: a busy default warns, a busy written one refuses to start.
    """

    endpoint: str
    written: bool


@dataclass(frozen=True, slots=True)
class Push:
    """
    Where own metrics are pushed over OTLP/gRPC, and how often.
    """

    endpoint: str
    interval_secs: float = 60.0
    headers: Mapping[str, str] = field(default_factory=dict)
    insecure: bool = True


class Observed(Protocol):
    """
    What telemetry reads of a gateway; all of it may be asked from any thread, at any time.
    """

    @property
    def ready(self) -> bool:
        """
        Say whether intake accepts now.
        """

    def health(self) -> Mapping[str, Any]:
        """
        Return what stands in the health bodies.
        """

    def samples(self) -> Iterable[Sample]:
        """
        Return the numbers of all components.
        """


class Telemetry:
    """
    All listeners of one gateway. Started before it, so that ``/startupz`` answers while it recovers; stopped after it.
    """

    def __init__(
        self, gateway: Observed, log: Any, *, metrics: Listen | None, health: Listen | None, push: Push | None = None
    ) -> None:
        """
        None: that listener is off. Binds nothing yet.
        """
        self._log = log
        self._health = Health(lambda: gateway.ready, gateway.health)
        reader = (
            None if push is None else pushing(push.endpoint, push.interval_secs, push.headers, insecure=push.insecure)
        )
        self._metrics = Metrics(gateway.samples, self._unknown, reader)
        self._listeners: dict[str, tuple[Listen, Listener]] = {}
        if metrics is not None:
            self._listeners["metrics"] = (metrics, Listener(metrics.endpoint, {"/metrics": self._metrics.page}))
        if health is not None:
            self._listeners["health"] = (health, Listener(health.endpoint, self._health.routes()))

    def start(self) -> None:
        """
        Bind. Raises ConfigurationError when an address that the config names cannot be bound; a default one warns.
        """
        for name, (listen, listener) in list(self._listeners.items()):
            try:
                listener.start()
            except OSError as error:
                self._unbound(name, listen, error)

    def phase(self, phase: Phase) -> None:
        """
        Say where the gateway is in its life.
        """
        self._health.phase = phase

    @property
    def endpoints(self) -> Mapping[str, str]:
        """
        Return the addresses really bound, by name.
        """
        return {name: listener.endpoint for name, (_, listener) in self._listeners.items()}

    def stop(self, timeout_secs: float = 2.0) -> None:
        """
        Push a last time where configured, and free the addresses. Legal without ``start``.
        """
        self._metrics.stop(timeout_secs)
        for _, listener in self._listeners.values():
            listener.stop()

    def _unbound(self, name: str, listen: Listen, error: OSError) -> None:
        reason = f"binding telemetry.{name}.endpoint {listen.endpoint}: {error.strerror}"
        if listen.written:
            raise ConfigurationError(f"{reason}; free the address or write another one") from error
        del self._listeners[name]
        self._log.warning("telemetry address is taken, going on without it", listener=name, endpoint=listen.endpoint)

    def _unknown(self, name: str) -> None:
        self._log.error("a component gave a metric that the table does not have", metric=name)
