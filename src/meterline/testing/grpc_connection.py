"""
A client for the receiver contract kit: unary gRPC calls over a channel of its own.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final

import grpc

from meterline.testing.receivers import Connection, Fate, Reply

LOCAL: Final = (("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0))
"""Options of a channel that shares nothing with others, and does not send again by itself."""

_FATES: Final = {grpc.StatusCode.UNAVAILABLE: Fate.AGAIN, grpc.StatusCode.INVALID_ARGUMENT: Fate.REFUSED}


class GrpcConnection(Connection):
    """
    Calls ``path`` with what ``request`` makes of the ids; ``rejected`` reads from an answer how many are in quarantine.
    """

    def __init__(
        self,
        endpoint: str,
        path: str,
        request: Callable[[Sequence[str]], bytes],
        rejected: Callable[[bytes], int],
        compression: grpc.Compression = grpc.Compression.NoCompression,
    ) -> None:
        self._channel = grpc.insecure_channel(endpoint, LOCAL, compression)
        self._call: Any = self._channel.unary_unary(path)
        self._request = request
        self._rejected = rejected

    def send(self, ids: Sequence[str]) -> Reply:
        """
        Call once.
        """
        try:
            answer = self._call(self._request(ids), timeout=20)
        except grpc.RpcError as error:
            return Reply(_FATES[error.code()])
        return Reply(Fate.STORED, self._rejected(answer))

    def close(self) -> None:
        """
        Close the channel.
        """
        self._channel.close()
