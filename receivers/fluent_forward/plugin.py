"""
The receiver of the forward protocol.
"""

from collections.abc import Iterable, Mapping

from meterline.api import PluginSpec, Receiver, ReceiverContext, Sample
from meterline.receivers.fluent_forward.config import FluentForwardConfig
from meterline.receivers.fluent_forward.server import Server


class FluentForwardReceiver(Receiver[FluentForwardConfig]):
    """
    The forward protocol v1 and v1.5: each chunk is acknowledged when all of it is on stable storage.
    """

    spec = PluginSpec(
        name="fluent_forward",
        kind="receiver",
        stability="beta",
        summary="Log events of Fluent Bit, Fluentd and their loggers over the forward protocol, each chunk acknowledged.",
    )
    Config = FluentForwardConfig

    def __init__(self, name: str, config: FluentForwardConfig, context: ReceiverContext) -> None:
        super().__init__(name, config, context)
        self._server = Server(name, config, context)

    def start(self) -> None:
        """
        Bind and accept.
        """
        self._server.start()

    @property
    def endpoints(self) -> Mapping[str, str]:
        """
        Return the address really bound.
        """
        return {"forward": self._server.endpoint}

    def stop(self, grace_secs: float) -> None:
        """
        Stop accepting, answer what was read for up to the grace, then close.
        """
        self._server.stop(grace_secs)

    def samples(self) -> Iterable[Sample]:
        """
        Return the counters of the listener.
        """
        return self._server.samples()
