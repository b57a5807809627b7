"""
Where decompressed bytes go: admitted piece by piece, and never more than the limit.
"""

from collections.abc import Callable

from meterline.api import TooLargeError

STEP_IN = 64 * 1024
"""Bytes of input that a decoder is given at once: what it does not take is copied at each step."""

_STEP_OUT = 1024 * 1024  # so much more than was admitted may exist for a moment, per thread
_PROBE_BYTES = 8 * 1024 * 1024
_PROBE_RATIO = 50


class Sink:
    """
    Collects one decompressed body.

    ``look_ahead`` is called once when much has come of little (over 8 MiB, and 50 times the input), or half of the limit of
    anything: it measures the rest without keeping it, and raises TooLargeError, so that what is refused was never in memory
    for more than that.
    """

    __slots__ = ("_admit", "_look_ahead", "_pieces", "_probe_at", "_room")

    def __init__(
        self, limit: int, admit: Callable[[int], None], wire_bytes: int, look_ahead: Callable[[], None] | None
    ) -> None:
        self._room = limit
        self._admit = admit
        self._pieces: list[bytes] = []
        self._look_ahead = look_ahead
        self._probe_at = limit - max(_PROBE_BYTES, min(_PROBE_RATIO * wire_bytes, limit // 2))

    @property
    def step(self) -> int:
        """
        Return how much to make at once: never much more than may still come, and at least 1.
        """
        return min(_STEP_OUT, self._room + 1)

    def reserve(self, nbytes: int) -> None:
        """
        Announce bytes before they exist; ``keep`` takes them.

        :raises TooLargeError: there are too many.
        """
        self._room -= nbytes
        if self._room < 0:
            raise TooLargeError("decompressing request: it is over max_request_bytes")
        if self._look_ahead is not None and self._room < self._probe_at:
            look_ahead, self._look_ahead = self._look_ahead, None
            look_ahead()
        self._admit(nbytes)

    def keep(self, piece: bytes) -> None:
        """
        Keep bytes that were reserved.
        """
        self._pieces.append(piece)

    def put(self, piece: bytes) -> None:
        """
        Reserve and keep.

        :raises TooLargeError: there are too many; ``admit`` may raise too.
        """
        self.reserve(len(piece))
        self.keep(piece)

    def joined(self) -> bytes:
        """
        Return all of it.
        """
        return self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)


class Gauge(Sink):
    """
    Measures and keeps nothing.
    """

    __slots__ = ()

    def __init__(self, limit: int) -> None:
        super().__init__(limit, _admit_all, 0, None)

    def keep(self, piece: bytes) -> None:
        """
        Drop it.
        """


def _admit_all(_nbytes: int) -> None:
    pass
