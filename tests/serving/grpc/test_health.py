"""
Health when several threads look at once, and the thread that looks by itself.
"""

import threading
from typing import Any

from grpc_health.v1 import health_pb2, health_pb2_grpc

from meterline.serving.grpc.health import Health

SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING
WAIT_SECS = 20.0


class SlowHealth(Health):
    """
    Is interrupted before it writes down what a thread named ``slow`` has found out.
    """

    def __init__(self) -> None:
        self.ready = True
        self.reached, self.go = threading.Event(), threading.Event()
        super().__init__(lambda: self.ready)

    def set(self, service: str, status: Any) -> None:
        """
        Wait, if it is the slow thread; then write it down.
        """
        if threading.current_thread().name == "slow":
            self.reached.set()
            assert self.go.wait(WAIT_SECS)
        super().set(service, status)


def test_nobody_is_told_what_another_thread_has_found_out_to_be_over() -> None:
    """
    One thread has seen that the intake does not accept, and is interrupted; who asks then is told so, too.
    """
    health = SlowHealth()
    health.refresh()
    health.ready = False
    slow = threading.Thread(target=health.refresh, name="slow", daemon=True)
    slow.start()
    assert health.reached.wait(WAIT_SECS)
    told: list[int] = []
    asking = threading.Thread(
        target=lambda: told.append(health.Check(health_pb2.HealthCheckRequest(), None).status), daemon=True
    )
    asking.start()
    asking.join(0.2)  # by now it waits, or it has the wrong answer
    health.go.set()
    asking.join(WAIT_SECS)
    slow.join(WAIT_SECS)
    assert told == [NOT_SERVING]


def test_a_service_that_left_is_not_serving_again() -> None:
    """
    Whatever the intake does after a receiver has left: its services stay NOT_SERVING, the others follow.
    """
    health = SlowHealth()
    health.add(["one", "two"])
    health.remove(["one"])
    seen = []
    for health.ready in (True, False, True):
        seen.append([health.Check(health_pb2.HealthCheckRequest(service=s), None).status for s in ("one", "two")])
    assert seen == [[NOT_SERVING, SERVING], [NOT_SERVING, NOT_SERVING], [NOT_SERVING, SERVING]]


def test_the_thread_that_looks_outlives_what_it_meets(open_port: Any, connect: Any, intake: Any, service: Any) -> None:
    """
    An error while it looks is not its end: those who watch our health are told of the next change.
    """
    asked = threading.Semaphore(0)

    class Intake(type(intake)):  # type: ignore[misc]
        """
        Cannot say whether it is ready, for now.
        """

        @property
        def ready(self) -> bool:
            """
            Fail.
            """
            asked.release()
            raise ZeroDivisionError

    port = open_port(service("One"))
    watch = health_pb2_grpc.HealthStub(connect(port.endpoint)).Watch(health_pb2.HealthCheckRequest(), timeout=60)
    assert next(watch).status == SERVING
    usual, intake.__class__ = type(intake), Intake
    for _ in range(2):
        assert asked.acquire(timeout=WAIT_SECS)
    intake.__class__ = usual
    intake.ready = False
    assert next(watch).status == NOT_SERVING
