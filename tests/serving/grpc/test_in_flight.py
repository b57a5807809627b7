"""
What is in flight: bytes until the answer, threads until the end.
"""

import threading
from typing import Any

from meterline.api import Body, Format
from meterline.testing.process import free_port, wait_until

WAIT_SECS = 20.0


def test_what_a_decoder_makes_counts_beside_what_it_was_made_of(ports: Any, intake: Any, service: Any) -> None:
    """
    Until the answer; a body that is the message itself is counted once, and what finds no room is not counted.
    """
    made = {b"points": b"x" * 1000, b"itself": None, b"large!": b"x" * 5000}
    one = service("One", bodies=lambda message: (Body(Format.OTLP_LOGS, made[message] or message),))
    channel = ports(one)
    intake.budget = 3000
    for message, expected in ((b"points", 1006), (b"itself", 6), (b"large!", 6)):
        with intake.held():
            call = channel.unary_unary(one.path).future(message, timeout=60)
            assert intake.submitted.acquire(timeout=WAIT_SECS)
            assert intake.in_flight == expected
        assert call.result(WAIT_SECS) == b"noted 1/0"
        assert intake.in_flight == 0


def test_the_threads_of_a_port_end_with_it(open_port: Any, connect: Any, service: Any) -> None:
    """
    Those that answered calls, and the one that looks after the port.
    """
    address = f"127.0.0.1:{free_port()}"

    def threads() -> list[str]:
        names = [thread.name for thread in threading.enumerate()]
        return [name for name in names if name.startswith("grpc-") and address in name]

    one = service("One")
    port = open_port(one, endpoint=address)
    assert connect(address).unary_unary(one.path)(b"x", timeout=WAIT_SECS) == b"noted 1/0"
    assert len(threads()) >= 2
    port.stop(5)
    wait_until(lambda: not threads(), WAIT_SECS, "its threads to end")
