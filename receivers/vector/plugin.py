"""
The receiver of Vector's native protocol.
"""

from collections.abc import Iterable, Mapping

from meterline.api import PluginSpec, Receiver, Sample
from meterline.receivers.vector.config import VectorConfig
from meterline.receivers.vector.methods import methods
from meterline.serving.listeners import Registration, listeners_of


class VectorReceiver(Receiver[VectorConfig]):
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
    _registration: Registration | None = None

    def start(self) -> None:
        """
        Bind and accept.
        """
        served = methods(self.config, self.context.intake)
        self._registration = listeners_of(self.context).grpc(self.name, self.config, self.context, served)

    @property
    def endpoints(self) -> Mapping[str, str]:
        """
        Return the address really bound.
        """
        return {} if self._registration is None else {"grpc": self._registration.endpoint}

    def stop(self, grace_secs: float) -> None:
        """
        Stop accepting, answer what is in flight for up to the grace, then close.
        """
        if self._registration is not None:
            self._registration.stop(grace_secs)

    def samples(self) -> Iterable[Sample]:
        """
        Return the counters of the listener.
        """
        return () if self._registration is None else self._registration.samples()
