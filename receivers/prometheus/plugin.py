"""
The Prometheus receiver.
"""

from collections.abc import Iterable, Iterator

from meterline.api import PluginSpec, ReceiverContext, Sample
from meterline.receivers.prometheus.config import PrometheusReceiverConfig
from meterline.receivers.prometheus.endpoint import WriteEndpoint
from meterline.serving.listeners import Listeners, Registration
from meterline.serving.receiver import ListeningReceiver


class PrometheusReceiver(ListeningReceiver[PrometheusReceiverConfig]):
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

    def register(self, listeners: Listeners) -> Iterator[tuple[str, Registration]]:
        """
        Serve its endpoint.
        """
        yield "http", listeners.http(self.name, self.config, self.context, [self._endpoint])

    def samples(self) -> Iterable[Sample]:
        """
        Return the listener's counters, and what became of pairs and metadata.
        """
        yield from super().samples()
        labels = {"receiver": self.name}
        elections = self._endpoint.elections
        yield Sample("meterline_prometheus_replica_samples_dropped", labels, self._endpoint.dropped)
        yield Sample("meterline_prometheus_clusters", labels, 0 if elections is None else len(elections))
        yield Sample("meterline_prometheus_families", labels, len(self._endpoint.families))
