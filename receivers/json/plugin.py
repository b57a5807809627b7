"""
The JSON receiver.
"""

from collections.abc import Iterable, Iterator

from meterline.api import PluginSpec
from meterline.receivers.json import amplitude, endpoints, mixpanel
from meterline.receivers.json.config import EventFormat, JsonReceiverConfig
from meterline.serving.listeners import Listeners, Registration
from meterline.serving.receiver import ListeningReceiver
from meterline.serving.seam import Endpoint


class JsonReceiver(ListeningReceiver[JsonReceiverConfig]):
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

    def register(self, listeners: Listeners) -> Iterator[tuple[str, Registration]]:
        """
        Serve the endpoints of its formats, and a page that says whether it is healthy.
        """
        made = [endpoint for name in self.config.formats for endpoint in self._endpoints_of(name)]
        checked = tuple(path for endpoint in made if "GET" not in endpoint.methods for path in endpoint.paths)
        pages = [endpoints.HealthPage(checked, self.context.intake)]
        yield "http", listeners.http(self.name, self.config, self.context, made, pages)

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
