"""
Decompression, bounded while it runs: every value of Content-Encoding that a listener may accept.

Each codec is streamed: not more than about 1 MiB beyond what was admitted exists at any time, and nothing beyond the limit is
made. Whatever is wrong with the input is an UndecodableError.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial

from meterline.serving.codecs.deflate import deflate, encoding_of, gzip
from meterline.serving.codecs.lz4_frame import lz4
from meterline.serving.codecs.sink import Gauge, Sink
from meterline.serving.codecs.snappy import snappy, snappy_framed
from meterline.serving.codecs.zstd import zstd

Pieces = Sequence[bytes | bytearray]
Codec = Callable[[Pieces, Sink], None]

CODECS: Mapping[str, Codec] = {
    "gzip": gzip,
    "x-gzip": gzip,  # RFC 9110: the same
    "zlib": deflate,
    "deflate": deflate,
    "zstd": zstd,
    "snappy": snappy,
    "x-snappy-framed": snappy_framed,
    "lz4": lz4,
}


def decompress(encoding: str, pieces: Pieces, limit: int, admit: Callable[[int], None]) -> bytes:
    """
    Return the decompressed body, of at most ``limit`` bytes; ``admit`` is told of each piece, and may refuse by raising.

    ``encoding`` is a key of ``CODECS``.

    :raises TooLargeError: there is more than ``limit``.
    :raises UndecodableError: broken, cut off, or followed by something else.
    """
    codec = CODECS[encoding]
    wire_bytes = sum(map(len, pieces))
    sink = Sink(limit, admit, wire_bytes, partial(_measure, codec, pieces, limit))
    codec(pieces, sink)
    return sink.joined()


def _measure(codec: Codec, pieces: Pieces, limit: int) -> None:
    codec(pieces, Gauge(limit))


__all__ = ["CODECS", "decompress", "encoding_of"]
