"""
Reading a file's lines from an offset on, plain or compressed, without ever holding more than a line and a block.
"""

import gzip
import io
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import IO, BinaryIO, Final, NamedTuple, Protocol, Self, cast, overload

import zstandard

from meterline.api import UndecodableError
from meterline.receivers.files.cursor import HEAD_BYTES, Place
from meterline.serving.codecs.zstd import frames

_BLOCK: Final = 256 * 1024
_GZIP: Final = b"\x1f\x8b"
_ZSTD: Final = b"\x28\xb5\x2f\xfd"
_WINDOW: Final = 128 * 1024 * 1024

BROKEN: Final = (OSError, EOFError, IndexError, zstandard.ZstdError, UndecodableError)
"""What reading raises: the disk's errors, and those of broken or cut compressed data."""


class Line(NamedTuple):
    """
    One line without its newline. ``start`` and ``end``: decompressed offsets, ``end`` behind the newline. ``cut``: it was
    longer than the limit, and ``data`` is its beginning.
    """

    data: bytes
    start: int
    end: int
    cut: bool = False


class Content(Protocol):
    """
    What a file holds, decompressed as it is read.
    """

    def read(self, size: int, /) -> bytes:
        """
        Return up to so many bytes; b"" at the end.
        """


class _Zstd:
    """
    zstd content, frame by frame: a frame is read when all of it is there, since its reader does not say whether it was cut off.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._frames = frames(_Bytes(file), sys.maxsize)
        self._decoder = zstandard.ZstdDecompressor(max_window_size=_WINDOW)
        self._reader: zstandard.ZstdDecompressionReader | None = None

    def read(self, size: int) -> bytes:
        while True:
            data = self._reader.read(size) if self._reader is not None else b""
            if data:
                return data
            span = next(self._frames, None)
            if span is None:
                return b""
            self._reader = self._decoder.stream_reader(cast("IO[bytes]", _Part(self._file, *span)))


class _Bytes:
    """
    A file, given out like bytes.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._number = file.fileno()
        self._size = os.fstat(self._number).st_size

    def __len__(self) -> int:
        return self._size

    @overload
    def __getitem__(self, place: int) -> int: ...

    @overload
    def __getitem__(self, place: slice) -> bytes: ...

    def __getitem__(self, place: int | slice) -> int | bytes:
        if isinstance(place, slice):
            return os.pread(self._number, place.stop - place.start, place.start)
        return self[place : place + 1][0]


class _Part:
    """
    A part of a file, as a file.
    """

    def __init__(self, file: BinaryIO, start: int, end: int) -> None:
        self._file = file
        self._left = end - start
        file.seek(start)

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(min(size, self._left) if size >= 0 else self._left)
        self._left -= len(data)
        return data


class Source:
    """
    One open file: what it is known by, and its content. One handle, so that a rotation meanwhile changes nothing.
    """

    def __init__(self, path: Path) -> None:
        """
        Open it and look at its beginning.

        :raises OSError: it cannot be opened; reading a broken compressed one raises one of ``BROKEN``.
        """
        self._file = path.open("rb")
        try:
            stat = os.fstat(self._file.fileno())
            start = self._file.read(4)
            self._kind = "gzip" if start[:2] == _GZIP else "zstd" if start == _ZSTD else None
            self.size = stat.st_size
            self.place = Place(str(path), stat.st_dev, stat.st_ino, _read_up_to(self._rewound(), HEAD_BYTES))
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    @property
    def compressed(self) -> bool:
        """
        Say whether it is gzip or zstd. Such a file is complete when it is there: it is never followed.
        """
        return self._kind is not None

    @property
    def position(self) -> int:
        """
        Return how many of the file's own bytes were read.
        """
        return min(self._file.tell(), self.size)

    def _rewound(self) -> Content:
        self._file.seek(0)
        if self._kind is None:
            return self._file
        if self._kind == "gzip":
            return gzip.GzipFile(fileobj=self._file)
        return _Zstd(self._file)

    def content(self, offset: int) -> Content | None:
        """
        Return the decompressed content from an offset on; None: it is shorter than that.
        """
        content = self._rewound()
        if self._kind is None:
            file = self._file
            return file if file.seek(0, io.SEEK_END) >= offset and file.seek(offset) == offset else None
        left = offset
        while left and (block := content.read(min(left, _BLOCK))):
            left -= len(block)
        return content if not left else None


def _read_up_to(content: Content, size: int) -> bytes:
    data = b""
    while len(data) < size and (block := content.read(size - len(data))):
        data += block
    return data


def lines(content: Content, offset: int, max_bytes: int, *, to_the_end: bool) -> Iterator[Line]:
    """
    Yield the lines from here on; ``offset`` is where the content stands.

    The last line without a newline is given out only with ``to_the_end``: a writer may still be at it.
    """
    pending = bytearray()
    start = offset
    dropped = 0
    while block := content.read(_BLOCK):
        pieces = block.split(b"\n")
        for piece in pieces[:-1]:
            pending += piece
            size = len(pending) + dropped
            yield Line(bytes(pending[:max_bytes]), start, start + size + 1, size > max_bytes)
            start += size + 1
            pending, dropped = bytearray(), 0
        pending += pieces[-1]
        if len(pending) > max_bytes:
            dropped += len(pending) - max_bytes
            del pending[max_bytes:]
    if to_the_end and pending:
        size = len(pending) + dropped
        yield Line(bytes(pending), start, start + size, size > max_bytes)
