"""
The export services: raw bytes in, admitted, decompressed, handed to the intake, answered when they are durable.

Handlers take bytes and parse nothing: gRPC's own deserializer would answer INTERNAL, and an exception UNKNOWN, and senders
drop on both.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import grpc
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2

from meterline.api import (
    ANONYMOUS,
    Answer,
    Format,
    Principal,
    ReceiverContext,
    RetryableError,
    Ticket,
    TooLargeError,
    UndecodableError,
)
from meterline.receivers.otlp import answers
from meterline.receivers.otlp.answers import Refusal
from meterline.receivers.otlp.auth import KeyRing, principal_of_peer
from meterline.receivers.otlp.inflate import inflate, is_compressed
from meterline.serving.admission import ByteBudget, Reservation
from meterline.serving.config import GrpcListenerConfig as GrpcConfig
from meterline.serving.counters import SignalCounters
from meterline.serving.grpc.inbox import Inbox

METRICS_SERVICE: str = metrics_service_pb2.DESCRIPTOR.services_by_name["MetricsService"].full_name
LOGS_SERVICE: str = logs_service_pb2.DESCRIPTOR.services_by_name["LogsService"].full_name
_NO_CREDENTIAL = "authenticating request: no valid key; send `authorization: Bearer <token>` or `x-api-key: <token>`"
_NO_MESSAGE = "reading request: the call has no message"
_NO_SUBJECT = "authenticating request: the client certificate has neither a common name nor an alternative name"


@dataclass(frozen=True, slots=True)
class Signal:
    """
    One of the two services.
    """

    method: str
    format: Format
    response: Callable[[Answer], bytes]
    counters: SignalCounters = field(compare=False)


def signals() -> tuple[Signal, Signal]:
    """
    Return the two services that are served, with counters at zero. Traces are not: they are answered UNIMPLEMENTED.
    """
    return (
        Signal(f"/{METRICS_SERVICE}/Export", Format.OTLP_METRICS, answers.metrics_response, SignalCounters("metrics")),
        Signal(f"/{LOGS_SERVICE}/Export", Format.OTLP_LOGS, answers.logs_response, SignalCounters("logs")),
    )


class ExportService(grpc.GenericRpcHandler):
    """
    Finds the handler of a call by its method and its sender, before any of its body is read.
    """

    def __init__(self, receiver: str, config: GrpcConfig, context: ReceiverContext) -> None:
        self._receiver = receiver
        self._limit = config.max_request_bytes
        self._intake = context.intake
        self._log = context.log
        self._keys = KeyRing(config.auth) if config.auth else None
        self.inbox = Inbox(context.clock)
        self.budget = ByteBudget(config.max_in_flight_bytes)
        self.signals = {signal.method: signal for signal in signals()}
        by_subject = config.auth is None and config.tls is not None and config.tls.client_ca_file is not None
        self._handlers = self._all_handlers(None if by_subject else ANONYMOUS)

    def _all_handlers(self, default: Principal | None) -> Mapping[tuple[str, Principal | None], Any]:
        principals = [default] if self._keys is None else list(self._keys.principals)
        self._default = default
        return {
            (signal.method, principal): grpc.stream_unary_rpc_method_handler(partial(self._export, signal, principal))
            for signal in self.signals.values()
            for principal in principals
        }

    def service(self, handler_call_details: Any) -> Any:
        """
        Return the call's handler; None: no such service. Never raises, since gRPC would answer UNKNOWN.
        """
        signal = self.signals.get(handler_call_details.method)
        if signal is None:
            return None
        try:
            return self._handler(signal, handler_call_details.invocation_metadata)
        except Exception:  # noqa: BLE001  # it must not become UNKNOWN
            self._log.exception("finding out who sends failed")
            return _refusing(signal, answers.unavailable("authenticating request: it cannot be done now"))

    def _handler(self, signal: Signal, metadata: Any) -> Any:
        if self._keys is None:
            return self._handlers[signal.method, self._default]
        principal = self._keys.find(metadata)
        if principal is None:
            return _refusing(signal, answers.unauthenticated(_NO_CREDENTIAL))
        return self._handlers[signal.method, principal]

    def _export(
        self, signal: Signal, known: Principal | None, messages: Iterator[bytes], context: grpc.ServicerContext
    ) -> bytes:
        """
        Answer one call. It is unary on the wire; as a stream for gRPC, so that reading it is up to us.
        """
        body = self.inbox.read(messages, context)
        if body is None:
            return _refuse(signal, (answers.undecodable(_NO_MESSAGE), 0), context)
        signal.counters.received(len(body))
        reply = self._reply(signal, known, body, context)
        return reply if isinstance(reply, bytes) else _refuse(signal, reply, context)

    def _reply(
        self, signal: Signal, known: Principal | None, body: bytes, context: grpc.ServicerContext
    ) -> bytes | tuple[Refusal, int]:
        try:
            principal = known or principal_of_peer(context.auth_context())
            if principal is None:
                return answers.unauthenticated(_NO_SUBJECT), 0
            return self._store(signal, principal, body)
        except TooLargeError as error:
            return answers.too_large(str(error)), 0
        except UndecodableError as error:
            return answers.undecodable(str(error)), 0
        except RetryableError as error:
            return answers.unavailable(str(error), error.retry_after_secs), 0
        except Exception:  # noqa: BLE001  # it must not become UNKNOWN
            self._log.exception("answering an export request failed", method=signal.method)
            return answers.unavailable("handling request: an unexpected error; send it again"), 0

    def _store(self, signal: Signal, principal: Principal, body: bytes) -> bytes | tuple[Refusal, int]:
        """
        Wait for the answer of the intake; the bytes stay reserved until then, as long as they are somebody's.
        """
        with Reservation(self.budget, self._intake) as reservation:
            reservation.take(len(body))
            if is_compressed(body):
                body = inflate(body, self._limit, reservation.take)
            ticket = Ticket()
            self._intake.submit(body, signal.format, self._receiver, principal, ticket)
            answer = ticket.wait()
        if answer is None:
            return answers.unavailable("storing request: no answer"), 0
        refusal = answers.refusal_of(answer)
        if refusal is not None:
            return refusal, answer.points
        signal.counters.stored(answer.points, answer.rejected, len(body))
        return signal.response(answer)


def _refuse(signal: Signal, reply: tuple[Refusal, int], context: grpc.ServicerContext) -> bytes:
    refusal, points = reply
    signal.counters.refuse(refusal.code.name.lower(), points)
    refusal.abort(context)
    return b""


def _refusing(signal: Signal, refusal: Refusal) -> Any:
    """
    Return a handler that refuses without reading the body: a streaming one reads only what it asks for.
    """

    def refuse(_requests: Any, context: grpc.ServicerContext) -> bytes:
        return _refuse(signal, (refusal, 0), context)

    return grpc.stream_unary_rpc_method_handler(refuse)
