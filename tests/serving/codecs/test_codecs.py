"""
Every codec: what it takes, what it refuses, and that nothing makes it do otherwise.
"""

import gzip
import random
import zlib
from collections.abc import Callable

import cramjam
import lz4.frame
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from meterline.api import OverloadedError, TooLargeError, UndecodableError
from meterline.serving.codecs import CODECS, decompress, encoding_of

BODY = random.Random(7).randbytes(3_000) * 100
LIMIT = 1_000_000


def raw_deflate(data: bytes) -> bytes:
    """
    Return what some senders call deflate.
    """
    packer = zlib.compressobj(6, zlib.DEFLATED, -zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush()


PACKERS: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "gzip": ("gzip", gzip.compress),
    "x-gzip": ("x-gzip", gzip.compress),
    "zlib": ("zlib", zlib.compress),
    "deflate": ("deflate", zlib.compress),
    "deflate, raw": ("deflate", raw_deflate),
    "zstd": ("zstd", zstandard.compress),
    "zstd, without a size": ("zstd", lambda data: zstandard.ZstdCompressor(write_content_size=False).compress(data)),
    "zstd, with a checksum": ("zstd", lambda data: zstandard.ZstdCompressor(write_checksum=True).compress(data)),
    "snappy": ("snappy", lambda data: bytes(cramjam.snappy.compress_raw(data))),
    "snappy, framed": ("snappy", lambda data: bytes(cramjam.snappy.compress(data)) or b"\xff\x06\0\0sNaPpY"),
    "x-snappy-framed": ("x-snappy-framed", lambda data: bytes(cramjam.snappy.compress(data))),
    "lz4": ("lz4", lz4.frame.compress),
    "lz4, with checksums": ("lz4", lambda data: lz4.frame.compress(data, content_checksum=True, block_checksum=True)),
}
SELF_CHECKING = {
    "gzip",
    "x-gzip",
    "zlib",
    "zstd, with a checksum",
    "x-snappy-framed",
    "snappy, framed",
    "lz4, with checksums",
}
packers = pytest.mark.parametrize("name", PACKERS)


def unpack(name: str, data: bytes, limit: int = LIMIT, cut: int = 0) -> bytes:
    """
    Decompress, in one piece or in pieces of ``cut`` bytes.
    """
    pieces = [data[at : at + cut] for at in range(0, len(data), cut)] if cut else [data]
    return decompress(PACKERS[name][0], pieces, limit, lambda _: None)


def test_every_codec_is_tried_here() -> None:
    """
    No codec without its tests.
    """
    assert {encoding for encoding, _ in PACKERS.values()} == set(CODECS)


@packers
@pytest.mark.parametrize("body", [b"", b"x", BODY, bytes(LIMIT)])
def test_what_was_compressed_comes_back(name: str, body: bytes) -> None:
    """
    In one piece, and in pieces cut anywhere.
    """
    data = PACKERS[name][1](body)
    assert unpack(name, data) == body
    assert unpack(name, data, cut=max(1, len(data) // 37)) == body
    assert decompress(PACKERS[name][0], [bytearray(data)], LIMIT, lambda _: None) == body


@packers
def test_the_limit_itself_passes(name: str) -> None:
    """
    A body of exactly the limit passes, one byte more is too large.
    """
    data = PACKERS[name][1](BODY)
    assert unpack(name, data, limit=len(BODY)) == BODY
    with pytest.raises(TooLargeError):
        unpack(name, data, limit=len(BODY) - 1)


@packers
def test_all_of_it_is_admitted_before_it_is_kept(name: str) -> None:
    """
    ``admit`` is told of every byte, in pieces of about a MiB at most, and what it raises ends it.
    """
    body = random.Random(1).randbytes(5_000_000)
    told: list[int] = []
    assert decompress(PACKERS[name][0], [PACKERS[name][1](body)], len(body), told.append) == body
    assert sum(told) == len(body)
    if name != "snappy":  # a block is made at once; it says before how large it is
        assert max(told) <= 1_200_000
    calls = 0

    def admit(_nbytes: int) -> None:
        nonlocal calls
        calls += 1
        raise OverloadedError("no")

    with pytest.raises(OverloadedError):
        decompress(PACKERS[name][0], [PACKERS[name][1](body)], len(body), admit)
    assert calls == 1


@packers
def test_what_is_cut_off_is_undecodable(name: str) -> None:
    """
    Every cut of a small body; nothing is taken for the whole.
    """
    data = PACKERS[name][1](b"points" * 20)
    for end in range(len(data)):
        try:
            assert unpack(name, data[:end]) == b"", end
            assert "framed" in name, "only no frame at all, or a stream identifier alone, is a whole body"
        except UndecodableError:
            continue


@packers
def test_what_follows_is_undecodable(name: str) -> None:
    """
    Bytes after the compressed data, be they zeros, text or the start of another stream.
    """
    data = PACKERS[name][1](BODY)
    for more in (b"\0", b"x" * 100, data[:3]):
        with pytest.raises(UndecodableError):
            unpack(name, data + more)


@pytest.mark.parametrize("name", ["gzip", "zstd", "lz4"])
def test_streams_one_after_another_are_one_body(name: str) -> None:
    """
    Members and frames may be concatenated, as their formats say; a flood of empty ones may not.
    """
    data = PACKERS[name][1](b"points")
    assert unpack(name, data * 3) == b"points" * 3
    assert unpack(name, data * 3, cut=1) == b"points" * 3
    empty = PACKERS[name][1](b"")
    if name != "zstd":
        with pytest.raises(UndecodableError):
            unpack(name, empty * 101_000)


@settings(max_examples=120, deadline=None)
@given(st.sampled_from(sorted(PACKERS)), st.binary(max_size=300), st.data())
def test_changed_bytes_are_refused_or_read(name: str, body: bytes, data: st.DataObject) -> None:
    """
    Bytes changed, cut out, put in: UndecodableError, TooLargeError or a body within the limit; never anything else.
    """
    wire = bytearray(PACKERS[name][1](body))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(wire)))
        wire[at : at + data.draw(st.integers(0, 4))] = data.draw(st.binary(max_size=4))
    try:
        got = unpack(name, bytes(wire), limit=10_000)
    except (UndecodableError, TooLargeError):
        return
    assert len(got) <= 10_000
    if name in SELF_CHECKING and len(got) == len(body):
        assert got == body or wire[:2] != PACKERS[name][1](body)[:2]


@settings(max_examples=120, deadline=None)
@given(st.sampled_from(sorted(CODECS)), st.binary(max_size=400))
def test_random_bytes_are_refused_or_read(encoding: str, wire: bytes) -> None:
    """
    Noise never raises anything but what the contract says.
    """
    try:
        assert len(decompress(encoding, [wire], 10_000, lambda _: None)) <= 10_000
    except (UndecodableError, TooLargeError):
        return


def test_a_block_that_declares_too_much_is_refused_unread() -> None:
    """
    Snappy's block says how large it is: over the limit, or more than its bytes can hold, nothing is made.
    """
    for declared, error in ((1 << 31, UndecodableError), (900_000, UndecodableError), (2_000, TooLargeError)):
        varint = bytes([declared & 0x7F | 0x80, declared >> 7 & 0x7F | 0x80, declared >> 14 & 0x7F | 0x80])
        varint += bytes([declared >> 21 & 0x7F | 0x80, declared >> 28])
        with pytest.raises(error):
            decompress("snappy", [varint + b"x" * 200], 1_000, lambda _: pytest.fail("it was admitted"))


def test_a_window_beyond_all_reason_is_refused() -> None:
    """
    A zstd frame that wants a window of 128 MiB is undecodable before one is made.
    """
    frame = b"\x28\xb5\x2f\xfd" + b"\x00" + bytes([(27 - 10) << 3]) + b"\x01\x00\x00"
    with pytest.raises(UndecodableError):
        decompress("zstd", [frame], LIMIT, lambda _: None)


@pytest.mark.parametrize(
    ("message", "encoding"),
    [
        (b"", None),
        (b"\x0a\x02ab", None),
        (b"\x78", None),
        (b"\x78\x00", None),
        (b"\x1f\x00", None),
        (zlib.compress(b"x", 1), "zlib"),
        (zlib.compress(b"x", 9), "zlib"),
        (gzip.compress(b"x"), "gzip"),
    ],
)
def test_a_message_says_how_it_is_compressed(message: bytes, encoding: str | None) -> None:
    """
    GRPC's messages: by their first two bytes, which no protobuf message of ours starts with.
    """
    assert encoding_of(message) == encoding
