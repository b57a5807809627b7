"""
The base of receivers that serve on shared listeners.
"""

import threading
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from typing import TypeVar

from meterline.api import Receiver, ReceiverConfig, ReceiverContext, Sample
from meterline.serving.listeners import Listeners, Registration, listeners_of

C = TypeVar("C", bound=ReceiverConfig)


class ListeningReceiver(Receiver[C]):
    """
    A receiver that is its endpoints or methods and nothing else: subclasses say what they serve in ``register``.
    """

    def __init__(self, name: str, config: C, context: ReceiverContext) -> None:
        super().__init__(name, config, context)
        self._open: dict[str, Registration] = {}

    @abstractmethod
    def register(self, listeners: Listeners) -> Iterator[tuple[str, Registration]]:
        """
        Yield each protocol (``http``, ``grpc``) with its part of a listener as soon as it is served. Called once, by ``start``.
        """

    def start(self) -> None:
        """
        Bind and accept. What was opened before an error is left to ``stop``.
        """
        for protocol, registration in self.register(listeners_of(self.context)):
            self._open[protocol] = registration

    @property
    def endpoints(self) -> Mapping[str, str]:
        """
        Return the addresses really bound, by protocol.
        """
        return {protocol: registration.endpoint for protocol, registration in self._open.items()}

    def stop(self, grace_secs: float) -> None:
        """
        Stop accepting, answer what is in flight for up to the grace, then close: all listeners at once.
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
