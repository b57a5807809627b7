"""
The part of a request that runs on a decoding thread: decompress, decode, submit.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import NamedTuple

from meterline.api import Answer, MeterlineError, OverloadedError, Principal, RetryableError
from meterline.poison import CONDEMNED, Poison
from meterline.serving.admission import Reservation
from meterline.serving.codecs import decompress
from meterline.serving.faults import described
from meterline.serving.http.routes import Part
from meterline.serving.poison import quarantined_whole
from meterline.serving.rates import Rates
from meterline.serving.seam import Decoded, Endpoint, Head, Request
from meterline.serving.storing import store


class Sender(NamedTuple):
    """
    Who sends, and for which tenant.
    """

    principal: Principal
    tenant: str


class Stored(NamedTuple):
    """
    What the intake answered to a request.
    """

    request: Request
    decoded: Decoded
    answer: Answer


Outcome = Stored | BaseException
Identify = Callable[[bytes], Sender]


@dataclass(slots=True)
class Job:
    """
    One request. ``done`` is called once that counts, from any thread; the bytes stay reserved until then.
    """

    part: Part
    endpoint: Endpoint
    head: Head
    wire: bytes | bytearray
    encoding: str
    limit: int
    identify: Identify
    reservation: Reservation
    rates: Rates
    poison: Poison
    done: Callable[[Outcome], None]

    def run(self) -> None:
        """
        Do it; never raises.
        """
        try:
            request = self._request()
            decoded = self._decoded(request)
            self._account(request, decoded)
            intake, receiver = self.part.context.intake, self.part.receiver
            store(intake, receiver, request.principal, decoded, lambda a: self._finish(Stored(request, decoded, a)))
        except MeterlineError as error:
            self._finish(error.with_traceback(None))  # through its frames and ``done`` it would keep the body alive
        except BaseException as error:  # noqa: BLE001 - whatever it is becomes an answer; a panic in Rust is no Exception
            self._finish(error)

    def _request(self) -> Request:
        received_at = self.part.context.clock.now_ns()
        wire, self.wire = self.wire, b""
        body = decompress(self.encoding, (wire,), self.limit, self.reservation.take) if self.encoding else bytes(wire)
        principal, tenant = self.identify(body)
        self.rates.spend(principal, 0, len(body))
        return Request(self.head, body, principal, tenant, received_at)

    def _decoded(self, request: Request) -> Decoded:
        try:
            return self.endpoint.decode(request)
        except MeterlineError:
            raise
        except BaseException as error:  # noqa: BLE001 - see Poison
            return self._blamed(request, error)

    def _blamed(self, request: Request, error: BaseException) -> Decoded:
        path = self.head.path
        condemned = self.poison.blame(f"{self.part.receiver}:{path}", request.body, error) >= CONDEMNED
        self.part.context.log.error("decoding a request failed", condemned=condemned, path=path, error=described(error))
        if condemned:
            return quarantined_whole(request.body, error)
        raise RetryableError("decoding request: an unexpected error; send it again") from error

    def _account(self, request: Request, decoded: Decoded) -> None:
        """
        Count what the decoder made beside the body, as far as there is room: it exists already, refusing it helps nobody.
        """
        made = sum(len(body.data) for body in decoded.bodies if body.data is not request.body)
        if made:
            with suppress(OverloadedError):
                self.reservation.take(made)

    def _finish(self, outcome: Outcome) -> None:
        self.reservation.release()
        self.done(outcome)
