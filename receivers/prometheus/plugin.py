"""
The Prometheus receiver.
"""

from collections.abc import Iterable, Mapping

from meterline.api import PluginSpec, Receiver, ReceiverContext, Sample
from meterline.receivers.prometheus.config import PrometheusReceiverConfig
from meterline.receivers.prometheus.endpoint import WriteEndpoint
from meterline.serving.listeners import Registration, listeners_of


class PrometheusReceiver(Receiver[PrometheusReceiverConfig]):
    """
    ``POST /api/v1/write`` (also ``/api/v1/push``), remote write 1.0 and 2.0. Each request is answered 204 when all of it is on
    stable storage.
    """

    spec = PluginSpec(
        name="prometheus",
        kind="receiver",
        stability="beta",
        summary="Prometheus remote write, from Prometheus, Grafana Alloy, the Collector, and whatever speaks it; HA pairs too.",
    )
    Config = PrometheusReceiverConfig

    def __init__(self, name: str, config: PrometheusReceiverConfig, context: ReceiverContext) -> None:
        super().__init__(name, config, context)
        self._endpoint = WriteEndpoint(config, context)
        self._registration: Registration | None = None

    def start(self) -> None:
        """
        Bind and accept.
        """
        listeners = listeners_of(self.context)
        self._registration = listeners.http(self.name, self.config, self.context, [self._endpoint])

    @property
    def endpoints(self) -> Mapping[str, str]:
        """
        Return the address really bound.
        """
        return {} if self._registration is None else {"http": self._registration.endpoint}

    def stop(self, grace_secs: float) -> None:
        """
        Stop accepting, answer what is in flight for up to the grace, then close.
        """
        if self._registration is not None:
            self._registration.stop(grace_secs)

    def samples(self) -> Iterable[Sample]:
        """
        Return the listener's counters, and what became of pairs and metadata.
        """
        if self._registration is not None:
            yield from self._registration.samples()
        labels = {"receiver": self.name}
        elections = self._endpoint.elections
        yield Sample("meterline_prometheus_replica_samples_dropped", labels, self._endpoint.dropped)
        yield Sample("meterline_prometheus_clusters", labels, 0 if elections is None else len(elections))
        yield Sample("meterline_prometheus_families", labels, len(self._endpoint.families))
