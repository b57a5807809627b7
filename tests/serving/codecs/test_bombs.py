"""
10 GiB of zeros in every codec: refused, and the process stays small.
"""

import subprocess
import sys
import zlib

import cramjam
import lz4.frame
import pytest
import zstandard

MIB = 1024 * 1024
MAX_GROWTH = 56 * MIB  # half of the default limit, and what the decoder of lz4 has of its own

# Not ru_maxrss: a process begins with that of whoever started it.
VICTIM = """
import sys
from pathlib import Path
from meterline.api import TooLargeError
from meterline.serving.codecs import decompress

def memory(name):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name + ":"))

wire = sys.stdin.buffer.read()
Path("/proc/self/clear_refs").write_text("5")  # VmHWM begins anew
before = memory("VmRSS")
try:
    decompress(sys.argv[1], [wire], int(sys.argv[2]), lambda nbytes: None)
except TooLargeError:
    print(memory("VmHWM") - before)
"""


def gzip_bomb() -> bytes:
    """
    Return 10 GiB in 10 MiB of gzip: one member's worth, repeated as the blocks that it consists of.
    """
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    head = packer.compress(bytes(MIB)) + packer.flush(zlib.Z_FULL_FLUSH)
    block = packer.compress(bytes(16 * MIB)) + packer.flush(zlib.Z_FULL_FLUSH)
    return head + block * 640


def zlib_bomb() -> bytes:
    """
    Return the same in zlib.
    """
    packer = zlib.compressobj(9)
    head = packer.compress(bytes(MIB)) + packer.flush(zlib.Z_FULL_FLUSH)
    block = packer.compress(bytes(16 * MIB)) + packer.flush(zlib.Z_FULL_FLUSH)
    return head + block * 640


def zstd_bomb() -> bytes:
    """
    Return 10 GiB in 320 kB: blocks of one repeated byte.
    """
    run = (1 << 1 | 128 * 1024 << 3).to_bytes(3, "little") + b"\0"
    return b"\x28\xb5\x2f\xfd" + b"\x00" + bytes([(21 - 10) << 3]) + run * (10 * 8192) + b"\x01\x00\x00"


def zstd_frames_bomb() -> bytes:
    """
    Return 10 GiB in frames of 16 MiB.
    """
    return zstandard.compress(bytes(16 * MIB)) * 640


def snappy_bomb() -> bytes:
    """
    Return a block that declares 100 MiB, and has the bytes to seem to mean it.
    """
    return b"\x80\x80\x80\x32" + b"\xfe\x01\x00" * 1_700_000


def lz4_bomb() -> bytes:
    """
    Return 10 GiB in 40 MiB of lz4 frames.
    """
    return lz4.frame.compress(bytes(64 * MIB), block_size=lz4.frame.BLOCKSIZE_MAX4MB) * 160


BOMBS = {
    "gzip": gzip_bomb,
    "zlib": zlib_bomb,
    "deflate": zlib_bomb,
    "zstd": zstd_bomb,
    "zstd, frames": zstd_frames_bomb,
    "lz4": lz4_bomb,
}


@pytest.mark.parametrize("limit", [MIB, 64 * MIB])
@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused_while_the_process_is_small(name: str, limit: int) -> None:
    """
    Under 56 MiB of growth, be the limit 1 MiB or the 64 MiB of the default.
    """
    assert grown(name.partition(",")[0], BOMBS[name](), limit) < MAX_GROWTH


def test_a_snappy_block_is_refused_by_what_it_declares() -> None:
    """
    A block of 5 MB that declares 100 MiB.
    """
    assert grown("snappy", snappy_bomb(), 64 * MIB) < MAX_GROWTH


def test_snappy_frames_are_refused_in_time() -> None:
    """
    Frames of zeros, with right sums.
    """
    assert grown("x-snappy-framed", bytes(cramjam.snappy.compress(bytes(512 * MIB))), 64 * MIB) < MAX_GROWTH


def grown(encoding: str, wire: bytes, limit: int) -> int:
    """
    Decompress in a process of its own, and return by how many bytes its peak grew; it must have been too large.
    """
    done = subprocess.run(
        [sys.executable, "-c", VICTIM, encoding, str(limit)], input=wire, capture_output=True, check=True, timeout=50
    )
    assert done.stdout, "it was not refused as too large"
    return int(done.stdout)
