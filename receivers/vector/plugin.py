"""
The receiver of Vector's native protocol.
"""

from collections.abc import Iterator

from meterline.api import PluginSpec
from meterline.receivers.vector.config import VectorConfig
from meterline.receivers.vector.methods import methods
from meterline.serving.listeners import Listeners, Registration
from meterline.serving.receiver import ListeningReceiver


class VectorReceiver(ListeningReceiver[VectorConfig]):
    """
    What Vector's sink `vector` sends, each request answered when all of it is on stable storage.
    """

    spec = PluginSpec(
        name="vector",
        kind="receiver",
        stability="beta",
        summary="Logs and metrics from Vector's own sink `vector` over gRPC, each event with an identity of its own.",
    )
    Config = VectorConfig

    def register(self, listeners: Listeners) -> Iterator[tuple[str, Registration]]:
        """
        Serve its methods.
        """
        served = methods(self.config, self.context.intake)
        yield "grpc", listeners.grpc(self.name, self.config, self.context, served)
