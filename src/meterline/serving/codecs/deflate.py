"""
gzip, zlib and raw deflate.
"""

import zlib
from collections.abc import Iterable, Sequence
from itertools import islice

from meterline.api import UndecodableError
from meterline.serving.codecs.sink import Sink
from meterline.serving.codecs.slices import CUT_OFF, TRAILING, slices

_GZIP = 16 + zlib.MAX_WBITS
_ZLIB = zlib.MAX_WBITS
_RAW = -zlib.MAX_WBITS
_MAX_MEMBERS = 100_000  # of one gzip body: each costs 3 us; Fluentd's compressed buffers have one for each emit


def encoding_of(body: bytes) -> str | None:
    """
    Say how a gRPC message is compressed, of which nobody tells: ``gzip``, ``zlib`` or not at all (None).

    The first byte does: 0x1f can start no protobuf message (there is no wire type 7), and 0x78 would be field 15 as a varint,
    which no request of ours has. So what starts like gzip or zlib is one, or is undecodable.
    """
    if body[:2] == b"\x1f\x8b":
        return "gzip"
    if body[:1] == b"\x78" and len(body) > 1 and int.from_bytes(body[:2], "big") % 31 == 0:
        return "zlib"
    return None


def gzip(pieces: Sequence[bytes | bytearray], sink: Sink) -> None:
    """
    Inflate gzip; several members one after another are one body (RFC 1952).
    """
    _inflate(pieces, sink, _GZIP, _MAX_MEMBERS)


def deflate(pieces: Sequence[bytes | bytearray], sink: Sink) -> None:
    """
    Inflate what HTTP calls deflate: zlib's format, and the raw one that some senders mean.
    """
    start = b"".join(islice((piece[:2] for piece in pieces if piece), 2))[:2]
    zlib_header = len(start) == 2 and start[0] & 0x0F == zlib.DEFLATED and int.from_bytes(start, "big") % 31 == 0
    _inflate(pieces, sink, _ZLIB if zlib_header else _RAW, 1)


def _inflate(pieces: Iterable[bytes | bytearray], sink: Sink, wbits: int, members: int) -> None:
    decoder = zlib.decompressobj(wbits)
    try:
        for data in slices(pieces):
            rest: bytes | memoryview = data
            while rest:
                if decoder.eof:
                    members -= 1
                    if members <= 0 or bytes(rest[:1]) != b"\x1f":
                        raise UndecodableError(TRAILING)
                    decoder = zlib.decompressobj(wbits)
                _drain(decoder, rest, sink)
                rest = decoder.unused_data
    except zlib.error as error:
        raise UndecodableError(f"decompressing request: {error}") from error
    if not decoder.eof:
        raise UndecodableError(CUT_OFF)


def _drain(decoder: "zlib._Decompress", rest: bytes | memoryview, sink: Sink) -> None:
    """
    Inflate all of one slice of input, up to the end of the member.
    """
    while True:
        piece = decoder.decompress(rest, sink.step)
        sink.put(piece)
        rest = decoder.unconsumed_tail
        if decoder.eof or not piece:
            return
