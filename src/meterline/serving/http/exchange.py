"""
One request: from its head to its answer.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, cast

from aiohttp import web

from meterline.api import (
    Answer,
    ForbiddenError,
    RetryableError,
    Status,
    TooLargeError,
    UnauthenticatedError,
    UndecodableError,
)
from meterline.serving.admission import Reservation
from meterline.serving.http import body, replies
from meterline.serving.http.connection import Connection, Phase
from meterline.serving.http.head import head_of
from meterline.serving.http.job import Job, Outcome, Stored, place_of
from meterline.serving.http.routes import Place, Route
from meterline.serving.seam import Cause, Head, Refusal, Reply, Request

if TYPE_CHECKING:
    from meterline.serving.http.listener import HttpListener

_CAUSES: Final[tuple[tuple[type[Exception], Cause], ...]] = (
    (UndecodableError, Cause.UNDECODABLE),
    (TooLargeError, Cause.TOO_LARGE),
    (UnauthenticatedError, Cause.UNAUTHENTICATED),
    (ForbiddenError, Cause.FORBIDDEN),
)
_STATUSES: Final = {
    Status.RETRY: (Cause.RETRY, "storing request: not now"),
    Status.UNDECODABLE: (Cause.UNDECODABLE, "decoding request: it is not what it should be"),
    Status.TOO_LARGE: (Cause.TOO_LARGE, "reading request: it is over the size limit"),
}
_UNEXPECTED = "handling request: an unexpected error; send it again"


class RefusedError(Exception):
    """
    The request is refused in the endpoint's words, with these headers.
    """

    def __init__(self, cause: Cause, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.refusal = Refusal(cause, message)
        self.headers = headers or {}


def refusal_of(error: Exception) -> Refusal | None:
    """
    Return what an error means to the sender, or None when nobody expected it.
    """
    if isinstance(error, RefusedError):
        return error.refusal
    if isinstance(error, RetryableError):
        return Refusal(Cause.RETRY, str(error), error.retry_after_secs)
    return next((Refusal(cause, str(error)) for kind, cause in _CAUSES if isinstance(error, kind)), None)


@dataclass(slots=True)
class Exchange:
    """
    One request on the loop.
    """

    listener: "HttpListener"
    request: web.BaseRequest
    connection: Connection
    head: Head
    route: Route | None = None
    headers: dict[str, str] = field(default_factory=dict)

    async def answer(self) -> web.Response:
        """
        Return the answer, whatever happens; raises only what tells that the sender is gone.
        """
        try:
            reply = await self._reply()
        except (ConnectionError, asyncio.CancelledError):
            raise
        except Exception as error:  # noqa: BLE001 - it must not become 500
            reply = self._refused(error)
        self.connection.enter(Phase.ANSWER, self.listener.config.idle_timeout_secs)
        close = not self.request.content.at_eof() or self.listener.closing
        return replies.response(reply, self.headers, close=close)

    async def _reply(self) -> Reply:
        place = self.listener.routes.find(self.head.path)
        if place is not None:
            self.route = place.by_method.get(self.head.method, place.first)
        self.listener.check_head(self.request, self.head)
        self.headers.update(self.listener.cors.headers(self.head))
        if place is None:
            return self._unknown()
        if self.head.method not in place.by_method:
            return self._other_method(place)
        if self.route is not None and self.route.page is not None:
            return self._page(self.route.page.get(self.head))
        return await self._store()

    def _unknown(self) -> Reply:
        self.route = self.listener.routes.beside(self.head)
        if not self.listener.settled:
            raise RetryableError("finding path: the gateway is starting")
        raise RefusedError(Cause.NOT_FOUND, "finding path: nothing is served here; look at the sender's URL")

    def _other_method(self, place: Place) -> Reply:
        preflight = self.listener.cors.preflight(self.head, place.allow)
        if preflight is not None:
            return preflight
        if self.head.method == "OPTIONS":
            return Reply(204, headers={"Allow": place.allow})
        raise RefusedError(Cause.METHOD, f"reading request: use {place.allow} here", {"Allow": place.allow})

    def _page(self, reply: Reply) -> Reply:
        return reply  # aiohttp leaves the body of an answer to HEAD out

    async def _store(self) -> Reply:
        """
        Take a request in. Nothing of its body is read before its sender is known and may send.
        """
        route = cast("Route", self.route)
        part, endpoint = route.part, route.endpoint
        assert endpoint is not None  # noqa: S101 - a route has a page or an endpoint
        if part.leaving:
            raise RetryableError("handling request: the receiver is shutting down")
        principal = part.authenticator.authenticate(self.head.headers, self.connection.identity)
        tenant = part.authenticator.tenant(principal, self.head.headers.get("x-scope-orgid"))
        self.listener.rates.admit(principal)
        if not endpoint.accepts(self.head):
            raise RefusedError(Cause.MEDIA_TYPE, "reading request: its Content-Type is not one that is taken here")
        encoding = self._encoding()
        body.check_length(self.head, self.listener.config.max_request_bytes)
        part.in_flight += 1
        try:
            wire, reservation = await self._read(route)
            request = Request(self.head, cast("bytes", wire), principal, tenant, part.context.clock.now_ns())
            outcome = await self._run(route, request, encoding, reservation)
        finally:
            part.in_flight -= 1
        return self._told(route, outcome)

    async def _read(self, route: Route) -> tuple[body.Wire, Reservation]:
        config = self.listener.config
        reservation = Reservation(self.listener.budget, route.part.context.intake)
        try:
            wire = await body.read(
                self.request,
                self.connection,
                self.head,
                config.max_request_bytes,
                config.body_timeout_secs,
                reservation,
            )
        except BaseException:
            reservation.release()
            raise
        route.part.counters[self._signal].received(len(wire))
        return wire, reservation

    async def _run(self, route: Route, request: Request, encoding: str, reservation: Reservation) -> Outcome:
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        loop = self.listener.loop

        def done(outcome: Outcome) -> None:
            loop.post(lambda: None if future.done() else future.set_result(outcome))

        part, endpoint = route.part, cast("Any", route.endpoint)
        limit = self.listener.config.max_request_bytes
        job = Job(
            part.receiver,
            part.context.intake,
            part.context.log,
            endpoint,
            request,
            encoding,
            limit,
            reservation,
            self.listener.poison,
            done,
        )
        loop.decode(job.run)
        return await future

    def _told(self, route: Route, outcome: Outcome) -> Reply:
        """
        Put what the intake answered in the endpoint's words.
        """
        if isinstance(outcome, Exception):
            raise outcome
        counters = route.part.counters[self._signal]
        answer = outcome.answer
        if answer.status is not Status.STORED:
            return self._turned_away(answer)
        counters.stored(answer.points, answer.rejected, len(outcome.request.body))
        self.listener.rates.spend(outcome.request.principal, answer.points, len(outcome.request.body))
        return self._stored(route, outcome)

    def _stored(self, route: Route, stored: Stored) -> Reply:
        """
        Say that it is stored; if that goes wrong, by the bare status: the points are on disk.
        """
        try:
            return cast("Any", route.endpoint).answer(stored.request, stored.decoded, stored.answer)  # type: ignore[no-any-return]
        except Exception as error:  # noqa: BLE001 - a refusal would be a lie
            route.part.context.log.error("wording an answer failed", path=self.head.path, **place_of(error))
            return Reply(200)

    def _turned_away(self, answer: Answer) -> Reply:
        cause, default = _STATUSES[answer.status]
        return self._refuse(Refusal(cause, answer.message or default, answer.retry_after_secs), answer.points)

    def _refused(self, error: Exception) -> Reply:
        refusal = refusal_of(error)
        if refusal is None:
            self.listener.log.error("handling a request failed", path=self.head.path, **place_of(error))
            refusal = Refusal(Cause.RETRY, _UNEXPECTED)
        if isinstance(error, RefusedError):
            self.headers.update(error.headers)
        return self._refuse(refusal, 0)

    def _refuse(self, refusal: Refusal, points: int) -> Reply:
        refusal = replies.delayed(refusal)
        self.headers.update(replies.retry_after(refusal))
        if refusal.cause is Cause.UNAUTHENTICATED:
            self.headers["WWW-Authenticate"] = 'Bearer realm="meterline"'
        route = self.route
        if route is None or route.endpoint is None:
            return replies.plain(refusal)
        try:
            reply = route.endpoint.refuse(self.head, refusal)
        except Exception as error:  # noqa: BLE001 - the sender must be told all the same
            route.part.context.log.error("wording a refusal failed", path=self.head.path, **place_of(error))
            reply = replies.plain(refusal)
        route.part.counters[self._signal].refuse(str(reply.status), points)
        return reply

    @property
    def _signal(self) -> str:
        return cast("Any", self.route).endpoint.signal  # type: ignore[no-any-return]

    def _encoding(self) -> str:
        """
        Return the one Content-Encoding, or "".
        """
        named = self.head.headers.get("content-encoding", "").strip().lower()
        if named in ("", "identity"):
            return ""
        if named in self.listener.encodings:
            return named
        raise RefusedError(
            Cause.MEDIA_TYPE,
            "reading request: its Content-Encoding is not one that is taken here, or more than one",
            {"Accept-Encoding": ", ".join(self.listener.encodings)},
        )


async def serve(listener: "HttpListener", request: web.BaseRequest) -> web.StreamResponse:
    """
    Answer one request.
    """
    connection = cast("Connection", request.protocol)
    connection.enter(Phase.BUSY)
    try:
        head = head_of(request.method, request.raw_path, request.headers.items())
    except UndecodableError as error:
        refusal = Refusal(Cause.UNDECODABLE, str(error))
        return replies.response(replies.plain(refusal), {}, close=True)
    return await Exchange(listener, request, connection, head).answer()
