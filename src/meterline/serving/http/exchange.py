"""
One request: from its head to its answer.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, cast

from aiohttp import web

from meterline.api import MeterlineError, Principal, RetryableError, UnauthenticatedError, UndecodableError
from meterline.poison import Poison
from meterline.serving import refusals
from meterline.serving.admission import ByteBudget, Reservation
from meterline.serving.auth.authenticator import TENANT_HEADER
from meterline.serving.config import HttpListenerConfig
from meterline.serving.faults import described
from meterline.serving.http import body, replies
from meterline.serving.http.connection import Connection, Phase
from meterline.serving.http.cors import Cors
from meterline.serving.http.head import head_of
from meterline.serving.http.job import Identify, Job, Outcome, Sender, Stored
from meterline.serving.http.loop import EventLoop
from meterline.serving.http.routes import Place, Route, Routes
from meterline.serving.rates import Rates
from meterline.serving.seam import Cause, Endpoint, Head, Refusal, Reply

MAX_UNKNOWN_SENDER_BYTES = 20 * 1024 * 1024
"""Size limit of a body that is read before its sender is known."""

_CHALLENGE = 'Bearer realm="meterline"'


@dataclass(slots=True, eq=False)
class Site:
    """
    What all requests to one listener share.
    """

    config: HttpListenerConfig
    log: Any
    loop: EventLoop
    rates: Rates
    routes: Routes
    cors: Cors
    poison: Poison
    budget: ByteBudget
    settled: bool = True
    closing: bool = False

    @property
    def encodings(self) -> tuple[str, ...]:
        """
        Return the values of Content-Encoding that are taken.
        """
        algorithms = self.config.compression_algorithms
        return (*algorithms, "x-gzip") if "gzip" in algorithms else algorithms


class RefusedError(Exception):
    """
    The request is refused, with these headers.
    """

    def __init__(self, cause: Cause, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.refusal = Refusal(cause, message)
        self.headers = headers or {}


async def serve(site: Site, request: web.BaseRequest) -> web.StreamResponse:
    """
    Answer one request.
    """
    connection = cast("Connection", request.protocol)
    connection.enter(Phase.BUSY)
    try:
        body.check_head(request, site.config.max_header_bytes)
        head = head_of(request.method, request.raw_path, request.headers.items())
    except UndecodableError as error:
        return replies.Written(replies.plain(refusals.of_error(error)), {}, close=True)
    return await Exchange(site, request, connection, head).answer()


@dataclass(slots=True)
class Exchange:
    """
    One request on the loop.
    """

    site: Site
    request: web.BaseRequest
    connection: Connection
    head: Head
    route: Route | None = None
    headers: dict[str, str] = field(default_factory=dict)

    async def answer(self) -> web.StreamResponse:
        """
        Return the answer, whatever happens; raises only what tells that the sender is gone.
        """
        try:
            reply = await self._reply()
        except (ConnectionError, asyncio.CancelledError):
            raise
        except Exception as error:  # noqa: BLE001 - it must not become 500
            reply = self._refused(error)
        unread = not self.request.content.at_eof()
        return replies.Written(reply, self.headers, close=unread or self.site.closing)

    async def _reply(self) -> Reply:
        head = self.head
        place = self.site.routes.find(head.path)
        if place is None:
            return self._unknown()
        route = self.route = place.by_method.get(head.method) or place.first
        self.headers.update(self.site.cors.headers(head))
        if head.method not in place.by_method:
            return self._other_method(place)
        if route.page is not None:
            return route.page.get(head)
        return await self._store(route, cast("Endpoint", route.endpoint))

    def _unknown(self) -> Reply:
        self.route = self.site.routes.beside(self.head)
        if not self.site.settled:
            raise RetryableError("finding path: the gateway is starting")
        raise RefusedError(Cause.NOT_FOUND, "finding path: nothing is served here; look at the sender's URL")

    def _other_method(self, place: Place) -> Reply:
        preflight = self.site.cors.preflight(self.head, place.allow)
        if preflight is not None:
            return preflight
        if self.head.method == "OPTIONS":
            return Reply(204, headers={"Allow": place.allow})
        raise RefusedError(Cause.METHOD, f"reading request: use {place.allow} here", {"Allow": place.allow})

    async def _store(self, route: Route, endpoint: Endpoint) -> Reply:
        """
        Take a request in. Nothing of its body is read before its sender is known, unless the body is what says so.
        """
        if route.part.leaving:
            raise RetryableError("handling request: the receiver is shutting down")
        identify, limit = self._identify(route, endpoint)
        if not endpoint.accepts(self.head):
            raise RefusedError(Cause.MEDIA_TYPE, "reading request: its Content-Type is not one that is taken here")
        encoding = self._encoding()
        body.check_length(self.head, limit)
        route.part.in_flight += 1
        try:
            wire, reservation = await self._read(route, limit)
            job = partial(Job, route.part, endpoint, self.head, wire, encoding, limit, identify, reservation)
            outcome = await self._run(job)
        finally:
            route.part.in_flight -= 1
        return self._told(route, outcome)

    def _identify(self, route: Route, endpoint: Endpoint) -> tuple[Identify, int]:
        """
        Return who sends, as a function of the body, and how large the body may be.
        """
        limit = self.site.config.max_request_bytes
        try:
            principal = route.part.authenticator.authenticate(self.head.headers, self.connection.identity)
        except UnauthenticatedError as error:
            if not endpoint.credential_in_body:
                raise
            return partial(self._named_in_body, route, endpoint, error), min(limit, MAX_UNKNOWN_SENDER_BYTES)
        sender = self._admitted(route, principal)
        return lambda _body: sender, limit

    def _named_in_body(self, route: Route, endpoint: Endpoint, why: UnauthenticatedError, content: bytes) -> Sender:
        token = endpoint.credential(self.head, content)
        if token is None:
            raise why
        return self._admitted(route, route.part.authenticator.authenticate({"x-api-key": token}, None))

    def _admitted(self, route: Route, principal: Principal) -> Sender:
        """
        Let a known sender in: its tenant, its rate. Any thread.
        """
        tenant = route.part.authenticator.tenant(principal, self.head.headers.get(TENANT_HEADER))
        self.site.rates.admit(principal)
        return Sender(principal, tenant)

    async def _read(self, route: Route, limit: int) -> tuple[body.Wire, Reservation]:
        reservation = Reservation(self.site.budget, route.part.context.intake)
        secs = self.site.config.body_timeout_secs
        try:
            wire = await body.read(self.request, self.connection, self.head, body.Bounds(limit, secs, reservation))
        except BaseException:
            reservation.release()
            raise
        route.counters.received(len(wire))
        return wire, reservation

    async def _run(self, make_job: Callable[..., Job]) -> Outcome:
        """
        Let a decoding thread do the rest, and wait for what the intake says.
        """
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        loop = self.site.loop

        def done(outcome: Outcome) -> None:
            loop.post(lambda: None if future.done() else future.set_result(outcome))

        loop.decode(make_job(self.site.rates, self.site.poison, done).run)
        return await future

    def _told(self, route: Route, outcome: Outcome) -> Reply:
        """
        Put what the intake answered in the endpoint's words.
        """
        if isinstance(outcome, BaseException):
            return self._refused(outcome)  # raised here, it would be a cycle with this frame that keeps the body alive
        answer, request = outcome.answer, outcome.request
        refusal = refusals.of_answer(answer)
        if refusal is not None:
            return self._refuse(refusal, answer.points)
        route.counters.stored(answer.points, answer.rejected, len(request.body))
        self.site.rates.spend(request.principal, answer.points)
        return self._stored(route, outcome)

    def _stored(self, route: Route, stored: Stored) -> Reply:
        """
        Say that it is stored; if that goes wrong, by the bare status: the points are on disk.
        """
        try:
            return cast("Endpoint", route.endpoint).answer(stored.request, stored.decoded, stored.answer)
        except Exception as error:  # noqa: BLE001 - a refusal would be a lie
            self._complain("wording an answer failed", error)
            return Reply(200)

    def _refused(self, error: BaseException) -> Reply:
        if isinstance(error, RefusedError):
            self.headers.update(error.headers)
            return self._refuse(error.refusal)
        if not isinstance(error, MeterlineError):
            self._complain("handling a request failed", error)
        return self._refuse(refusals.of_error(error))

    def _refuse(self, refusal: Refusal, points: int = 0) -> Reply:
        self.headers.update(replies.retry_after(refusal))
        if refusal.cause is Cause.UNAUTHENTICATED:
            self.headers["WWW-Authenticate"] = _CHALLENGE
        route = self.route
        if route is None or route.endpoint is None:
            return replies.plain(refusal)
        try:
            reply = route.endpoint.refuse(self.head, refusal)
        except Exception as error:  # noqa: BLE001 - the sender must be told all the same
            self._complain("wording a refusal failed", error)
            reply = replies.plain(refusal)
        route.counters.refuse(str(reply.status), points)
        return reply

    def _complain(self, event: str, error: BaseException) -> None:
        self.site.log.error(event, path=self.head.path, error=described(error))

    def _encoding(self) -> str:
        """
        Return the one Content-Encoding, or "".
        """
        named = self.head.headers.get("content-encoding", "").strip().lower()
        if named in ("", "identity"):
            return ""
        if named in self.site.encodings:
            return named
        raise RefusedError(
            Cause.MEDIA_TYPE,
            "reading request: its Content-Encoding is not one that is taken here, or more than one",
            {"Accept-Encoding": ", ".join(self.site.encodings)},
        )
