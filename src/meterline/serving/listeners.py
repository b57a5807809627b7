"""
The open ports of one gateway, by endpoint: receivers that name the same one share its listener.
"""

from collections.abc import Sequence
from typing import Any, Protocol, TypeAlias

from meterline.api import Clock, ConfigurationError, ReceiverContext
from meterline.serving.config import GrpcListenerConfig, HttpListenerConfig, ListenerConfig
from meterline.serving.grpc.listener import GrpcListener
from meterline.serving.http import EventLoop, HttpListener
from meterline.serving.rates import Rates
from meterline.serving.registration import Registration as _Registration
from meterline.serving.seam import Endpoint, Method, Page

Registration: TypeAlias = _Registration[Any]
"""One receiver's part of a listener."""

_OWN = frozenset({"auth", "insecure"})  # what receivers on one listener may differ in


class Listeners(Protocol):
    """
    ``ReceiverContext.listeners``.
    """

    rates: Rates
    """What principals may send a second, over all ports: for receivers with a socket of their own."""

    def http(
        self,
        receiver: str,
        config: HttpListenerConfig,
        context: ReceiverContext,
        endpoints: Sequence[Endpoint],
        pages: Sequence[Page] = (),
    ) -> Registration:
        """
        Serve endpoints. Raises ConfigurationError: address taken, certificate unusable, path taken, or another receiver
        on this endpoint disagrees about the listener.
        """

    def grpc(
        self, receiver: str, config: GrpcListenerConfig, context: ReceiverContext, methods: Sequence[Method]
    ) -> Registration:
        """
        Serve unary methods. Raises ConfigurationError likewise.
        """


class OpenListeners:
    """
    The listeners of one gateway: the ``Listeners`` that its receivers see. Receivers are started from one thread.

    A path or method that nobody serves is refused for now, and not as unknown, until ``settle`` says that all receivers have
    started: what is answered 404 or UNIMPLEMENTED, senders drop for good.
    """

    def __init__(self, clock: Clock, *, settled: bool = False) -> None:
        """
        ``settled``: nobody will call ``settle``; what is not served is answered as unknown from the start.
        """
        self._loop = EventLoop()
        self.rates = Rates(clock)
        self._settled = settled
        self._open: dict[tuple[str, str], tuple[str, ListenerConfig, Any]] = {}

    def settle(self) -> None:
        """
        Say that all receivers have started.
        """
        self._settled = True
        for _, _, listener in self._open.values():
            listener.settle(settled=True)

    def http(
        self,
        receiver: str,
        config: HttpListenerConfig,
        context: ReceiverContext,
        endpoints: Sequence[Endpoint],
        pages: Sequence[Page] = (),
    ) -> Registration:
        """
        Serve endpoints, on the listener that is there or a new one.
        """
        shared = self._shared("http", receiver, config)
        listener = shared or HttpListener(config, context, self._loop, self.rates)
        registration = listener.add(receiver, config, context, endpoints, pages)
        return self._joined("http", receiver, config, listener, registration, new=shared is None)

    def grpc(
        self, receiver: str, config: GrpcListenerConfig, context: ReceiverContext, methods: Sequence[Method]
    ) -> Registration:
        """
        Serve unary methods likewise.
        """
        shared = self._shared("grpc", receiver, config)
        listener = shared or GrpcListener(config, context, self.rates)
        registration = listener.add(receiver, config, context, methods)
        return self._joined("grpc", receiver, config, listener, registration, new=shared is None)

    def _shared(self, protocol: str, receiver: str, config: ListenerConfig) -> Any:
        """
        Return the listener that this endpoint has already, or None.

        :raises ConfigurationError: it was opened with other options.
        """
        first, ours, listener = self._open.get((protocol, config.endpoint), ("", config, None))
        if listener is None or listener.closed:
            return None
        _require_same(first, ours, receiver, config)
        return listener

    def _joined(
        self,
        protocol: str,
        receiver: str,
        config: ListenerConfig,
        listener: Any,
        registration: Registration,
        *,
        new: bool,
    ) -> Registration:
        if new:
            listener.settle(settled=self._settled)
            listener.start()
            self._open[protocol, config.endpoint] = (receiver, config, listener)
        return registration


def _require_same(first: str, ours: ListenerConfig, receiver: str, theirs: ListenerConfig) -> None:
    shared = HttpListenerConfig if isinstance(ours, HttpListenerConfig) else GrpcListenerConfig
    for name in shared.model_fields:  # a receiver's config may have more, of its own
        mine, other = getattr(ours, name), getattr(theirs, name)
        if name not in _OWN and mine != other:
            raise ConfigurationError(
                f"sharing {ours.endpoint}: receivers {first!r} and {receiver!r} differ in {name} ({mine!r} and {other!r}); "
                f"write the same, or give {receiver!r} an endpoint of its own"
            )


def listeners_of(context: ReceiverContext) -> Listeners:
    """
    Return the gateway's open ports, or new ones for a receiver that runs alone.
    """
    listeners: Listeners | None = context.listeners
    return listeners if listeners is not None else OpenListeners(context.clock, settled=True)
