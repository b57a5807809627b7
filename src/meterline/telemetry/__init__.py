"""
Meterline's own telemetry: a Prometheus page, an OTLP push where wanted, health over HTTP, structured logs.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Protocol

from meterline.api import Sample
from meterline.config.model import TelemetryConfig
from meterline.errors import ConfigurationError
from meterline.telemetry.health import Health, Phase
from meterline.telemetry.http import Listener
from meterline.telemetry.logs import configure_logs
from meterline.telemetry.metrics import Metrics, pushing

__all__ = ["Observed", "Phase", "Telemetry", "configure_logs"]


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

    def __init__(self, gateway: Observed, log: Any, config: TelemetryConfig) -> None:
        """
        Bind and send nothing yet.
        """
        self._log = log
        self._health = Health(lambda: gateway.ready, gateway.health)
        self._metrics = Metrics(gateway.samples, self._unknown, None if config.otlp is None else pushing(config.otlp))
        self._config = config
        self._listeners = dict(self._wanted())

    def _wanted(self) -> Iterator[tuple[str, Listener]]:
        if self._config.metrics.enabled:
            yield "metrics", Listener(self._config.metrics.endpoint, {"/metrics": self._metrics.page})
        if self._config.health.enabled:
            yield "health", Listener(self._config.health.endpoint, self._health.routes())

    def start(self) -> None:
        """
        Bind. Raises ConfigurationError when an address that the config names cannot be bound; a default one warns.
        """
        written = {"metrics": self._config.metrics.written, "health": self._config.health.written}
        for name, listener in list(self._listeners.items()):
            try:
                listener.start()
            except OSError as error:
                self._unbound(name, error, written=written[name])

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
        return {name: listener.endpoint for name, listener in self._listeners.items()}

    def stop(self, timeout_secs: float = 2.0) -> None:
        """
        Push a last time where configured, and free the addresses. Legal without ``start``.
        """
        self._metrics.stop(timeout_secs)
        for listener in self._listeners.values():
            listener.stop()

    def _unbound(self, name: str, error: OSError, *, written: bool) -> None:
        endpoint = self._listeners.pop(name).endpoint
        if written:
            reason = f"binding telemetry.{name}.endpoint {endpoint}: {error.strerror}"
            raise ConfigurationError(f"{reason}; free the address or write another one") from error
        self._log.warning("telemetry address is taken, going on without it", listener=name, endpoint=endpoint)

    def _unknown(self, name: str) -> None:
        self._log.error("a component gave a metric that the table does not have", metric=name)
