"""
The part of a request that runs on a decoding thread: decompress, decode, submit.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NamedTuple

from meterline.api import (
    Answer,
    ForbiddenError,
    OverloadedError,
    RetryableError,
    TooLargeError,
    UndecodableError,
)
from meterline.serving.admission import Reservation
from meterline.serving.codecs import decompress
from meterline.serving.poison import Poison, quarantined_whole
from meterline.serving.seam import Decoded, Endpoint, Request
from meterline.serving.storing import store

_EXPECTED = (UndecodableError, TooLargeError, ForbiddenError, RetryableError)


class Stored(NamedTuple):
    """
    What the intake answered to a request.
    """

    request: Request
    decoded: Decoded
    answer: Answer


Outcome = Stored | Exception


@dataclass(slots=True)
class Job:
    """
    One request. ``request.body`` holds the wire's bytes until it runs. ``done`` is called once, from any thread; the bytes
    stay reserved until then.
    """

    receiver: str
    intake: Any
    log: Any
    endpoint: Endpoint
    request: Request
    encoding: str
    limit: int
    reservation: Reservation
    poison: Poison
    done: Callable[[Outcome], None]

    def run(self) -> None:
        """
        Do it; never raises.
        """
        try:
            self._decompress()
            decoded = self._decode()
            self._account(decoded)
        except Exception as error:  # noqa: BLE001 - whatever it is becomes an answer
            self._finish(error)
            return
        store(self.intake, self.receiver, self.request.principal, decoded, lambda answer: self._stored(decoded, answer))

    def _decompress(self) -> None:
        wire = self.request.body
        if self.encoding:
            body = decompress(self.encoding, (wire,), self.limit, self.reservation.take)
        elif isinstance(wire, bytes):
            return
        else:
            body = bytes(wire)
        request = self.request
        self.request = Request(request.head, body, request.principal, request.tenant, request.received_at)

    def _decode(self) -> Decoded:
        try:
            return self.endpoint.decode(self.request)
        except _EXPECTED:
            raise
        except Exception as error:  # noqa: BLE001 - see Poison
            return self._blamed(error)

    def _blamed(self, error: Exception) -> Decoded:
        kind = f"{self.receiver}:{self.request.head.path}"
        condemned = self.poison.blame(kind, self.request.body)
        self.log.error("decoding a request failed", condemned=condemned, path=self.request.head.path, **place_of(error))
        if condemned:
            return quarantined_whole(self.request.body, error)
        raise RetryableError("decoding request: an unexpected error; send it again") from error

    def _account(self, decoded: Decoded) -> None:
        """
        Count what the decoder made beside the body, as far as there is room: it exists already, refusing it helps nobody.
        """
        made = sum(len(body.data) for body in decoded.bodies if body.data is not self.request.body)
        if made:
            with suppress(OverloadedError):
                self.reservation.take(made)

    def _stored(self, decoded: Decoded, answer: Answer) -> None:
        self._finish(Stored(self.request, decoded, answer))

    def _finish(self, outcome: Outcome) -> None:
        self.reservation.release()
        self.done(outcome)


def place_of(error: BaseException) -> dict[str, Any]:
    """
    Return of an unexpected error what may stand in a log: its type and place, and not its message, which may quote a payload.
    """
    last = error.__traceback__
    while last is not None and last.tb_next is not None:
        last = last.tb_next
    where = "" if last is None else f"{last.tb_frame.f_code.co_filename.rpartition('/')[2]}:{last.tb_lineno}"
    return {"error_type": type(error).__name__, "where": where}
