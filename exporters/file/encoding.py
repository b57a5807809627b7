"""
Bytes of a batch: format, compression, and whether the end of a file is whole.
"""

import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, Literal

import zstandard

CSV_HEADER: Final = b"id,customer_id,dimension_id,value,timestamp,start_timestamp,metadata,rule,kind,source\r\n"

_GZIP: Final = 31
_CHUNK: Final = 1_048_576


def compressor(compression: Literal["none", "gzip", "zstd"]) -> Callable[[bytes], bytes]:
    """
    Return what turns a batch into one whole gzip member or zstd frame.
    """
    if compression == "gzip":
        return _gzip
    if compression == "zstd":
        return zstandard.ZstdCompressor(write_content_size=True, write_checksum=True).compress
    return bytes


def _gzip(data: bytes) -> bytes:
    packer = zlib.compressobj(6, zlib.DEFLATED, _GZIP)
    return packer.compress(data) + packer.flush()


def torn(path: Path, compression: Literal["none", "gzip", "zstd"], header: bytes) -> str | None:
    """
    Say why nothing can be appended to an existing file, or None. Reads all of a compressed one.
    """
    if compression == "none":
        return _torn_text(path, header)
    make: Callable[[], Any] = zstandard.ZstdDecompressor().decompressobj
    if compression == "gzip":
        make = lambda: zlib.decompressobj(_GZIP)  # noqa: E731 - a factory like the other one
    begin, last = b"", b""
    try:
        for text in _texts(path, make):
            begin = begin if len(begin) >= len(header) else (begin + text)[: len(header)]
            last = text[-1:] or last
    except (zlib.error, zstandard.ZstdError) as error:
        return f"it is not {compression}: {error}"
    except EOFError:
        return f"its last {compression} part is torn"
    return _judged(begin, last, header)


def _torn_text(path: Path, header: bytes) -> str | None:
    with path.open("rb") as file:
        begin = file.read(len(header))
        file.seek(-1, 2)
        return _judged(begin, file.read(1), header)


def _judged(begin: bytes, last: bytes, header: bytes) -> str | None:
    if last != b"\n":
        return "it does not end with a newline, so its last line may be torn"
    return None if begin == header else "its first line is not the header of this format"


def _texts(path: Path, make: Callable[[], Any]) -> Iterator[bytes]:
    """
    Yield the text of all members of a file. Raises EOFError when the last one is not whole.
    """
    unpacker = None
    with path.open("rb") as file:
        while data := file.read(_CHUNK):
            while data:
                unpacker = unpacker or make()
                yield unpacker.decompress(data)
                data = unpacker.unused_data if unpacker.eof else b""
                unpacker = None if unpacker.eof else unpacker
    if unpacker is not None:
        raise EOFError
