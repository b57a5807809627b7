"""
The usage receiver.
"""

from collections.abc import Iterable, Mapping

from meterline.api import PluginSpec, Receiver, ReceiverContext, Sample
from meterline.receivers.usage.config import UsageReceiverConfig
from meterline.receivers.usage.grpc_api import record_usage
from meterline.receivers.usage.http_api import DocumentPage, UsageEndpoint
from meterline.serving.listeners import Registration, listeners_of


class UsageReceiver(Receiver[UsageReceiverConfig]):
    """
    Usage that somebody tells, over HTTP and gRPC, each request answered when all of it is on stable storage.
    """

    spec = PluginSpec(
        name="usage",
        kind="receiver",
        stability="beta",
        summary="Usage records themselves, over a REST API and gRPC: one record an item, without rules.",
    )
    Config = UsageReceiverConfig

    def __init__(self, name: str, config: UsageReceiverConfig, context: ReceiverContext) -> None:
        super().__init__(name, config, context)
        self._registrations: dict[str, Registration] = {}

    def start(self) -> None:
        """
        Bind and accept.
        """
        config, context = self.config, self.context
        listeners = listeners_of(context)
        if config.http is not None:
            endpoints = [UsageEndpoint(config.missing_timestamp)]
            http = listeners.http(self.name, config.http, context, endpoints, [DocumentPage()])
            self._registrations["http"] = http
        if config.grpc is not None:
            methods = [record_usage(config.missing_timestamp)]
            self._registrations["grpc"] = listeners.grpc(self.name, config.grpc, context, methods)

    @property
    def endpoints(self) -> Mapping[str, str]:
        """
        Return the addresses really bound, by protocol.
        """
        return {name: registration.endpoint for name, registration in self._registrations.items()}

    def stop(self, grace_secs: float) -> None:
        """
        Stop accepting, answer what is in flight for up to the grace, then close.
        """
        for registration in self._registrations.values():
            registration.stop(grace_secs)

    def samples(self) -> Iterable[Sample]:
        """
        Return the counters of the listeners.
        """
        for registration in self._registrations.values():
            yield from registration.samples()
