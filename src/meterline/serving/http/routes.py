"""
Which endpoint or page answers a path, and what each receiver has on a listener.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from meterline.api import ConfigurationError, ReceiverContext, Sample
from meterline.serving.auth import Authenticator
from meterline.serving.counters import SignalCounters
from meterline.serving.seam import Endpoint, Head, Page

_PAGE_METHODS = ("GET", "HEAD")


@dataclass(slots=True, eq=False)
class Part:
    """
    One receiver on a listener. ``leaving``: it was stopped; its paths are refused for now, never as unknown.
    """

    receiver: str
    context: ReceiverContext
    authenticator: Authenticator
    counters: Mapping[str, SignalCounters]
    in_flight: int = 0
    leaving: bool = False

    def samples(self) -> Iterable[Sample]:
        """
        Return what this receiver counts here.
        """
        labels = {"receiver": self.receiver, "transport": "http"}
        for counters in self.counters.values():
            yield from counters.samples(labels)
        yield from self.authenticator.samples(labels)
        yield Sample("meterline_receiver_waiting_requests", labels, self.in_flight)


@dataclass(frozen=True, slots=True)
class Route:
    """
    What answers one method of one path: an endpoint or a page.
    """

    part: Part
    endpoint: Endpoint | None = None
    page: Page | None = None

    @property
    def counters(self) -> SignalCounters:
        """
        Return the counters of the endpoint's signal.
        """
        return self.part.counters[self.endpoint.signal if self.endpoint is not None else ""]


@dataclass(slots=True)
class Place:
    """
    One path.
    """

    by_method: dict[str, Route] = field(default_factory=dict)

    @property
    def first(self) -> Route:
        """
        Return the route whose words are used for a method that there is not: an endpoint's, if there is any.
        """
        routes = list(self.by_method.values())
        return next((route for route in routes if route.endpoint is not None), routes[0])

    @property
    def allow(self) -> str:
        """
        Return the value of Allow.
        """
        return ", ".join(sorted({*self.by_method, "OPTIONS"}))


class Routes:
    """
    The paths of a listener. Read on the loop, changed by replacing the table.
    """

    def __init__(self) -> None:
        self._places: Mapping[str, Place] = {}

    def add(self, part: Part, endpoints: Sequence[Endpoint], pages: Sequence[Page]) -> None:
        """
        Add one receiver's paths, all or none.

        :raises ConfigurationError: another receiver has one of them.
        """
        places = {path: Place(dict(place.by_method)) for path, place in self._places.items()}
        for endpoint in endpoints:
            for path in endpoint.paths:
                for method in endpoint.methods:
                    _put(places, path, method, Route(part, endpoint=endpoint))
        for page in pages:
            for path in page.paths:
                for method in _PAGE_METHODS:
                    _put(places, path, method, Route(part, page=page))
        self._places = places

    @property
    def parts(self) -> list[Part]:
        """
        Return everybody who has a path here, in the order in which they came.
        """
        routes = (route for place in self._places.values() for route in place.by_method.values())
        return list({id(route.part): route.part for route in routes}.values())

    def find(self, path: str) -> Place | None:
        """
        Return the place of a path.
        """
        return self._places.get(path)

    def beside(self, head: Head) -> Route | None:
        """
        Return an endpoint for the words to say in that a path is not served: of those in the same folder one that takes the
        media type, or else any; of those elsewhere only one that takes it.
        """
        folder = head.path.rpartition("/")[0]
        served = [(path.rpartition("/")[0], place.first) for path, place in self._places.items()]
        near = [route for beside, route in served if folder and beside == folder and route.endpoint is not None]
        fitting = (
            route
            for route in (*near, *(route for _, route in served))
            if route.endpoint is not None and route.endpoint.accepts(head)
        )
        return next(fitting, near[0] if near else None)


def _put(places: dict[str, Place], path: str, method: str, route: Route) -> None:
    place = places.setdefault(path, Place())
    taken = place.by_method.get(method)
    if taken is not None and not taken.part.leaving:
        raise ConfigurationError(
            f"adding receiver {route.part.receiver!r}: {method} {path} is served by receiver {taken.part.receiver!r} on the "
            "same endpoint; give one of them an endpoint of its own"
        )
    place.by_method[method] = route
