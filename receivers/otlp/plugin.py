"""
The OTLP receiver.
"""

from collections.abc import Iterator

from meterline.api import PluginSpec
from meterline.receivers.otlp.config import OtlpReceiverConfig
from meterline.receivers.otlp.http import endpoints
from meterline.receivers.otlp.methods import methods
from meterline.serving.listeners import Listeners, Registration
from meterline.serving.receiver import ListeningReceiver


class OtlpReceiver(ListeningReceiver[OtlpReceiverConfig]):
    """
    OTLP metrics and logs over gRPC and HTTP, each request answered when all of it is on stable storage.
    """

    spec = PluginSpec(
        name="otlp",
        kind="receiver",
        stability="beta",
        summary="OTLP metrics and logs over gRPC and HTTP, from the OpenTelemetry Collector, SDKs, and whatever speaks OTLP.",
    )
    Config = OtlpReceiverConfig

    def register(self, listeners: Listeners) -> Iterator[tuple[str, Registration]]:
        """
        Serve each half that the config has.
        """
        grpc, http = self.config.grpc, self.config.http
        if grpc is not None:
            yield "grpc", listeners.grpc(self.name, grpc, self.context, methods())
        if http is not None:
            yield "http", listeners.http(self.name, http, self.context, endpoints(http))
