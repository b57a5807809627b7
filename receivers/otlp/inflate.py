"""
Decompression in one place, bounded while it runs: gzip and zlib, recognised by their first bytes.

gRPC's core hands the bytes over as they came (``grpc.per_message_decompression`` = 0), which costs a tenth of letting it
inflate them, but does not say how they are compressed. The first byte does: an export request starts with 0x0a, or is
empty; 0x1f can start no protobuf message (there is no wire type 7); 0x78 would be field 15 as a varint, which no
export request has. So what starts like gzip or zlib is one, or is undecodable. gRPC has no other compression here.
"""

import zlib
from collections.abc import Callable

from meterline.api import TooLargeError, UndecodableError

_DETECT_HEADER = 32 + zlib.MAX_WBITS
_STEP_IN = 256 * 1024  # what zlib did not take is copied at each step
_TRAILING = "decompressing request: something follows its compressed data"
_STEP_OUT = 1024 * 1024  # so much more than was admitted may exist for a moment, per thread


def is_compressed(body: bytes) -> bool:
    """
    Say whether the body starts like gzip or zlib.
    """
    if body[:1] == b"\x1f":
        return body[:2] == b"\x1f\x8b"
    return body[:1] == b"\x78" and len(body) > 1 and int.from_bytes(body[:2], "big") % 31 == 0


def inflate(body: bytes, limit: int, admit: Callable[[int], None]) -> bytes:
    """
    Return the decompressed body, of at most ``limit`` bytes; ``admit`` is told of each piece, and may refuse by raising.

    :raises TooLargeError: there is more than ``limit``; nothing beyond about 1 MiB more was inflated.
    :raises UndecodableError: broken, cut off, or followed by something else.
    """
    decoder = zlib.decompressobj(_DETECT_HEADER)
    pieces: list[bytes] = []
    room = limit
    view = memoryview(body)
    try:
        for start in range(0, len(view), _STEP_IN):
            if decoder.eof:
                raise UndecodableError(_TRAILING)
            room = _drain(decoder, view[start : start + _STEP_IN], room, pieces, admit)
    except zlib.error as error:
        raise UndecodableError(f"decompressing request: {error}") from error
    if not decoder.eof:
        raise UndecodableError("decompressing request: it ends before its compressed data does")
    return b"".join(pieces)


def _drain(
    decoder: "zlib._Decompress", rest: bytes | memoryview, room: int, pieces: list[bytes], admit: Callable[[int], None]
) -> int:
    """
    Inflate all of one slice of input; return how many bytes may still come.
    """
    while True:
        piece = decoder.decompress(rest, min(_STEP_OUT, room + 1))
        room -= len(piece)
        if room < 0:
            raise TooLargeError("decompressing request: it is over max_request_bytes")
        admit(len(piece))
        pieces.append(piece)
        rest = decoder.unconsumed_tail
        if decoder.unused_data:
            raise UndecodableError(_TRAILING)
        if decoder.eof or not piece:
            return room
