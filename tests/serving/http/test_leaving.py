"""
Receivers that leave a shared listener at the same time, as they do whenever a gateway stops.
"""

import socket
import threading
from collections.abc import Callable, Coroutine
from typing import Any

from meterline.serving.config import HttpListenerConfig
from meterline.serving.http import EventLoop, HttpListener
from meterline.testing.http_rig import WAIT_SECS, Rig, StubEndpoint
from meterline.testing.process import wait_until

CONFIG = HttpListenerConfig(endpoint="127.0.0.1:0")


class HeldLoop(EventLoop):
    """
    Holds back whatever a thread named ``slow`` wants to run: it is not always the thread's turn.
    """

    def __init__(self) -> None:
        super().__init__()
        self.reached, self.go = threading.Event(), threading.Event()

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """
        Wait, if it is the slow one; then run it.
        """
        if threading.current_thread().name == "slow":
            self.reached.set()
            assert self.go.wait(WAIT_SECS)
        return super().run(coroutine)


class Stopping(threading.Thread):
    """
    A thread that keeps what it died of.
    """

    def __init__(self, stop: Callable[[float], None], grace_secs: float) -> None:
        super().__init__(name="slow", daemon=True)
        self._stop_with = lambda: stop(grace_secs)
        self.error: BaseException | None = None

    def run(self) -> None:
        """
        Stop.
        """
        try:
            self._stop_with()
        except BaseException as error:  # noqa: BLE001 - the test looks at it
            self.error = error

    def outcome(self) -> BaseException | None:
        """
        Wait for its end, and return what it died of.
        """
        self.join(WAIT_SECS)
        assert not self.is_alive()
        return self.error


def test_the_last_to_leave_may_be_done_before_the_first_has_begun_to_wait(rig: Rig) -> None:
    """
    Who leaves first still finds the loop, and it ends when both have left.
    """
    loop = HeldLoop()
    listener = HttpListener(CONFIG, rig.context, loop)
    first, last = (listener.add(name, CONFIG, rig.context, [StubEndpoint(f"/{name}")]) for name in ("first", "last"))
    listener.start()
    leaving = Stopping(first.stop, WAIT_SECS)
    leaving.start()
    assert loop.reached.wait(WAIT_SECS)

    last.stop(WAIT_SECS)
    loop.go.set()

    assert leaving.outcome() is None
    assert loop._loop is None, "nobody uses it any more"


def test_the_last_to_leave_may_have_less_patience_than_the_first(rig: Rig) -> None:
    """
    What the first waits for is cancelled when the grace of the last is over, and both stops end without an error.
    """
    loop = EventLoop()
    listener = HttpListener(CONFIG, rig.context, loop)
    first, last = (listener.add(name, CONFIG, rig.context, [StubEndpoint(f"/{name}")]) for name in ("first", "last"))
    listener.start()
    sock = connect(rig, listener)
    with rig.intake.held():
        sock.sendall(b"POST /first HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx")
        assert rig.intake.submitted.acquire(timeout=WAIT_SECS)
        leaving = Stopping(first.stop, WAIT_SECS)
        leaving.start()
        while not first._part.leaving:
            leaving.join(0.01)
        last.stop(0)
        assert leaving.outcome() is None
    assert loop._loop is None


def test_an_answer_that_comes_after_the_end_disturbs_nobody(rig: Rig) -> None:
    """
    The commit of a request whose listener did not wait for it is answered to nobody; others on the loop have their answers.
    """
    loop = EventLoop()
    hurried, other = (HttpListener(CONFIG, rig.context, loop) for _ in range(2))
    first, second = (each.add("r", CONFIG, rig.context, [StubEndpoint("/v1/metrics")]) for each in (hurried, other))
    hurried.start()
    other.start()
    assert loop._loop is not None
    errors: list[dict[str, Any]] = []
    loop._loop.set_exception_handler(lambda _loop, context: errors.append(context))
    sockets = [connect(rig, each) for each in (hurried, other)]
    with rig.intake.held():
        for sock in sockets:
            sock.sendall(b"POST /v1/metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx")
            assert rig.intake.submitted.acquire(timeout=WAIT_SECS)
        first.stop(0)
    assert rig.read(sockets[1]).status == 200
    wait_until(lambda: rig.intake.in_flight == 0, WAIT_SECS, "the late answer")
    second.stop(WAIT_SECS)
    assert errors == []


def connect(rig: Rig, listener: HttpListener) -> socket.socket:
    """
    Return a connection to another listener than the rig's.
    """
    host, port = listener.endpoint.rsplit(":", 1)
    sock = socket.create_connection((host, int(port)), WAIT_SECS)
    rig.sockets.append(sock)
    return sock


def test_a_receiver_of_a_listener_that_was_never_started_leaves(rig: Rig) -> None:
    """
    There is nothing to wait for, and no loop to wait on.
    """
    listener = HttpListener(CONFIG, rig.context)
    parts = [listener.add(name, CONFIG, rig.context, [StubEndpoint(f"/{name}")]) for name in ("first", "last")]
    for part in parts:
        part.stop(1)
    assert listener.closed
