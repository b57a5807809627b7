"""
zstd: frames one after another, each with a bounded window (RFC 8878).

The library's bounded reader does not say whether its input ended within a frame. So the frames are walked first, from block to
block, which looks at no more than their headers.
"""

from collections.abc import Iterator, Sequence
from typing import Protocol, overload

import zstandard

from meterline.api import UndecodableError
from meterline.serving.codecs.sink import Sink
from meterline.serving.codecs.slices import CUT_OFF, TRAILING

MAX_WINDOW_BYTES = 32 * 1024 * 1024
"""RFC 8878 asks for 8 MiB; senders written in Go may use up to 32 MiB at their best level."""

_MAGIC = b"\x28\xb5\x2f\xfd"
_SKIPPABLE = b"\x2a\x4d\x18"  # after a byte from 0x50 to 0x5f
MAX_BLOCKS = 1_000_000  # of one body: each takes time, and 128 KiB is what senders put into one
_CONTENT_SIZE_BYTES = (0, 2, 4, 8)
_DICTIONARY_BYTES = (0, 1, 2, 4)
_RUN = 1


def zstd(pieces: Sequence[bytes | bytearray], sink: Sink) -> None:
    """
    Decompress frames; each piece is made only when the sink has room for it.
    """
    data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
    for _ in frames(data):  # all of them are whole
        pass
    decoder = zstandard.ZstdDecompressor(max_window_size=MAX_WINDOW_BYTES)
    try:
        with decoder.stream_reader(data, read_across_frames=True) as reader:
            while piece := reader.read(sink.step):
                sink.put(piece)
    except zstandard.ZstdError as error:
        raise UndecodableError(f"decompressing request: {error}") from error


class Data(Protocol):
    """
    Bytes, or what gives them out like bytes.
    """

    def __len__(self) -> int: ...

    @overload
    def __getitem__(self, place: int, /) -> int: ...

    @overload
    def __getitem__(self, place: slice, /) -> bytes | bytearray: ...


def frames(data: Data, max_blocks: int = MAX_BLOCKS) -> Iterator[tuple[int, int]]:
    """
    Yield where each frame begins and ends, once all of it is there. Looks at no more than the headers of blocks.

    :raises UndecodableError: the data ends within a frame, something else follows one, or there are more blocks.
    """
    position, blocks = 0, max_blocks
    while True:
        begin, start = position, data[position : position + 4]
        if start == _MAGIC:
            position, blocks = _end_of_frame(data, position + 4, blocks)
        elif len(start) == 4 and start[0] & 0xF0 == 0x50 and start[1:] == _SKIPPABLE:
            position += 8 + int.from_bytes(data[position + 4 : position + 8], "little")
        else:
            raise UndecodableError(TRAILING if position and start else CUT_OFF)
        if position > len(data):
            raise UndecodableError(CUT_OFF)
        if start == _MAGIC:
            yield begin, position
        if position == len(data):
            return


def _end_of_frame(data: Data, position: int, blocks: int) -> tuple[int, int]:
    """
    Return where a frame ends, and how many blocks may still come; ``position`` is after its magic number.
    """
    if position >= len(data):
        raise UndecodableError(CUT_OFF)
    descriptor = data[position]
    single_segment = descriptor >> 5 & 1
    content_size = _CONTENT_SIZE_BYTES[descriptor >> 6] or single_segment
    position += 1 + (1 - single_segment) + _DICTIONARY_BYTES[descriptor & 3] + content_size
    size, last = len(data), 0
    while not last:
        header = int.from_bytes(data[position : position + 3], "little")
        last, kind = header & 1, header >> 1 & 3
        position += 3 + (1 if kind == _RUN else header >> 3)
        blocks -= 1
        if position > size or not blocks:
            raise UndecodableError(CUT_OFF if position > size else "decompressing request: it has too many zstd blocks")
    return position + 4 * (descriptor >> 2 & 1), blocks
