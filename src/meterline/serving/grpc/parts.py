"""
What each receiver has on a gRPC listener.
"""

import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from meterline.api import ConfigurationError, ReceiverContext, Sample
from meterline.serving.auth import Authenticator
from meterline.serving.counters import SignalCounters
from meterline.serving.seam import Method


@dataclass(slots=True, eq=False)
class Part:
    """
    One receiver on a listener. ``leaving``: it was stopped; its methods are refused for now, never as unknown.
    """

    receiver: str
    context: ReceiverContext
    authenticator: Authenticator
    counters: Mapping[str, SignalCounters]
    services: tuple[str, ...]
    leaving: bool = False
    in_flight: int = 0
    _changed: threading.Condition = field(default_factory=threading.Condition)

    def enter(self) -> bool:
        """
        Count a call in; False: the receiver has stopped.
        """
        with self._changed:
            if self.leaving:
                return False
            self.in_flight += 1
            return True

    def leave(self) -> None:
        """
        Count a call out.
        """
        with self._changed:
            self.in_flight -= 1
            if self.leaving:
                self._changed.notify_all()

    def drain(self, grace_secs: float) -> None:
        """
        Let no further call in, and wait for those that are, at most so long.
        """
        with self._changed:
            self.leaving = True
            self._changed.wait_for(lambda: self.in_flight == 0, grace_secs)

    def samples(self) -> Iterable[Sample]:
        """
        Return what this receiver counts here.
        """
        labels = {"receiver": self.receiver, "transport": "grpc"}
        for counters in self.counters.values():
            yield from counters.samples(labels)
        yield from self.authenticator.samples(labels)


@dataclass(frozen=True, slots=True, eq=False)
class Route:
    """
    One method of one receiver.
    """

    part: Part
    method: Method
    counters: SignalCounters


class Routes:
    """
    The methods of a listener, by path. Read by any thread; changed by replacing the table.
    """

    def __init__(self) -> None:
        self.by_path: Mapping[str, Route] = {}

    def add(self, part: Part, methods: Sequence[Method]) -> None:
        """
        Add a receiver's methods, all or none.

        :raises ConfigurationError: another receiver has one of them.
        """
        found = dict(self.by_path)
        for method in methods:
            taken = found.get(method.path)
            if taken is not None and not taken.part.leaving:
                raise ConfigurationError(
                    f"adding receiver {part.receiver!r}: {method.path} is served by receiver {taken.part.receiver!r} on the "
                    "same endpoint; give one of them an endpoint of its own"
                )
            found[method.path] = Route(part, method, part.counters[method.signal])
        self.by_path = found

    @property
    def parts(self) -> list[Part]:
        """
        Return everybody who has a method here, in the order in which they came.
        """
        return list({id(route.part): route.part for route in self.by_path.values()}.values())


def services_of(methods: Sequence[Method]) -> tuple[str, ...]:
    """
    Return the full names of the methods' services.
    """
    return tuple(dict.fromkeys(method.path.split("/")[1] for method in methods))
