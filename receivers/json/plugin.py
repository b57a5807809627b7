"""
The JSON receiver.
"""

from collections.abc import Iterable, Mapping

from meterline.api import PluginSpec, Receiver, Sample
from meterline.receivers.json import amplitude, endpoints, mixpanel
from meterline.receivers.json.config import EventFormat, JsonReceiverConfig
from meterline.serving.listeners import Registration, listeners_of
from meterline.serving.seam import Endpoint


class JsonReceiver(Receiver[JsonReceiverConfig]):
    """
    Events over HTTP, each request answered when all of it is on stable storage.
    """

    spec = PluginSpec(
        name="json",
        kind="receiver",
        stability="beta",
        summary="Events over HTTP: any JSON, Vector, Logstash, Fluent Bit, CloudEvents, Amplitude's and Mixpanel's SDKs.",
    )
    Config = JsonReceiverConfig
    _registration: Registration | None = None

    def start(self) -> None:
        """
        Bind and accept.
        """
        made = [endpoint for name in self.config.formats for endpoint in self._endpoints_of(name)]
        checked = tuple(path for endpoint in made if "GET" not in endpoint.methods for path in endpoint.paths)
        pages = [endpoints.HealthPage(checked, self.context.intake)]
        self._registration = listeners_of(self.context).http(self.name, self.config, self.context, made, pages)

    def _endpoints_of(self, name: EventFormat) -> Iterable[Endpoint]:
        options = self.config.event_options()
        if name == "amplitude":
            return [amplitude.AmplitudeEndpoint(self._paths(amplitude.PATHS), options)]
        if name == "mixpanel":
            return [
                mixpanel.MixpanelEndpoint(self._paths(mixpanel.PATHS), options, stores=True),
                mixpanel.MixpanelEndpoint(self._paths(mixpanel.PROFILE_PATHS), options, stores=False),
            ]
        return [endpoints.EventsEndpoint(name, self._paths(endpoints.PATHS[name]), options)]

    def _paths(self, paths: Iterable[str]) -> tuple[str, ...]:
        return tuple(self.config.path_prefix + path for path in paths)

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
        Return the counters of the listener.
        """
        return () if self._registration is None else self._registration.samples()
