"""
The OTLP receiver.
"""

import threading
from collections.abc import Iterable, Mapping

from meterline.api import PluginSpec, Receiver, ReceiverContext, Sample
from meterline.receivers.otlp.config import OtlpReceiverConfig
from meterline.receivers.otlp.http import endpoints
from meterline.receivers.otlp.methods import methods
from meterline.serving.listeners import Registration, listeners_of


class OtlpReceiver(Receiver[OtlpReceiverConfig]):
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

    def __init__(self, name: str, config: OtlpReceiverConfig, context: ReceiverContext) -> None:
        super().__init__(name, config, context)
        self._open: dict[str, Registration] = {}

    def start(self) -> None:
        """
        Bind and accept. What was opened before an error is left to ``stop``.
        """
        listeners = listeners_of(self.context)
        grpc, http = self.config.grpc, self.config.http
        if grpc is not None:
            self._open["grpc"] = listeners.grpc(self.name, grpc, self.context, methods())
        if http is not None:
            self._open["http"] = listeners.http(self.name, http, self.context, endpoints(http))

    @property
    def endpoints(self) -> Mapping[str, str]:
        """
        Return the addresses really bound, by protocol.
        """
        return {protocol: registration.endpoint for protocol, registration in self._open.items()}

    def stop(self, grace_secs: float) -> None:
        """
        Stop accepting, answer what is in flight for up to the grace, then close: both listeners at once.
        """
        threads = [threading.Thread(target=each.stop, args=(grace_secs,), daemon=True) for each in self._open.values()]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def samples(self) -> Iterable[Sample]:
        """
        Return the counters of all listeners.
        """
        for registration in self._open.values():
            yield from registration.samples()
