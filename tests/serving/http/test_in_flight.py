"""
What is in flight: how many requests, how many bytes, and for how long they are kept in memory.
"""

import gc
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

from meterline.api import Body, Format, UndecodableError
from meterline.serving.seam import Decoded, Request
from meterline.testing.http_rig import WAIT_SECS, Rig
from meterline.testing.process import wait_until

ONE = b"POST /v1/metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\n\r\npoints"


def test_requests_count_until_they_are_answered(rig: Rig) -> None:
    """
    A stop waits for those that are counted, so one that is answered, or whose sender is refused or gone, must not be.
    """
    waiting, gone = rig.connect(), rig.connect()
    with rig.intake.held():
        for sock in (waiting, gone):
            sock.sendall(ONE)
            assert rig.intake.submitted.acquire(timeout=WAIT_SECS)
        assert rig.sample("meterline_receiver_waiting_requests") == 2
        gone.close()
    assert rig.read(waiting).status == 200
    assert rig.send(b"x", {"Content-Encoding": "gzip"}).status == 400
    wait_until(lambda: rig.sample("meterline_receiver_waiting_requests") == 0, WAIT_SECS, "nothing to be in flight")


def test_what_a_decoder_makes_counts_beside_what_it_was_made_of(rig: Rig) -> None:
    """
    Until the answer; a body that is the request's own bytes is counted once, and what finds no room is not counted.
    """
    made = {b"points": b"x" * 1000, b"itself": None, b"large!": b"x" * 5000}

    def decode(request: Request) -> Decoded:
        data = made[request.body]
        return Decoded([Body(Format.OTLP_METRICS, request.body if data is None else data)])

    rig.endpoint.decoder = decode
    rig.intake.budget = 3000
    for body, expected in ((b"points", 1006), (b"itself", 6), (b"large!", 6)):
        sock = rig.connect()
        with rig.intake.held():
            sock.sendall(ONE.replace(b"points", body))
            assert rig.intake.submitted.acquire(timeout=WAIT_SECS)
            assert (rig.intake.in_flight, rig.sample("meterline_receiver_in_flight_bytes")) == (expected, expected)
        assert rig.read(sock).status == 200
        assert (rig.intake.in_flight, rig.sample("meterline_receiver_in_flight_bytes")) == (0, 0)


class Large:
    """
    Something of a request.
    """


@contextmanager
def without_collector() -> Iterator[None]:
    """
    Let nothing be freed but what nobody refers to any more.
    """
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def test_a_refused_body_is_freed_with_its_answer(rig: Rig) -> None:
    """
    The error that refuses it holds on to nothing: bodies of up to 64 MiB would be there until the garbage is collected.
    """
    seen: list[weakref.ref[Large]] = []

    def decode(_: Request) -> NoReturn:
        large = Large()
        seen.append(weakref.ref(large))
        raise UndecodableError("reading request: broken")

    rig.endpoint.decoder = decode
    with without_collector():
        assert rig.send().status == 400
        wait_until(lambda: seen[0]() is None, WAIT_SECS, "it to be freed")
