"""
Lines come out of a file as they stand in it, whatever the file is compressed with and wherever reading begins.
"""

import gzip
import io
import os
import random
from pathlib import Path

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from meterline.receivers.files.cursor import HEAD_BYTES
from meterline.receivers.files.lines import Line, pieces
from meterline.receivers.files.source import BROKEN, Source

PACKERS = {"plain": bytes, "gz": gzip.compress, "zst": zstandard.ZstdCompressor(write_checksum=True).compress}


def read(data: bytes, offset: int = 0, max_bytes: int = 1000, *, to_the_end: bool = True) -> list[Line]:
    """The lines of some content."""
    return list(pieces(io.BytesIO(data[offset:]), b"{", offset, max_bytes, to_the_end=to_the_end))


def test_lines_and_offsets() -> None:
    """Each line has its offsets; the last without a newline waits, unless the content is said to end."""
    assert read(b"a\n\nbc") == [Line(b"a", 0, 2), Line(b"", 2, 3), Line(b"bc", 3, 5)]
    assert read(b"a\n\nbc", to_the_end=False) == [Line(b"a", 0, 2), Line(b"", 2, 3)]


def test_a_long_line_is_cut_and_its_neighbours_are_not() -> None:
    """A line over the limit comes as its beginning, with the offsets of all of it."""
    long = b"x" * 600_000
    assert read(b"a\n" + long + b"\nb\n", max_bytes=10) == [
        Line(b"a", 0, 2),
        Line(b"x" * 10, 2, 600_003, cut=True),
        Line(b"b", 600_003, 600_005),
    ]


@given(st.lists(st.binary(max_size=30).filter(lambda line: b"\n" not in line), max_size=20), st.data())
def test_reading_goes_on_at_any_line(content: list[bytes], data: st.DataObject) -> None:
    """Reading from the end of any line on gives the lines after it, with the same offsets."""
    body = b"".join(line + b"\n" for line in content)
    whole = read(body)
    assert [line.data for line in whole] == content
    number = data.draw(st.integers(0, len(whole)))
    offset = whole[number - 1].end if number else 0
    assert read(body, offset) == whole[number:]


@pytest.mark.parametrize("packing", PACKERS)
def test_content_from_an_offset_on(tmp_path: Path, packing: str) -> None:
    """Plain, gzip and zstd content is read from any decompressed offset; beyond its end there is none."""
    content = b"".join(b"line %d\n" % number for number in range(50_000))
    path = tmp_path / "file"
    path.write_bytes(PACKERS[packing](content))
    with Source(path) as source:
        assert source.compressed is (packing != "plain")
        assert source.place.head == content[:HEAD_BYTES]
        for offset in (0, 1, 300_001, len(content)):
            found = source.content(offset)
            assert found is not None
            assert found.read(10**7) == content[offset:]
        assert source.content(len(content) + 1) is None


def test_several_members_are_one_content(tmp_path: Path) -> None:
    """A file that was appended to in compressed pieces is read through."""
    for name, packer in list(PACKERS.items())[1:]:
        path = tmp_path / name
        path.write_bytes(packer(b"a\n") + packer(b"b\n"))
        with Source(path) as source:
            content = source.content(0)
            assert content is not None
            assert content.read(100) + content.read(100) == b"a\nb\n"


def test_many_small_frames_are_one_content(tmp_path: Path, rng: random.Random) -> None:
    """Frames of all sizes one after another, and one that is to be skipped, are read through, in pieces of any size."""
    parts = [b"%d %s\n" % (number, b"x" * rng.randrange(300_000 if number % 50 == 0 else 30)) for number in range(300)]
    path = tmp_path / "frames"
    skipped = b"\x50\x2a\x4d\x18\x03\x00\x00\x00abc"
    path.write_bytes(skipped + PACKERS["zst"](parts[0]) + skipped + b"".join(map(PACKERS["zst"], parts[1:])))
    with Source(path) as source:
        content = source.content(0)
        assert content is not None
        found = b""
        while piece := content.read(rng.randrange(1, 5000)):
            found += piece
    assert found == b"".join(parts)


@pytest.mark.parametrize("content", [os.urandom(100_000), b"".join(b"line %d\n" % n for n in range(50_000))])
@pytest.mark.parametrize("packing", ["gz", "zst"])
def test_broken_compression_is_one_of_the_known_errors(tmp_path: Path, packing: str, content: bytes) -> None:
    """A cut or altered compressed file raises what the reader expects, and nothing else."""
    packed = PACKERS[packing](content)
    path = tmp_path / "file"
    for body in (packed[:-50], packed[: len(packed) // 2] + b"\xff" * 10 + packed[len(packed) // 2 + 10 :]):
        path.write_bytes(body)
        try:
            with Source(path) as source:
                content = source.content(0)
                assert content is not None
                while content.read(65_536):
                    pass
                broken = False
        except BROKEN:
            broken = True
        assert broken


def place(tmp_path: Path, name: str, content: bytes) -> Source:
    """A file with this content, opened."""
    path = tmp_path / name
    path.write_bytes(content)
    return Source(path)
