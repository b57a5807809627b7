"""
Reading a file from an offset on, plain or compressed, without ever holding more than a block.
"""

import gzip
import io
import os
import sys
import zlib
from pathlib import Path
from types import TracebackType
from typing import IO, BinaryIO, Final, Protocol, Self, cast, overload

import zstandard

from meterline.api import UndecodableError
from meterline.receivers.files.cursor import HEAD_BYTES, Cursor, Place, fingerprint
from meterline.serving.codecs.zstd import frames

BLOCK: Final = 256 * 1024
_GZIP: Final = b"\x1f\x8b"
ZSTD: Final = b"\x28\xb5\x2f\xfd"
_SKIPPED: Final = b"\x2a\x4d\x18"  # after a byte from 0x50 to 0x5f: pzstd begins its files so
_WINDOW: Final = 128 * 1024 * 1024

BROKEN: Final = (OSError, EOFError, IndexError, zlib.error, zstandard.ZstdError, UndecodableError)
"""What reading raises: the disk's errors, and those of broken or cut compressed data."""


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
            self._kind = "gzip" if start[:2] == _GZIP else "zstd" if _is_zstd(start) else None
            self.size = stat.st_size
            head = _read_up_to(self._rewound(), HEAD_BYTES)
            self.place = Place(str(path), stat.st_dev, stat.st_ino, head, stat.st_size, stat.st_mtime_ns)
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
        return content if _skip(content, offset) else None

    def part(self, start: int, size: int) -> bytes:
        """
        Return up to so many bytes of the decompressed content.
        """
        content = self.content(start)
        return b"" if content is None else _read_up_to(content, size)

    def holds(self, cursor: Cursor) -> bool:
        """
        Say whether the last line that was stored stands where it stood, and the content is as long as what was stored.
        """
        content = self.content(cursor.last_start)
        if content is None:
            return False
        last = _read_up_to(content, cursor.last_bytes)
        left = cursor.offset - cursor.last_start - len(last)
        same = not cursor.last_bytes or fingerprint(last) == cursor.last
        return same and (self.size >= cursor.offset if self._kind is None else _skip(content, left))

    def as_it_was(self) -> bool:
        """
        Say whether a plain file still begins as it did when it was opened: it may have been cut and written anew meanwhile.
        """
        number, head = self._file.fileno(), self.place.head
        return self.compressed or os.pread(number, len(head), 0) == head


def _is_zstd(start: bytes) -> bool:
    return start == ZSTD or (len(start) == len(ZSTD) and start[0] & 0xF0 == 0x50 and start[1:] == _SKIPPED)


def _skip(content: Content, size: int) -> bool:
    """
    Pass over bytes, and say whether there were so many.
    """
    while size > 0 and (block := content.read(min(size, BLOCK))):
        size -= len(block)
    return size <= 0


def _read_up_to(content: Content, size: int) -> bytes:
    data = b""
    while len(data) < size and (block := content.read(size - len(data))):
        data += block
    return data
