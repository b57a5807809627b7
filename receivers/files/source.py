"""
Reading a file's lines from an offset on, plain or compressed, without ever holding more than a line and a block.
"""

import gzip
import io
import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import IO, BinaryIO, Final, NamedTuple, Protocol, Self, cast

import zstandard

from meterline.receivers.files.cursor import HEAD_BYTES, Place

_BLOCK: Final = 256 * 1024
_GZIP: Final = b"\x1f\x8b"
_ZSTD: Final = b"\x28\xb5\x2f\xfd"
_WINDOW: Final = 128 * 1024 * 1024

_SEAL: Final = b"Z" * 16
_RUN_OF_IT: Final = (1 | 1 << 1 | len(_SEAL) << 3).to_bytes(3, "little")  # last block, a run of one byte, how long
_SEAL_FRAME: Final = _ZSTD + b"\x00\x00" + _RUN_OF_IT + _SEAL[:1]

BROKEN: Final = (OSError, EOFError, zstandard.ZstdError)
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


class _Sealed:
    """
    zstd content. Its reader does not say whether the input ended within a frame; the seal behind it does.
    """

    def __init__(self, file: BinaryIO) -> None:
        decoder = zstandard.ZstdDecompressor(max_window_size=_WINDOW)
        self._reader = decoder.stream_reader(cast("IO[bytes]", _Input(file)), read_across_frames=True)
        self._held = b""

    def read(self, size: int) -> bytes:
        while data := self._reader.read(size):
            data = self._held + data
            self._held = data[-len(_SEAL) :]
            if len(data) > len(_SEAL):
                return data[: -len(_SEAL)]
        if self._held != _SEAL:
            raise EOFError("compressed data ends before its frame does")
        return b""


class _Input:
    """
    The file and then the seal.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._rest = _SEAL_FRAME

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(size if size > 0 else _BLOCK)
        if not data:
            data, self._rest = self._rest, b""
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
        return _Sealed(self._file)

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
