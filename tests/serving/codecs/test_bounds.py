"""
Bounds inside compressed data that are looked at before any of it is decompressed.
"""

from typing import NoReturn

import cramjam
import pytest

from meterline.api import UndecodableError
from meterline.serving.codecs import decompress
from meterline.serving.codecs.snappy import STREAM_IDENTIFIER
from meterline.serving.codecs.zstd import frames

FRAME = b"\x28\xb5\x2f\xfd\x00\x00"
EMPTY_BLOCK, LAST_BLOCK = b"\x00\x00\x00", b"\x01\x00\x00"


def never(_: int) -> NoReturn:
    """
    Admit nothing: it must not be asked.
    """
    pytest.fail("it was admitted")


def test_a_snappy_chunk_beyond_the_format_is_refused_before_it_is_made() -> None:
    """
    Frames are of at most 64 KiB each, whatever is in them.
    """
    block = b"\x00\x00\x00\x00" + bytes(cramjam.snappy.compress_raw(bytes(65_537)))
    wire = STREAM_IDENTIFIER + b"\x00" + len(block).to_bytes(3, "little") + block
    with pytest.raises(UndecodableError, match="over 64 KiB"):
        decompress("x-snappy-framed", [wire], 1_000_000, never)


@pytest.mark.parametrize(("blocks", "passes"), [(3, True), (4, False)])
def test_zstd_blocks_are_counted(blocks: int, passes: bool) -> None:  # noqa: FBT001 - a parameter of the test
    """
    Blocks that hold nothing cost time all the same: of so many that there are too many none is looked at further.
    """
    data = FRAME + EMPTY_BLOCK * (blocks - 1) + LAST_BLOCK
    if passes:
        assert list(frames(data, max_blocks=4)) == [(0, len(data))]
        return
    with pytest.raises(UndecodableError, match="too many zstd blocks"):
        list(frames(data, max_blocks=4))
