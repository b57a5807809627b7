"""
snappy: blocks, which say first how large they are, and frames of small blocks.
"""

from collections.abc import Iterator, Sequence

from cramjam import DecompressionError
from cramjam import snappy as cramjam_snappy

from meterline.api import UndecodableError
from meterline.serving.codecs.sink import Sink
from meterline.serving.codecs.slices import CUT_OFF

STREAM_IDENTIFIER = b"\xff\x06\x00\x00sNaPpY"
_MAX_RATIO = 22  # a copy of 64 bytes takes three
_MAX_CHUNK = 65_536  # decompressed; the framing format's own limit
_GROUP = 512 * 1024  # decompressed bytes made at once
_COMPRESSED, _PLAIN, _IDENTIFIER = 0x00, 0x01, 0xFF
_FIRST_SKIPPABLE = 0x80


def snappy(pieces: Sequence[bytes | bytearray], sink: Sink) -> None:
    """
    Decompress a block, or frames if it starts like frames: ``Content-Encoding: snappy`` has meant both.
    """
    data = _whole(pieces)
    if data.startswith(STREAM_IDENTIFIER):
        _frames(data, sink)
    else:
        _block(data, sink)


def snappy_framed(pieces: Sequence[bytes | bytearray], sink: Sink) -> None:
    """
    Decompress frames; no frame at all is an empty body.
    """
    data = _whole(pieces)
    if data and not data.startswith(STREAM_IDENTIFIER):
        raise UndecodableError("decompressing request: it does not start with snappy's stream identifier")
    _frames(data, sink)


def _whole(pieces: Sequence[bytes | bytearray]) -> bytes:
    return bytes(pieces[0]) if len(pieces) == 1 else b"".join(pieces)


def _block(data: bytes, sink: Sink) -> None:
    """
    Decompress a block, whose declared length is admitted before anything of it exists.
    """
    declared, _ = _length(data, 0)
    if declared > _MAX_RATIO * len(data):
        raise UndecodableError("decompressing request: it declares more than its snappy data can hold")
    sink.reserve(declared)
    try:
        body = bytes(cramjam_snappy.decompress_raw(data))
    except DecompressionError as error:
        raise UndecodableError(f"decompressing request: {error}") from error
    if len(body) != declared:
        raise UndecodableError(CUT_OFF)
    sink.keep(body)


def _frames(data: bytes, sink: Sink) -> None:
    for start, end, size in _groups(data):
        sink.reserve(size)
        try:
            body = bytes(cramjam_snappy.decompress(STREAM_IDENTIFIER + data[start:end]))
        except DecompressionError as error:
            raise UndecodableError(f"decompressing request: {error}") from error
        if len(body) != size:
            raise UndecodableError("decompressing request: a snappy chunk is not as long as it says")
        sink.keep(body)


def _groups(data: bytes) -> Iterator[tuple[int, int, int]]:
    """
    Yield runs of chunks as (start, end, decompressed size), each run of about 512 KiB decompressed.
    """
    start = size = 0
    position = 0
    while position < len(data):
        end, more = _chunk(data, position)
        size += more
        position = end
        if size >= _GROUP:
            yield start, position, size
            start, size = position, 0
    if position > start:
        yield start, position, size


def _chunk(data: bytes, position: int) -> tuple[int, int]:
    """
    Return where the chunk ends, and its decompressed size.
    """
    if position + 4 > len(data):
        raise UndecodableError(CUT_OFF)
    kind = data[position]
    body, end = position + 4, position + 4 + int.from_bytes(data[position + 1 : position + 4], "little")
    if end > len(data):
        raise UndecodableError(CUT_OFF)
    if kind >= _FIRST_SKIPPABLE and (kind != _IDENTIFIER or data[position:end] == STREAM_IDENTIFIER):
        return end, 0
    if kind not in (_COMPRESSED, _PLAIN) or end - body < 4:  # a checksum stands first
        raise UndecodableError("decompressing request: a snappy chunk is of an unknown kind")
    size = _length(data, body + 4)[0] if kind == _COMPRESSED else end - body - 4
    if size > _MAX_CHUNK:
        raise UndecodableError("decompressing request: a snappy chunk is over 64 KiB")
    return end, size


def _length(data: bytes, position: int) -> tuple[int, int]:
    """
    Read the varint that a block starts with: its decompressed length; and where it ends.
    """
    value = 0
    for index, byte in enumerate(data[position : position + 5]):
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            if value >= 1 << 32:
                break
            return value, position + index + 1
    raise UndecodableError("decompressing request: a snappy block does not start with its length")
