"""
The open ports of one gateway, by endpoint: receivers that name the same one share its listener.
"""

from collections.abc import Iterable, Sequence
from typing import Protocol

from meterline.api import ConfigurationError, ReceiverContext, Sample
from meterline.serving.config import GrpcListenerConfig, HttpListenerConfig, ListenerConfig
from meterline.serving.http import EventLoop, HttpListener
from meterline.serving.http.routes import Part
from meterline.serving.rates import Rates
from meterline.serving.seam import Endpoint, Method, Page


class Registration(Protocol):
    """
    One receiver's part of a listener.
    """

    endpoint: str
    """The address really bound."""

    def stop(self, grace_secs: float) -> None:
        """
        Serve this receiver's paths no longer, let what is in flight finish; the last one to stop closes the port.
        """

    def samples(self) -> Iterable[Sample]:
        """
        Return what is counted of this receiver here, and of the port.
        """


class Listeners(Protocol):
    """
    ``ReceiverContext.listeners``.
    """

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
    The listeners of one gateway: the ``Listeners`` that receivers see. Started and stopped from one thread.

    A path that nobody serves (yet) is refused for now until ``settle`` says that all receivers have started: senders drop
    for good what is answered 404.
    """

    def __init__(self, context: ReceiverContext, *, settled: bool = False) -> None:
        """
        ``settled``: nobody will call ``settle``; what is not served is answered as unknown from the start.
        """
        self._loop = EventLoop()
        self._rates = Rates(context.clock)
        self._settled = settled
        self._http: dict[str, _Shared] = {}

    def settle(self) -> None:
        """
        Say that all receivers have started.
        """
        self._settled = True
        for shared in self._http.values():
            shared.listener.settled = True

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
        shared = self._http.get(config.endpoint)
        if shared is not None:
            _must_agree(shared, receiver, config)
            return self._joined(shared, receiver, shared.listener.add(receiver, config, context, endpoints, pages))
        listener = HttpListener(config, context, self._loop, self._rates)
        listener.settled = self._settled
        part = listener.add(receiver, config, context, endpoints, pages)
        listener.start()
        shared = self._http[config.endpoint] = _Shared(listener)
        return self._joined(shared, receiver, part)

    def _joined(self, shared: "_Shared", receiver: str, part: Part) -> Registration:
        shared.receivers.append(receiver)
        return _HttpRegistration(self, shared, receiver, part)

    def left(self, shared: "_Shared", receiver: str) -> bool:
        """
        Forget a receiver; True: it was the last, and the port is to be closed.
        """
        shared.receivers.remove(receiver)
        if shared.receivers:
            return False
        del self._http[shared.listener.config.endpoint]
        return True


class _Shared:
    """
    A listener and who is on it.
    """

    def __init__(self, listener: HttpListener) -> None:
        self.listener = listener
        self.receivers: list[str] = []


class _HttpRegistration:
    """
    One receiver on an HTTP listener.
    """

    def __init__(self, listeners: OpenListeners, shared: _Shared, receiver: str, part: Part) -> None:
        self._listeners = listeners
        self._shared = shared
        self._receiver = receiver
        self._part = part
        self._stopped = False
        self.endpoint = shared.listener.endpoint

    def stop(self, grace_secs: float) -> None:
        """
        Refuse this receiver's requests for now, let what is in flight finish; the last one closes the port.
        """
        if self._stopped:
            return
        self._stopped = True
        if self._listeners.left(self._shared, self._receiver):
            self._shared.listener.stop(grace_secs)
        else:
            self._shared.listener.leave(self._part, grace_secs)

    def samples(self) -> Iterable[Sample]:
        """
        Return what is counted of this receiver; the first one on a port tells of the port too.
        """
        yield from self._part.samples()
        if self._shared.receivers[:1] == [self._receiver]:
            yield from self._shared.listener.samples()


def _must_agree(shared: _Shared, receiver: str, config: ListenerConfig) -> None:
    """
    Refuse a receiver that wants the same endpoint otherwise.

    :raises ConfigurationError: an option other than ``auth`` differs.
    """
    ours = shared.listener.config
    for name in type(ours).model_fields:
        mine, other = getattr(ours, name), getattr(config, name)
        if name != "auth" and mine != other:
            raise ConfigurationError(
                f"sharing endpoint {ours.endpoint}: receivers {shared.receivers[0]!r} and {receiver!r} differ in {name} "
                f"({mine!r} and {other!r}); give both the same, or {receiver!r} an endpoint of its own"
            )


def listeners_of(context: ReceiverContext) -> Listeners:
    """
    Return the gateway's open ports, or new ones for a receiver that runs alone.
    """
    return context.listeners if context.listeners is not None else OpenListeners(context, settled=True)
