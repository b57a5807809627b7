"""
The Loki receiver.
"""

from collections.abc import Iterator

from meterline.api import PluginSpec
from meterline.receivers.loki.config import LokiReceiverConfig
from meterline.receivers.loki.endpoint import PushEndpoint
from meterline.serving.listeners import Listeners, Registration
from meterline.serving.receiver import ListeningReceiver


class LokiReceiver(ListeningReceiver[LokiReceiverConfig]):
    """
    ``POST /loki/api/v1/push`` (also ``/api/prom/push``), protobuf and JSON. Each request is answered 204 when all of it is on
    stable storage.
    """

    spec = PluginSpec(
        name="loki",
        kind="receiver",
        stability="beta",
        summary="Log lines as Grafana Alloy, Promtail, Fluent Bit and Loki's clients push them, protobuf and JSON.",
    )
    Config = LokiReceiverConfig

    def register(self, listeners: Listeners) -> Iterator[tuple[str, Registration]]:
        """
        Serve its endpoint.
        """
        endpoint = PushEndpoint(self.config.max_request_bytes)
        yield "http", listeners.http(self.name, self.config, self.context, [endpoint])
