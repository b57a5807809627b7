"""
The way of a call: raw bytes in, admitted, decompressed, decoded, handed to the intake, answered when they are durable.

Handlers take bytes and parse nothing: gRPC's own deserializer would answer INTERNAL, and an exception UNKNOWN, and senders
drop on both. A call is unary on the wire; for gRPC it is a stream, so that reading its message is up to us: who sends is known
before a byte of it is read.
"""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import grpc

from meterline.api import (
    Answer,
    MeterlineError,
    OverloadedError,
    Principal,
    ReceiverContext,
    RetryableError,
    Status,
    Ticket,
)
from meterline.poison import CONDEMNED, Poison
from meterline.serving import refusals
from meterline.serving.admission import ByteBudget, Reservation
from meterline.serving.auth import PeerIdentity
from meterline.serving.auth.authenticator import TENANT_HEADER
from meterline.serving.codecs import decompress, encoding_of
from meterline.serving.config import GrpcListenerConfig
from meterline.serving.faults import described
from meterline.serving.grpc import answers
from meterline.serving.grpc.inbox import Inbox
from meterline.serving.grpc.parts import Route, Routes
from meterline.serving.poison import quarantined_whole
from meterline.serving.rates import Rates
from meterline.serving.seam import Call, Cause, Decoded, Refusal
from meterline.serving.storing import store

_NO_MESSAGE = Refusal(Cause.UNDECODABLE, "reading request: the call has no message")


@dataclass(frozen=True, slots=True)
class _Sender:
    principal: Principal
    tenant: str
    metadata: Mapping[str, str]


class Calls(grpc.GenericRpcHandler):
    """
    Finds the handler of a call by its method, and answers it.
    """

    def __init__(self, routes: Routes, config: GrpcListenerConfig, context: ReceiverContext, rates: Rates) -> None:
        self._routes = routes
        self._limit = config.max_request_bytes
        self._by_certificate = config.tls is not None and config.tls.client_ca_file is not None
        self._log = context.log
        self._clock = context.clock
        self._rates = rates
        self._poison = Poison()
        self._handlers: dict[str, tuple[Route, Any]] = {}
        self.settled = True
        self.inbox = Inbox(context.clock)
        self.budget = ByteBudget(config.max_in_flight_bytes)

    def service(self, handler_call_details: Any) -> Any:
        """
        Return the call's handler; None: no such method. Never raises, since gRPC would answer UNKNOWN.
        """
        path = handler_call_details.method
        route = self._routes.by_path.get(path)
        if route is None:
            return None if self.settled else _NOT_YET
        known = self._handlers.get(path)
        if known is None or known[0] is not route:
            known = self._handlers[path] = (route, grpc.stream_unary_rpc_method_handler(partial(self._handle, route)))
        return known[1]

    def _handle(self, route: Route, messages: Iterator[bytes], context: grpc.ServicerContext) -> bytes:
        if not route.part.enter():
            return _refuse(route, refusals.retry("the receiver is shutting down"), 0, context)
        try:
            return self._answer(route, messages, context)
        finally:
            route.part.leave()

    def _answer(self, route: Route, messages: Iterator[bytes], context: grpc.ServicerContext) -> bytes:
        sender = self._sender(route, context)
        if isinstance(sender, Refusal):
            return _refuse(route, sender, 0, context)
        message = self.inbox.read(messages, context)
        if message is None:
            return _refuse(route, _NO_MESSAGE, 0, context)
        route.counters.received(len(message))
        reply = self._reply(route, sender, message)
        return reply if isinstance(reply, bytes) else _refuse(route, *reply, context)

    def _sender(self, route: Route, context: grpc.ServicerContext) -> _Sender | Refusal:
        """
        Find out who sends, for which tenant, and whether it is too much; no byte of the message is read yet.
        """
        authenticator = route.part.authenticator
        try:
            pairs: Any = context.invocation_metadata()
            identity = PeerIdentity.of_auth_context(context.auth_context()) if self._by_certificate else None
            principal = authenticator.authenticate(pairs, identity)
            metadata = {name: value for name, value in pairs if isinstance(value, str)}
            tenant = authenticator.tenant(principal, metadata.get(TENANT_HEADER))
            self._rates.admit(principal)
        except Exception as error:  # noqa: BLE001  # it must not become UNKNOWN
            return self._refusal(route, error)
        return _Sender(principal, tenant, metadata)

    def _refusal(self, route: Route, error: BaseException) -> Refusal:
        if not isinstance(error, MeterlineError):
            self._log.error("answering a call failed", method=route.method.path, error=described(error))
        return refusals.of_error(error)

    def _reply(self, route: Route, sender: _Sender, message: bytes) -> bytes | tuple[Refusal, int]:
        """
        Wait for the answer of the intake; the bytes stay reserved until then, as long as they are somebody's.
        """
        try:
            with Reservation(self.budget, route.part.context.intake) as reservation:
                reservation.take(len(message))
                encoding = encoding_of(message)
                if encoding is not None:
                    message = decompress(encoding, (message,), self._limit, reservation.take)
                call = Call(sender.metadata, message, sender.principal, sender.tenant, self._clock.now_ns())
                return self._stored(route, call, reservation)
        except BaseException as error:  # noqa: BLE001  # it must not become UNKNOWN; a panic in Rust is no Exception
            return self._refusal(route, error), 0

    def _stored(self, route: Route, call: Call, reservation: Reservation) -> bytes | tuple[Refusal, int]:
        self._rates.spend(call.principal, 0, len(call.message))
        decoded, condemned = self._decoded(route, call)
        _account(decoded, call, reservation)
        ticket = Ticket()
        store(route.part.context.intake, route.part.receiver, call.principal, decoded, ticket.resolve)
        answer = ticket.wait() or Answer(Status.RETRY)
        self._rates.spend(call.principal, answer.points)
        refusal = refusals.of_answer(answer)
        if refusal is not None:
            return refusal, answer.points
        route.counters.stored(answer.points, answer.rejected, len(call.message))
        return b"" if condemned else route.method.respond(call, decoded, answer)

    def _decoded(self, route: Route, call: Call) -> tuple[Decoded, bool]:
        """
        Return what the receiver makes of the message; True: it failed on it for the third time, and all of it is one reject.
        """
        path = route.method.path
        try:
            return route.method.decode(call), False
        except MeterlineError:
            raise
        except BaseException as error:
            condemned = self._poison.blame(path, call.message, error) >= CONDEMNED
            self._log.error("decoding a call failed", method=path, error=described(error), quarantined=condemned)
            if condemned:
                return quarantined_whole(call.message, error), True
            raise RetryableError("decoding request: an unexpected error; send it again") from error


def _account(decoded: Decoded, call: Call, reservation: Reservation) -> None:
    """
    Count what the decoder made beside the message, as far as there is room: it exists already, refusing it helps nobody.
    """
    made = sum(len(body.data) for body in decoded.bodies if body.data is not call.message)
    if made:
        with suppress(OverloadedError):
            reservation.take(made)


def _refuse(route: Route, refusal: Refusal, points: int, context: grpc.ServicerContext) -> bytes:
    route.counters.refuse(answers.CODES[refusal.cause].name.lower(), points)
    answers.abort(refusal, context)
    return b""


def _refuse_for_now(_messages: Any, context: grpc.ServicerContext) -> bytes:
    answers.abort(refusals.retry("the gateway is starting"), context)
    return b""


_NOT_YET: Any = grpc.stream_unary_rpc_method_handler(_refuse_for_now)
