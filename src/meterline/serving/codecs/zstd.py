"""
zstd: frames one after another, each with a bounded window.

The library's bounded reader does not say whether its input ended within a frame. So a frame of our own follows the input; what
comes out must end with that frame's content, which no frame that is cut off can bring about by accident.
"""

from collections.abc import Iterator, Sequence
from typing import IO, cast

import zstandard

from meterline.api import UndecodableError
from meterline.serving.codecs.sink import Sink
from meterline.serving.codecs.slices import CUT_OFF

MAX_WINDOW_BYTES = 32 * 1024 * 1024
"""RFC 8878 asks for 8 MiB; senders written in Go may use up to 32 MiB at their best level."""

SEAL = b"Z" * 16
"""The content of ``SEAL_FRAME``, which follows an input whose end must be seen."""

_RLE_BLOCK = (1 | 1 << 1 | len(SEAL) << 3).to_bytes(3, "little")  # last block, run of one byte, how long
SEAL_FRAME = b"\x28\xb5\x2f\xfd" + b"\x00\x00" + _RLE_BLOCK + SEAL[:1]  # the run is no part of the frame's own bytes


def zstd(pieces: Sequence[bytes | bytearray], sink: Sink) -> None:
    """
    Decompress frames; each piece is made only when the sink has room for it.
    """
    if not any(pieces):
        raise UndecodableError(CUT_OFF)
    decoder = zstandard.ZstdDecompressor(max_window_size=MAX_WINDOW_BYTES)
    held = b""
    try:
        with decoder.stream_reader(cast("IO[bytes]", _Source(pieces)), read_across_frames=True) as reader:
            while piece := reader.read(sink.step):
                data = held + piece
                sink.put(data[: -len(SEAL)])
                held = data[-len(SEAL) :]
    except zstandard.ZstdError as error:
        raise UndecodableError(f"decompressing request: {error}") from error
    if held != SEAL:
        raise UndecodableError(CUT_OFF)


class _Source:
    """
    The input and then the seal, as a file.
    """

    def __init__(self, pieces: Sequence[bytes | bytearray]) -> None:
        self._pieces: Iterator[bytes | bytearray] = iter((*(piece for piece in pieces if piece), SEAL_FRAME))

    def read(self, _size: int = -1) -> bytes | bytearray:
        """
        Return the next piece, of any size.
        """
        return next(self._pieces, b"")
