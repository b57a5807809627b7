"""
gRPC reflection over services that may be added while it runs.
"""

from collections.abc import Iterable
from typing import Any

from grpc_health.v1 import health
from grpc_reflection.v1alpha import reflection, reflection_pb2_grpc


class Reflection(reflection.ReflectionServicer):  # type: ignore[misc]  # grpc_reflection has no types
    """
    Lists health, itself, and what was added.
    """

    def __init__(self) -> None:
        self._listed = {health.SERVICE_NAME, reflection.SERVICE_NAME}
        super().__init__(self._listed)

    def add(self, services: Iterable[str]) -> None:
        """
        List more services.
        """
        self._listed = self._listed | set(services)
        self._service_names = tuple(sorted(self._listed))

    def attach(self, server: Any) -> None:
        """
        Serve it.
        """
        reflection_pb2_grpc.add_ServerReflectionServicer_to_server(self, server)
