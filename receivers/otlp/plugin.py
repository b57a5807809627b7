"""
The OTLP receiver.
"""

from collections.abc import Iterable, Mapping

from meterline.api import PluginSpec, Receiver, ReceiverContext, Sample
from meterline.receivers.otlp.config import OtlpReceiverConfig
from meterline.receivers.otlp.grpc_server import GrpcServer


class OtlpReceiver(Receiver[OtlpReceiverConfig]):
    """
    OTLP metrics and logs over gRPC, each request answered when all of it is on stable storage.
    """

    spec = PluginSpec(
        name="otlp",
        kind="receiver",
        stability="beta",
        summary="OTLP metrics and logs over gRPC, from the OpenTelemetry Collector, SDKs, and whatever speaks OTLP.",
    )
    Config = OtlpReceiverConfig

    def __init__(self, name: str, config: OtlpReceiverConfig, context: ReceiverContext) -> None:
        super().__init__(name, config, context)
        self._grpc = GrpcServer(name, config.grpc, context) if config.grpc is not None else None

    def start(self) -> None:
        """
        Bind and accept.
        """
        if self._grpc is not None:
            self._grpc.start()

    @property
    def endpoints(self) -> Mapping[str, str]:
        """
        Return the addresses really bound, by protocol.
        """
        return {"grpc": self._grpc.endpoint} if self._grpc is not None else {}

    def stop(self, grace_secs: float) -> None:
        """
        Stop accepting, answer what is in flight for up to the grace, then close.
        """
        if self._grpc is not None:
            self._grpc.stop(grace_secs)

    def samples(self) -> Iterable[Sample]:
        """
        Return the counters of all listeners.
        """
        return self._grpc.samples() if self._grpc is not None else ()
