"""
What a receiver says of its protocol, and what a listener does for it.

A receiver over HTTP is a list of ``Endpoint``; over gRPC a list of ``Method``. The listener does the rest, in this order:
bounds of connection and headers, path, method, credential, tenant, rate, media type, size, decompression under one cap,
``decode`` on a worker thread, intake, ``answer``. Whatever fails becomes a ``Refusal`` that ``refuse`` puts in its words.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, ClassVar

from meterline.api import Answer, Body, Principal


class Cause(Enum):
    """
    Why a request is not stored, and the HTTP status that says so unless the protocol wants another.
    """

    UNDECODABLE = 400
    UNAUTHENTICATED = 401
    FORBIDDEN = 403
    NOT_FOUND = 404  # a path that is not served: /v1/traces next to /v1/metrics
    METHOD = 405
    TOO_LARGE = 413
    MEDIA_TYPE = 415
    RETRY = 503


@dataclass(frozen=True, slots=True)
class Refusal:
    """
    Not stored. ``message`` is for the sender: no secret, no payload. ``retry_after_secs``: of RETRY, already 1 s to 30 s.
    """

    cause: Cause
    message: str
    retry_after_secs: float | None = None


@dataclass(frozen=True, slots=True)
class Head:
    """
    A request without its body. ``headers``: names in lower case, the last of equal ones. ``query``: the last of equal ones.

    ``media_type``: of Content-Type, lower case, "" when absent; ``media_params``: its parameters, unquoted.
    """

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    media_type: str
    media_params: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Request:
    """
    A request whose sender is known and whose body is decompressed.

    ``tenant``: what its ``X-Scope-OrgID`` says, checked against the principal; or the one tenant that the principal has; or
    "". ``received_at``: ns UTC.
    """

    head: Head
    body: bytes
    principal: Principal
    tenant: str
    received_at: int


@dataclass(frozen=True, slots=True)
class Decoded:
    """
    What a receiver made of a request. No bodies: it is answered as stored, with nothing in it.

    ``remember``: see ``api.Intake.submit``. ``note``: whatever ``answer`` wants to know of it again.
    """

    bodies: Sequence[Body] = ()
    remember: Mapping[str, bytes] = field(default_factory=dict)
    note: Any = None


@dataclass(frozen=True, slots=True)
class Reply:
    """
    An HTTP answer. ``media_type`` "" when there is no body.
    """

    status: int
    body: bytes = b""
    media_type: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)


class Endpoint(ABC):
    """
    One kind of request of one receiver. Any thread.
    """

    paths: tuple[str, ...]
    signal: str
    """What it counts as in metrics: metrics, logs, events, usage."""

    methods: ClassVar[tuple[str, ...]] = ("POST",)

    credential_in_body: ClassVar[bool] = False
    """Whether the sender may be known only once the body is read: of at most 20 MiB, then."""

    def accepts(self, head: Head) -> bool:  # noqa: ARG002 - every type, unless a subclass looks
        """
        Say whether the media type is one of the protocol's; else 415. Asked before the body is read.
        """
        return True

    def credential(self, head: Head, body: bytes) -> str | None:  # noqa: ARG002 - in the headers, unless a subclass looks
        """
        Return the token that the protocol has in its body or query; None: there is none.

        Asked only with ``credential_in_body``, and only when the headers hold no right credential; the body is decompressed.
        """
        return None

    @abstractmethod
    def decode(self, request: Request) -> Decoded:
        """
        Make bodies of a request, on a worker thread; deterministic: a repeat makes the same bytes.

        Raises UndecodableError (400), TooLargeError (413), ForbiddenError (403), RetryableError (503); anything else is
        answered 503, twice, and then quarantined whole.
        """

    @abstractmethod
    def answer(self, request: Request, decoded: Decoded, answer: Answer) -> Reply:
        """
        Say that it is stored: ``answer.status`` is STORED, the sum over all bodies; ``items`` are those of the usage body.
        """

    @abstractmethod
    def refuse(self, head: Head, refusal: Refusal) -> Reply:
        """
        Say that it is not. The listener adds Retry-After, WWW-Authenticate and Allow.
        """


class Page(ABC):
    """
    Something to GET beside the endpoints, without a credential: a document, a health answer.
    """

    paths: tuple[str, ...]

    @abstractmethod
    def get(self, head: Head) -> Reply:
        """
        Answer; quick, from memory.
        """


@dataclass(frozen=True, slots=True)
class Call:
    """
    A unary gRPC request whose sender is known. ``metadata``: names in lower case, the last of equal ones.
    """

    metadata: Mapping[str, str]
    message: bytes
    principal: Principal
    tenant: str
    received_at: int


@dataclass(frozen=True, slots=True)
class Method:
    """
    One unary gRPC method of a receiver. ``path``: ``/package.Service/Method``. ``decode`` raises as ``Endpoint.decode``.

    Refusals are the same for all: UNAVAILABLE with RetryInfo, INVALID_ARGUMENT, RESOURCE_EXHAUSTED without RetryInfo,
    UNAUTHENTICATED, PERMISSION_DENIED.
    """

    path: str
    signal: str
    decode: Callable[[Call], Decoded]
    respond: Callable[[Call, Decoded, Answer], bytes]
