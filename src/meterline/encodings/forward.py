"""
Reading the messages of the forward protocol: cutting a stream into them, and what each says of its entries.

Facts: Forward Protocol Specification v1 and v1.5, Fluentd's ``in_forward`` and ``out_forward``, Fluent Bit's ``out_forward``.
Nothing here makes objects of what a sender declares before it is there, and a message's entries stay bytes.
"""

from dataclasses import dataclass
from typing import Any, Final

import msgpack

from meterline.errors import TooLargeError, UndecodableError

LOGS: Final = 0
METRICS: Final = 1
TRACES: Final = 2

MAX_TAG_BYTES: Final = 1024
MAX_CHUNK_BYTES: Final = 1024
_NIL: Final = 0xC0
_ARRAYS: Final = (*range(0x90, 0xA0), 0xDC, 0xDD)
_TEXTS: Final = (*range(0xA0, 0xC0), 0xC4, 0xC5, 0xC6, 0xD9, 0xDA, 0xDB)
_MAPS: Final = (*range(0x80, 0x90), 0xDE, 0xDF)
_ARRAY_HEADERS: Final = {0xDC: 3, 0xDD: 5}
_FAILURES: Final = (msgpack.UnpackException, ValueError, OverflowError)
_MIB: Final = 1024 * 1024
_FIRST_BYTES: Final = 16 * 1024  # the library would take a MiB for each connection at once


@dataclass(frozen=True, slots=True)
class Message:
    """
    One message. ``entries``: ``[time, record]`` one after the other, compressed as ``compression`` says ("" = not).

    ``chunk``: the MessagePack bytes of its id, as they came, since they go back so; b"" = the sender waits for no answer.
    """

    tag: str
    entries: bytes
    compression: str = ""
    chunk: bytes = b""
    signal: int = LOGS

    @property
    def acknowledgement(self) -> bytes:
        """
        Return the answer that its sender waits for: ``{"ack": chunk}``.
        """
        return b"\x81\xa3ack" + self.chunk


class Cutter:
    """
    Cuts what comes over a connection into messages, in time linear in its bytes however they come in parts.

    Only a skipping pass looks at them: nothing is made of them here, and nothing is allocated for a length that is only
    declared. The C code refuses more than 512 levels.
    """

    def __init__(self, limit: int) -> None:
        """
        ``limit``: bytes that one message may have.
        """
        self._limit = limit
        self._buffer = bytearray()
        self._start = 0
        self._scan: Any = msgpack.Unpacker(read_size=_FIRST_BYTES, max_buffer_size=limit + _MIB, raw=True)

    @property
    def buffered(self) -> int:
        """
        Return how many bytes wait for the rest of their message.
        """
        return len(self._buffer)

    def feed(self, data: bytes) -> None:
        """
        Take what came, at most a MiB of it. ``cut`` must have returned None before.

        :raises TooLargeError: a message is over the limit.
        """
        try:
            self._scan.feed(data)
        except msgpack.BufferFull as error:
            raise self._too_large() from error
        self._buffer += data

    def cut(self) -> bytes | None:
        """
        Return the next whole message, or None: there is none yet.

        :raises UndecodableError: this is no MessagePack, or nested too deep.
        :raises TooLargeError: the message is over the limit.
        """
        try:
            self._scan.skip()
        except msgpack.OutOfData:
            if len(self._buffer) > self._limit:
                raise self._too_large() from None
            return None
        except _FAILURES as error:
            raise UndecodableError(f"reading message: it is no MessagePack ({type(error).__name__})") from error
        size = self._scan.tell() - self._start
        if size > self._limit:
            raise self._too_large()
        self._start += size
        with memoryview(self._buffer) as view:
            message = bytes(view[:size])
        del self._buffer[:size]
        return message

    def _too_large(self) -> TooLargeError:
        return TooLargeError(f"reading message: it is over max_request_bytes ({self._limit})")


def read(message: bytes) -> Message | None:
    """
    Return what a whole message says; None: a heartbeat.

    :raises UndecodableError: it is none of the protocol's modes.
    """
    if message[0] == _NIL:
        return None
    try:
        return _Reader(message).message()
    except (*_FAILURES, IndexError) as error:
        raise UndecodableError(
            f"reading message: it is none of the forward protocol ({type(error).__name__})"
        ) from error


class _Reader:
    """
    One pass over a message; the mode is told by the type of its second element.
    """

    def __init__(self, message: bytes) -> None:
        self._bytes = message
        self._unpacker: Any = msgpack.Unpacker(read_size=len(message), max_buffer_size=len(message), raw=True)
        self._unpacker.feed(message)
        self._left = 0

    def message(self) -> Message:
        self._left = self._unpacker.read_array_header()
        tag = self._tag()
        entries = self._entries()
        option = self._option() if self._left else {}
        if self._left:
            raise UndecodableError("reading message: it has more elements than any mode of the forward protocol")
        return Message(
            tag,
            entries,
            _compression(option.get(b"compressed")),
            _chunk(option.get(b"chunk", b"")),
            _signal(option.get(b"fluent_signal")),
        )

    def _tag(self) -> str:
        self._expect(_TEXTS, "tag")
        tag: bytes = self._unpacker.unpack()
        self._left -= 1
        if len(tag) > MAX_TAG_BYTES:
            raise UndecodableError(f"reading message: its tag has {len(tag)} bytes; at most {MAX_TAG_BYTES}")
        return tag.decode("utf-8", "surrogateescape")

    def _entries(self) -> bytes:
        first = self._bytes[self._unpacker.tell()]
        self._left -= 1
        if first in _TEXTS:
            packed: bytes = self._unpacker.unpack()
            return packed
        if first in _ARRAYS:
            return self._skipped()[_ARRAY_HEADERS.get(first, 1) :]
        self._left -= 1
        return b"\x92" + self._skipped() + self._skipped()

    def _option(self) -> dict[bytes, bytes]:
        """
        Return what the option says of what matters here, still packed.
        """
        self._left -= 1
        if self._bytes[self._unpacker.tell()] == _NIL:
            return {}
        self._expect(_MAPS, "option")
        found: dict[bytes, bytes] = {}
        for _ in range(self._unpacker.read_map_header()):
            self._expect(_TEXTS, "key of an option")
            key: bytes = self._unpacker.unpack()
            found[key[:32]] = self._skipped()
        return found

    def _skipped(self) -> bytes:
        start: int = self._unpacker.tell()
        self._unpacker.skip()
        return self._bytes[start : self._unpacker.tell()]

    def _expect(self, types: tuple[int, ...], what: str) -> None:
        if self._bytes[self._unpacker.tell()] not in types:
            raise UndecodableError(f"reading message: its {what} is of a type that the forward protocol does not have")


def _compression(packed: bytes | None) -> str:
    """
    Return "" for none; Fluentd says so with ``text``.
    """
    value = None if packed is None else msgpack.unpackb(packed, raw=True)
    if value in (None, b"text"):
        return ""
    if value in (b"gzip", b"zstd"):
        return str(value, "ascii")
    raise UndecodableError("reading message: it is compressed with something else than gzip or zstd")


def _chunk(packed: bytes) -> bytes:
    if packed in (b"", bytes((_NIL,))):
        return b""
    if packed[0] not in _TEXTS or len(packed) > MAX_CHUNK_BYTES:
        raise UndecodableError(f"reading message: its chunk is no text of at most {MAX_CHUNK_BYTES} bytes")
    return packed


def _signal(packed: bytes | None) -> int:
    value = None if packed is None else msgpack.unpackb(packed, raw=True)
    if value is None:
        return LOGS
    if type(value) is not int:
        raise UndecodableError("reading message: its fluent_signal is no integer")
    return value
