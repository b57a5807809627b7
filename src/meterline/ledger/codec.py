"""
How bodies are stored: zstd where it pays, and a CRC-32 over what is stored.
"""

import threading
import zlib
from typing import Final, Literal, NamedTuple, TypeAlias

import zstandard

RAW: Final = 0
ZSTD: Final = 1

Effort: TypeAlias = Literal["none", "fast", "small"]

_LEVELS: Final[dict[str, int]] = {"fast": 1, "small": 3}
_MIN_BYTES: Final = 1024
"""Below this, 14 us of zstd save nothing: a frame of 8 points has 140 bytes; one of 8,192 shrinks from 4.8 to 1.6 B a point."""
_local = threading.local()


class CorruptBodyError(Exception):
    """
    Stored bytes do not have the CRC that was stored with them.
    """


class Stored(NamedTuple):
    """
    A body as it stands in the file.
    """

    crc: int
    codec: int
    body: bytes


def pack(body: bytes, label: str, effort: Effort) -> Stored:
    """
    Compress if that makes it smaller by an eighth at least. ``label`` is what the body belongs to; the CRC covers it and
    the codec, so that a body under a wrong number is found too.
    """
    if effort != "none" and len(body) >= _MIN_BYTES:
        packed = _compressor(_LEVELS[effort]).compress(body)
        if len(packed) <= len(body) - len(body) // 8:
            return Stored(checksum(packed, f"{label} {ZSTD}"), ZSTD, packed)
    return Stored(checksum(body, f"{label} {RAW}"), RAW, body)


def unpack(stored: Stored, label: str) -> bytes:
    """
    Return the body as it was given to ``pack``. Raises CorruptBodyError.
    """
    if checksum(stored.body, f"{label} {stored.codec}") != stored.crc:
        raise CorruptBodyError(label)
    if stored.codec == RAW:
        return stored.body
    try:
        return _decompressor().decompress(stored.body)
    except zstandard.ZstdError as error:
        raise CorruptBodyError(label) from error


def checksum(body: bytes, label: str) -> int:
    """
    Return the CRC-32 of the label in ASCII followed by the stored bytes.
    """
    return zlib.crc32(body, zlib.crc32(label.encode()))


def _compressor(level: int) -> zstandard.ZstdCompressor:
    """
    One per thread and level: they are not to be shared.
    """
    made: dict[int, zstandard.ZstdCompressor] = _local.__dict__.setdefault("compressors", {})
    if level not in made:
        made[level] = zstandard.ZstdCompressor(level=level)
    return made[level]


def _decompressor() -> zstandard.ZstdDecompressor:
    if not hasattr(_local, "decompressor"):
        _local.decompressor = zstandard.ZstdDecompressor()
    made: zstandard.ZstdDecompressor = _local.decompressor
    return made
