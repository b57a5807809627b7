"""
gRPC health: SERVING while the intake accepts, NOT_SERVING before and while draining.
"""

from collections.abc import Callable, Iterable
from typing import Any

from grpc_health.v1 import health, health_pb2


class Health(health.HealthServicer):  # type: ignore[misc]  # grpc_health has no types
    """
    The standard health service over one question; overall ("") and for each service, they stand and fall together.

    Any thread; under the service's own lock, so that whoever asks is not told what another thread is about to change.
    """

    def __init__(self, ready: Callable[[], bool]) -> None:
        super().__init__()
        self._ready = ready
        self._services = {health.OVERALL_HEALTH}
        self._serving: bool | None = None

    def add(self, services: Iterable[str]) -> None:
        """
        Answer for more services.
        """
        with self._lock:
            self._services = self._services | set(services)
            self._serving = None
            self.refresh()

    def remove(self, services: Iterable[str]) -> None:
        """
        NOT_SERVING for these from now on.
        """
        with self._lock:
            self._services = self._services - set(services)
            for service in services:
                self.set(service, health_pb2.HealthCheckResponse.NOT_SERVING)

    def refresh(self) -> None:
        """
        Ask again, and tell those who watch when the answer changed.
        """
        with self._lock:
            serving = self._ready()
            if serving == self._serving:
                return
            self._serving = serving
            response = health_pb2.HealthCheckResponse
            for service in self._services:
                self.set(service, response.SERVING if serving else response.NOT_SERVING)

    def Check(self, request: Any, context: Any) -> Any:  # noqa: N802  # gRPC's name
        """
        Answer with the state of this moment.
        """
        self.refresh()
        return super().Check(request, context)

    def drain(self) -> None:
        """
        NOT_SERVING from now on.
        """
        self.enter_graceful_shutdown()
