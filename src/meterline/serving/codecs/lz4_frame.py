"""
lz4 frames.
"""

from collections.abc import Sequence

from lz4.frame import LZ4FrameDecompressor

from meterline.api import UndecodableError
from meterline.serving.codecs.sink import Sink
from meterline.serving.codecs.slices import CUT_OFF, TRAILING, slices

_MAGIC = b"\x04\x22\x4d\x18"
_MAX_FRAMES = 1_000  # each costs time, and no sender makes so many


def lz4(pieces: Sequence[bytes | bytearray], sink: Sink) -> None:
    """
    Decompress frames one after another.
    """
    decoder, frames = LZ4FrameDecompressor(), 1
    try:
        for data in slices(pieces):
            rest = bytes(data)
            while rest:
                if decoder.eof:
                    frames += 1
                    if frames > _MAX_FRAMES or not _MAGIC.startswith(rest[:4]):
                        raise UndecodableError(TRAILING)
                    decoder = LZ4FrameDecompressor()
                _drain(decoder, rest, sink)
                rest = (decoder.unused_data or b"") if decoder.eof else b""
    except RuntimeError as error:
        raise UndecodableError(f"decompressing request: {error}") from error
    if not decoder.eof:
        raise UndecodableError(CUT_OFF)


def _drain(decoder: LZ4FrameDecompressor, data: bytes, sink: Sink) -> None:
    """
    Decompress all of one slice of input, up to the end of the frame.
    """
    piece = decoder.decompress(data, sink.step)
    sink.put(piece)
    while not decoder.eof and not decoder.needs_input:
        piece = decoder.decompress(b"", sink.step)
        sink.put(piece)
