"""
Reading the one message of a call, and not letting calls that keep theirs back hold every thread.

gRPC reads a request on a thread of ours. Senders that open calls and do not go on - a frozen machine, or malice - would in
time hold all of them. So the listener reads by itself, knows since when, and cancels what has stalled when others wait.
"""

from collections.abc import Iterator

import grpc

from meterline.api import Clock


class Inbox:
    """
    The calls whose message is being read; any thread.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._reading: dict[int, tuple[float, grpc.ServicerContext]] = {}

    def read(self, messages: Iterator[bytes], context: grpc.ServicerContext) -> bytes | None:
        """
        Return the call's message; None: it has none. Raises what gRPC raises when the call ends meanwhile.
        """
        self._reading[id(context)] = (self._clock.monotonic(), context)
        try:
            return next(messages, None)
        finally:
            del self._reading[id(context)]

    def cancel_stalled(self, older_than_secs: float) -> int:
        """
        Cancel the calls that have been read for longer than this, and return how many; their senders come again.
        """
        limit = self._clock.monotonic() - older_than_secs
        stalled = [context for since, context in list(self._reading.values()) if since < limit]
        for context in stalled:
            context.cancel()
        return len(stalled)
