"""
Reading a request's body: counted while it comes, and refused as soon as it is too much.
"""

from typing import NamedTuple

from aiohttp import web

from meterline.api import OverloadedError, TooLargeError, UndecodableError
from meterline.serving.admission import Reservation
from meterline.serving.http.connection import Connection, Phase, SlowClientError
from meterline.serving.seam import Head

_TOO_LARGE = "reading request: it is over max_request_bytes"
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
Wire = bytes | bytearray


def check_head(request: web.BaseRequest, max_bytes: int) -> None:
    """
    Hold the request line and headers against their budget, and the framing of the body against what we read.

    :raises UndecodableError: it is over the budget, or another server might read the body otherwise.
    """
    size = len(request.raw_path) + sum(len(name) + len(value) + 4 for name, value in request.raw_headers)
    if size > max_bytes:
        raise UndecodableError("reading request: its headers are over max_header_bytes")
    coding = request.headers.get("Transfer-Encoding")
    if coding is not None and coding.strip().lower() != "chunked":
        raise UndecodableError("reading request: its Transfer-Encoding is not `chunked`")


def check_length(head: Head, limit: int) -> None:
    """
    Refuse by what the head says of the body.

    :raises TooLargeError: it is over the limit.
    """
    length = head.headers.get("content-length")
    if length is not None and int(length) > limit:
        raise TooLargeError(_TOO_LARGE)


class Bounds(NamedTuple):
    """
    What a body must keep to: its size on the wire, the time until it is there, and the bytes in flight.
    """

    max_bytes: int
    secs: float
    reservation: Reservation


async def read(request: web.BaseRequest, connection: Connection, head: Head, bounds: Bounds) -> Wire:
    """
    Return the body as it comes over the wire.

    :raises TooLargeError: it is over the limit.
    :raises UndecodableError: its chunks are broken.
    :raises OverloadedError: too many bytes are in flight, or it took too long.
    :raises ConnectionError: the sender went away.
    """
    connection.body = request.content
    connection.enter(Phase.BODY, bounds.secs)
    await _ask_for_it(request, head)
    try:
        wire = await _all_of(request, bounds)
    except web.RequestPayloadError as error:
        raise UndecodableError("reading request: its body is not framed as HTTP wants it") from error
    except SlowClientError as error:
        raise OverloadedError(
            f"reading request: its body was not there within body_timeout_secs ({bounds.secs:g})"
        ) from error
    connection.enter(Phase.BUSY)
    return wire


async def _all_of(request: web.BaseRequest, bounds: Bounds) -> Wire:
    content = request.content
    wire: Wire = b""
    try:
        while piece := await content.readany():
            if len(wire) + len(piece) > bounds.max_bytes:
                raise TooLargeError(_TOO_LARGE)
            bounds.reservation.take(len(piece))
            wire = _joined(wire, piece)
        return wire
    finally:
        del wire  # what ends a body is kept by ``content``, and has this frame in its traceback: a cycle


def _joined(wire: Wire, piece: bytes) -> Wire:
    """
    Append: one buffer, since many small pieces would take many times their size.
    """
    if not wire:
        return piece
    if not isinstance(wire, bytearray):
        wire = bytearray(wire)
    wire += piece
    return wire


async def _ask_for_it(request: web.BaseRequest, head: Head) -> None:
    expected = head.headers.get("expect")
    if expected is None or request.version < (1, 1):
        return
    if expected.strip().lower() != "100-continue":
        raise UndecodableError("reading request: nothing but `Expect: 100-continue` is understood")
    await request.writer.write(_CONTINUE)
    request.writer.output_size = 0  # it is not the answer yet
