"""
Cutting content into lines, or into the messages that a Collector writes with their length before them.
"""

import json
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

import zstandard

from meterline.receivers.files.source import BLOCK, ZSTD, Content

_PREFIX: Final = 4
_TEXT: Final = 9  # no text begins with a smaller byte, and the length of a message begins with one
_BEGINS: Final = (ZSTD, b"\n", b"{")  # a compressed message, one of protobuf, one of JSON
_WINDOW: Final = 32 * 1024 * 1024


class Line(NamedTuple):
    """
    One line without its newline, or one message without its length. ``start`` and ``end``: decompressed offsets in the file,
    ``end`` behind the newline. ``cut``: it was longer than the limit, and ``data`` is its beginning. ``packed``: what stands in
    the file after the length of a message.
    """

    data: bytes
    start: int
    end: int
    cut: bool = False
    packed: bytes | None = None

    @property
    def mark(self) -> tuple[int, bytes]:
        """
        Return what the line is known by when the file is looked at again: an offset, and what stands there.
        """
        if self.cut:
            return 0, b""
        return (self.start, self.data) if self.packed is None else (self.end - len(self.packed), self.packed)


def pieces(content: Content, head: bytes, offset: int, max_bytes: int, *, to_the_end: bool) -> Iterator[Line]:
    """
    Yield the lines or messages from here on; ``offset`` is where the content stands, ``head`` how the file begins.

    A last line without a newline is given out when it is a whole JSON document, or with ``to_the_end``: else a writer may
    still be at it.

    :raises EOFError: the file ends within a message, with ``to_the_end``.
    """
    if is_framed(head):
        return messages(content, offset, max_bytes, to_the_end=to_the_end)
    return lines(content, offset, max_bytes, (lambda _: True) if to_the_end else _is_document)


def is_framed(head: bytes) -> bool:
    """
    Say whether a file holds messages with their length before them: what the Collector's file exporter writes with
    ``format: proto``, or with ``compression``.
    """
    message = head[_PREFIX : _PREFIX + len(ZSTD)]
    length = head[:1] != b"" and head[0] < _TEXT and head[:_PREFIX] != bytes(_PREFIX)
    return length and (message.startswith(_BEGINS) or ZSTD.startswith(message))


def lines(content: Content, offset: int, max_bytes: int, is_last: Callable[[bytes], bool]) -> Iterator[Line]:
    """
    Yield the lines from here on. ``is_last``: whether the last line, which has no newline, is to be given out.
    """
    pending = bytearray()
    start = offset
    dropped = 0
    while block := content.read(BLOCK):
        ends = block.split(b"\n")
        for piece in ends[:-1]:
            pending += piece
            size = len(pending) + dropped
            yield Line(bytes(pending[:max_bytes]), start, start + size + 1, size > max_bytes)
            start += size + 1
            pending, dropped = bytearray(), 0
        pending += ends[-1]
        if len(pending) > max_bytes:
            dropped += len(pending) - max_bytes
            del pending[max_bytes:]
    if pending and (last := bytes(pending)) and is_last(b"" if dropped else last):
        size = len(pending) + dropped
        yield Line(last, start, start + size, dropped > 0)


def _is_document(line: bytes) -> bool:
    """
    Say whether a line is a whole object or array: whatever is appended to it is another one.
    """
    if line.rstrip()[-1:] not in {b"}", b"]"}:
        return False
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return True


def messages(content: Content, offset: int, max_bytes: int, *, to_the_end: bool) -> Iterator[Line]:
    """
    Yield messages, each of which has its length before it (four bytes, the highest first) and may be a zstd frame.

    :raises EOFError: the content ends within one, with ``to_the_end``.
    """
    start = offset
    while len(prefix := _exactly(content, _PREFIX)) == _PREFIX:
        size = int.from_bytes(prefix)
        data = _exactly(content, min(size, max_bytes))
        rest = size - len(data)
        while rest and len(data) == max_bytes and (block := content.read(min(rest, BLOCK))):
            rest -= len(block)
        if rest:
            break
        yield _message(data, start, start + _PREFIX + size, max_bytes, cut=size > max_bytes)
        start += _PREFIX + size
    if prefix and to_the_end:
        raise EOFError("the file ends within a message")


def _message(data: bytes, start: int, end: int, max_bytes: int, *, cut: bool) -> Line:
    """
    Return a message as a line. One that cannot be decompressed stays as it is, and is set aside by who reads it.
    """
    if cut or data[:_PREFIX] != ZSTD:
        return Line(data, start, end, cut, data)
    try:
        with zstandard.ZstdDecompressor(max_window_size=_WINDOW).stream_reader(data) as reader:
            plain = reader.read(max_bytes + 1)
    except zstandard.ZstdError:
        return Line(data, start, end, packed=data)
    return Line(plain[:max_bytes], start, end, len(plain) > max_bytes, data)


def _exactly(content: Content, size: int) -> bytes:
    """
    Read so many bytes, or what there is.
    """
    found = bytearray()
    while len(found) < size and (block := content.read(min(size - len(found), BLOCK))):
        found += block
    return bytes(found)
