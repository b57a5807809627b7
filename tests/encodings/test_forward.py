"""
Messages of the forward protocol: cut out of a stream however it comes, and read in every mode.
"""

import random
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meterline.encodings.forward import MAX_CHUNK_BYTES, MAX_TAG_BYTES, METRICS, Cutter, Message, read
from meterline.errors import TooLargeError, UndecodableError
from meterline.testing.cost import least_cpu_secs, peak_bytes
from meterline.testing.forward_client import event_time

MIB = 1024 * 1024
TIME = event_time(1_795_346_017_123_456_789)
ENTRY = b"\x92\xd7\x00\x6b\x02\xce\x61\x07\x5b\xcd\x15\x81\xa1n\x01"  # [TIME, {"n": 1}]

_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text(max_size=5) | st.binary(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


def cut_all(cutter: Cutter, data: bytes, sizes: list[int]) -> list[bytes]:
    """
    Feed data in parts of these sizes, over and over, and return the messages.
    """
    found, start, turn = [], 0, 0
    while start < len(data):
        size = sizes[turn % len(sizes)]
        cutter.feed(data[start : start + size])
        start, turn = start + size, turn + 1
        while (message := cutter.cut()) is not None:
            found.append(message)
    return found


@given(st.lists(_JSON, max_size=6), st.lists(st.integers(1, 40), min_size=1, max_size=5))
def test_a_stream_is_cut_into_what_was_sent(values: list[Any], sizes: list[int]) -> None:
    """
    However a stream comes in parts, the messages are those that were sent, byte by byte.
    """
    sent = [msgpack.packb(value) for value in values]
    cutter = Cutter(MIB)

    assert cut_all(cutter, b"".join(sent), sizes) == sent
    assert cutter.buffered == 0


def test_a_thousand_tiny_parts_cost_linear_time() -> None:
    """
    A message that comes byte by byte costs no more than in proportion to its length.
    """

    def secs(entries: int) -> float:
        message = msgpack.packb(["tag", [[1, {"n": "x"}]] * entries])
        assert cut_all(Cutter(MIB), message, [1]) == [message]
        return least_cpu_secs(lambda: cut_all(Cutter(MIB), message, [1]))

    assert secs(16_000) < 8 * secs(2_000) * 4


@pytest.mark.parametrize(
    "beginning",
    [
        b"\xdb\x00\x20\x00\x00",
        b"\xc6\xff\xff\xff\xff",
        b"\xdd\xff\xff\xff\xff",
        b"\xdf\xff\xff\xff\xff",
        b"\x93\xa1t\xdd\x7f\xff\xff\xff",
    ],
)
def test_a_declared_length_takes_no_memory(beginning: bytes) -> None:
    """
    Nothing is allocated for a length that is only declared, and what comes of it is refused at the limit.
    """
    cutter = Cutter(1000)

    def declared() -> None:
        cutter.feed(beginning)
        assert cutter.cut() is None

    assert peak_bytes(declared) < 100_000
    cutter.feed(b"\x01" * 1000)
    with pytest.raises(TooLargeError):
        cutter.cut()


def test_a_message_over_the_limit_is_refused_as_it_comes() -> None:
    """
    A message of many small parts is refused when it is over the limit, not when it ends.
    """
    cutter = Cutter(1000)
    cutter.feed(msgpack.packb(["t", [[1, {}]] * 2000])[:1001])

    with pytest.raises(TooLargeError):
        cutter.cut()


def test_a_message_of_exactly_the_limit_passes() -> None:
    """
    The limit itself is allowed, one byte more is not.
    """
    message = msgpack.packb(["t", b"x" * 100])

    assert cut_all(Cutter(len(message)), message, [7]) == [message]
    with pytest.raises(TooLargeError):
        cut_all(Cutter(len(message) - 1), message, [7])


@pytest.mark.parametrize("data", [b"\xc1", b"\x93\xa1t\xc1", b"\x91" * 3000], ids=["reserved", "inside", "deep"])
def test_what_is_no_messagepack_is_undecodable(data: bytes) -> None:
    """
    A reserved byte, and arrays nested without end, are refused.
    """
    cutter = Cutter(MIB)
    cutter.feed(data)

    with pytest.raises(UndecodableError):
        cutter.cut()


@given(st.binary(max_size=200), st.lists(st.integers(1, 40), min_size=1, max_size=3))
def test_any_bytes_are_messages_or_refused(data: bytes, sizes: list[int]) -> None:
    """
    Whatever comes is cut and read, or refused with an error that says so.
    """
    try:
        for message in cut_all(Cutter(100), data, sizes):
            read(message)
    except (UndecodableError, TooLargeError):
        pass


@pytest.mark.parametrize("mutated", range(200))
def test_mutated_messages_are_read_or_refused(mutated: int, rng: random.Random) -> None:
    """
    A message with some bytes changed is read or refused.
    """
    data = bytearray(msgpack.packb(["app.log", [[TIME, {"n": 1}]], {"chunk": "abc", "size": 1, "compressed": "text"}]))
    for _ in range(1 + mutated % 4):
        data[rng.randrange(len(data))] = rng.randrange(256)
    cutter = Cutter(1000)
    cutter.feed(bytes(data))
    try:
        while (message := cutter.cut()) is not None:
            read(message)
    except (UndecodableError, TooLargeError):
        pass


# The modes, as the programs write them


def test_message_mode_as_fluent_logger_writes_it() -> None:
    """
    ``[tag, integer time, record]`` is one entry, and asks for nothing.
    """
    found = read(b"\x93\xa8app.test\xce\x6b\x02\xce\x61\x81\xa1n\x01")

    assert found == Message("app.test", b"\x92\xce\x6b\x02\xce\x61\x81\xa1n\x01")


def test_message_mode_with_an_option() -> None:
    """
    The fourth element of Message mode is its option; a nil one is none.
    """
    asked = read(b"\x94\xa1t" + ENTRY[1:] + b"\x81\xa5chunk\xa3abc")

    assert asked == Message("t", ENTRY, chunk=b"\xa3abc")
    assert read(b"\x94\xa1t" + ENTRY[1:] + b"\xc0") == Message("t", ENTRY)


def test_forward_mode_as_fluent_bit_writes_it() -> None:
    """
    Fluent Bit 5: entries with metadata, and an option whose map has a header of 32 bits.
    """
    entry = b"\x92\x92\xd7\x00\x6a\x91\x2d\x46\x06\x47\x5c\x60\x80\x81\xa3log\xa2ok"
    option = b"\xdf\x00\x00\x00\x03\xa5chunk\xb8uIOE9Ytf9VkFyzGvT0FB7Q==\xa4size\x01\xadfluent_signal\x00"
    found = read(b"\x93\xa7app.log\x91" + entry + option)

    assert found == Message("app.log", entry, chunk=b"\xb8uIOE9Ytf9VkFyzGvT0FB7Q==")
    assert found.acknowledgement == b"\x81\xa3ack\xb8uIOE9Ytf9VkFyzGvT0FB7Q=="


@pytest.mark.parametrize("header", [b"\x92", b"\xdc\x00\x02", b"\xdd\x00\x00\x00\x02"])
def test_forward_mode_with_every_header(header: bytes) -> None:
    """
    The array of entries may say its length in 4, 16 or 32 bits.
    """
    assert read(b"\x92\xa1t" + header + ENTRY + ENTRY) == Message("t", ENTRY * 2)


@pytest.mark.parametrize(
    "header",
    [
        b"\xaf",
        b"\xd9\x0f",
        b"\xda\x00\x0f",
        b"\xdb\x00\x00\x00\x0f",
        b"\xc4\x0f",
        b"\xc5\x00\x0f",
        b"\xc6\x00\x00\x00\x0f",
    ],
)
def test_packed_forward_as_text_or_bytes(header: bytes) -> None:
    """
    Fluentd writes its entries as str32, or as bin: both, in every length, are entries.
    """
    assert len(ENTRY) == 15

    assert read(b"\x93\xa1t" + header + ENTRY + b"\x82\xa4size\x01\xaacompressed\xa4text") == Message("t", ENTRY)


def test_fluentds_chunk_comes_back_with_its_newline() -> None:
    """
    Fluentd's chunk id ends with a newline, and is told back as it came, whatever type it was packed as.
    """
    for packed in (
        b"\xb9AZy0oWqTRNKB6/yqZSIXQg==\n",
        b"\xc4\x19AZy0oWqTRNKB6/yqZSIXQg==\n",
        b"\xd9\x19AZy0oWqTRNKB6/yqZSIXQg==\n",
    ):
        found = read(b"\x93\xa1t\xc4\x0f" + ENTRY + b"\x81\xa5chunk" + packed)
        assert found is not None
        assert found.acknowledgement == b"\x81\xa3ack" + packed


def test_compression_and_signal_are_read() -> None:
    """
    gzip, zstd and Fluent Bit's signal are what the option says; other keys of it are nothing to us.
    """
    packed = msgpack.packb(["t", b"zz", {"compressed": "zstd", "fluent_signal": 1, "metadata": {"a": [1]}, b"\xff": 2}])

    assert read(packed) == Message("t", b"zz", "zstd", signal=METRICS)


def test_nil_is_a_heartbeat() -> None:
    """
    A nil in place of a message says that the sender is alive.
    """
    assert read(b"\xc0") is None


@pytest.mark.parametrize(
    "message",
    [
        1,
        "text",
        {"a": 1},
        [],
        ["t"],
        ["t", TIME],
        ["t", TIME, {}, {}, {}],
        ["t", [], {}, {}],
        ["t", [], 7],
        [7, []],
        ["t" * (MAX_TAG_BYTES + 1), []],
        ["t", [], {"chunk": 7}],
        ["t", [], {"chunk": "x" * MAX_CHUNK_BYTES}],
        ["t", [], {"compressed": "lz4"}],
        ["t", [], {"compressed": 7}],
        ["t", [], {"fluent_signal": "logs"}],
        ["t", [], {7: 1}],
    ],
    ids=repr,
)
def test_what_is_none_of_the_modes_is_undecodable(message: Any) -> None:
    """
    MessagePack that is no message of the protocol is refused.
    """
    with pytest.raises(UndecodableError, match="reading message"):
        read(msgpack.packb(message))
