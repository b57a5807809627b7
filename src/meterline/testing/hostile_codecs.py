"""
Every compression that a listener takes, from the sender's side; and bombs in each.
"""

import gzip
import zlib
from collections.abc import Callable, Mapping
from functools import cache
from typing import Final

import cramjam
import lz4.frame
import zstandard

MIB: Final = 1024 * 1024
GIB: Final = 1024 * MIB


def _raw_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush()


PACK: Final[Mapping[str, Callable[[bytes], bytes]]] = {
    "gzip": lambda data: gzip.compress(data, mtime=0),
    "zstd": zstandard.ZstdCompressor().compress,
    "zlib": zlib.compress,
    "deflate": _raw_deflate,
    "snappy": lambda data: bytes(cramjam.snappy.compress_raw(data)),
    "x-snappy-framed": lambda data: bytes(cramjam.snappy.compress(data)),
    "lz4": lz4.frame.compress,
}
"""By value of Content-Encoding."""

UNPACK: Final[Mapping[str, Callable[[bytes], bytes]]] = {
    "snappy": lambda data: bytes(cramjam.snappy.decompress_raw(data))
}
"""Those in which a wire's valid requests come."""


def _flushed(wbits: int) -> bytes:
    """
    Return GiB of zeros: one block again and again, since each begins anew after a full flush. Its checksum is never reached.
    """
    packer = zlib.compressobj(9, wbits=wbits)
    head = packer.compress(bytes(MIB)) + packer.flush(zlib.Z_FULL_FLUSH)
    block = packer.compress(bytes(MIB)) + packer.flush(zlib.Z_FULL_FLUSH)
    return head + block * 1023 + packer.flush(zlib.Z_FINISH)


def _zstd() -> bytes:
    """
    Return a frame of 8192 blocks of 128 KiB, each a run of one byte.
    """
    block = 1 << 1 | (128 * 1024) << 3
    blocks = block.to_bytes(3, "little") + b"\x00"
    last = (block | 1).to_bytes(3, "little") + b"\x00"
    return b"\x28\xb5\x2f\xfd" + b"\x00\x58" + blocks * 8191 + last  # a window of 2 MiB


def _lz4() -> bytes:
    """
    Return a frame of 256 independent blocks of 4 MiB.
    """
    size = lz4.frame.BLOCKSIZE_MAX4MB
    one = lz4.frame.compress(bytes(4 * MIB), block_size=size, block_linked=False, store_size=False)
    head, block = one[:7], one[7:-4]
    return bytes(head + block * 256 + one[-4:])


def _snappy_frames() -> bytes:
    one = bytes(cramjam.snappy.compress(bytes(64 * 1024)))
    return one[:10] + one[10:] * 2200  # 137 MiB out of 7: snappy cannot make more of it


@cache
def bombs() -> Mapping[str, bytes]:
    """
    Return a bomb for each codec, of under 8 MiB: a GiB of zeros, but for snappy, which makes at most 22 times its size.
    """
    return {
        "gzip": _flushed(16 + zlib.MAX_WBITS),
        "x-gzip": _flushed(16 + zlib.MAX_WBITS),
        "zlib": _flushed(zlib.MAX_WBITS),
        "deflate": _flushed(-zlib.MAX_WBITS),
        "zstd": _zstd(),
        "lz4": _lz4(),
        "snappy": bytes(cramjam.snappy.compress_raw(bytes(150 * MIB))),
        "x-snappy-framed": _snappy_frames(),
    }


def lying_snappy() -> bytes:
    """
    Return a snappy block of a few bytes that declares 4 GiB.
    """
    return b"\xff\xff\xff\xff\x0f" + b"\x00a" * 10
