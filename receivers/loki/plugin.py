"""
The Loki receiver.
"""

from collections.abc import Iterable, Mapping

from meterline.api import PluginSpec, Receiver, ReceiverContext, Sample
from meterline.receivers.loki.config import LokiReceiverConfig
from meterline.receivers.loki.endpoint import PushEndpoint
from meterline.serving.listeners import Registration, listeners_of


class LokiReceiver(Receiver[LokiReceiverConfig]):
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

    def __init__(self, name: str, config: LokiReceiverConfig, context: ReceiverContext) -> None:
        super().__init__(name, config, context)
        self._registration: Registration | None = None

    def start(self) -> None:
        """
        Bind and accept.
        """
        endpoint = PushEndpoint(self.config.max_request_bytes)
        listeners = listeners_of(self.context)
        self._registration = listeners.http(self.name, self.config, self.context, [endpoint])

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
        Return the listener's counters.
        """
        return () if self._registration is None else self._registration.samples()
