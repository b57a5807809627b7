"""
The wire format of protobuf: what is written is read back, what upb would refuse is refused, wherever it stands.
"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meterline.errors import UndecodableError
from meterline.protobuf import write
from meterline.protobuf.read import I32, I64, LEN, VARINT, check, fields, signed, varint, varints

NUMBERS = st.integers(0, 2**64 - 1) | st.integers(0, 300)
FIELDS = st.integers(1, 2**29 - 1) | st.integers(1, 20)


@given(st.lists(st.tuples(FIELDS, st.binary(max_size=300) | NUMBERS | st.floats(allow_nan=False))))
def test_what_is_written_is_read_back(written: list[tuple[int, bytes | int | float]]) -> None:
    """Fields come back in order, each with its number, type and bytes, and where it began."""
    body, places = b"", []
    for field, value in written:
        places.append(len(body))
        body += _encoded(field, value)

    found = list(fields(body))

    assert [(number, begin) for number, _, _, _, begin in found] == [
        (field, place) for (field, _), place in zip(written, places, strict=True)
    ]
    for (_, value), (_, kind, a, b, _) in zip(written, found, strict=True):
        if isinstance(value, int):
            assert (kind, a) == (VARINT, value)
        elif isinstance(value, float):
            assert (kind, body[a:b]) == (I64, write.double(1, value)[1:])
        else:
            assert (kind, body[a:b]) == (LEN, value)


def _encoded(field: int, value: bytes | float) -> bytes:
    if isinstance(value, bytes):
        return write.length_delimited(field, value)
    return write.number(field, value) if isinstance(value, int) else write.double(field, value)


@given(st.integers(-(2**63), 2**63 - 1))
def test_signed_numbers(value: int) -> None:
    """A negative number is ten bytes and comes back negative."""
    encoded = write.varint(value)

    assert signed(varint(encoded, 0, len(encoded))[0]) == value


@given(st.lists(NUMBERS) | st.binary(max_size=40))
def test_packed_numbers_are_read_as_single_ones(given: list[int] | bytes) -> None:
    """A packed field has the numbers that one varint after the other has, or is broken where one of them is."""
    data = given if isinstance(given, bytes) else b"".join(map(write.varint, given))
    expected, pos = [], 0
    try:
        while pos < len(data):
            value, pos = varint(data, pos, len(data))
            expected.append(value)
    except UndecodableError:
        with pytest.raises(UndecodableError, match="unterminated varint"):
            varints(data)
    else:
        assert varints(data) == expected


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"\x00\x01", "field number 0"),
        (b"\x08", "unterminated varint"),
        (b"\x08" + b"\xff" * 10 + b"\x01", "unterminated varint"),
        (b"\x88\x80\x80\x80\x80\x00\x01", "invalid tag"),
        (b"\x88\x80\x80\x80\x10\x01", "invalid tag"),
        (b"\x0a\x02\x00", "length past the end"),
        (b"\x0a\x80\x01" + bytes(127), "length past the end"),
        (b"\x0a\xff\xff\xff\xff\x0f", "length past the end"),
        (b"\x09" + bytes(7), "fixed field past the end"),
        (b"\x0d" + bytes(3), "fixed field past the end"),
        (b"\x0e", "invalid wire type"),
        (b"\x0c", "invalid wire type"),
        (b"\x0b\x14", "end of another group"),
        (b"\x0b" * 101, "groups nested too deep"),
        (b"\x0b", "unterminated varint"),
    ],
)
def test_what_is_broken_is_refused(body: bytes, why: str) -> None:
    """Each bound of the format is kept, behind fields that are whole too, and the error says what and where."""
    for before in (b"", write.number(1, 5)):
        with pytest.raises(UndecodableError, match=f"{why} at byte"):
            check(before + body)


def test_groups_are_skipped() -> None:
    """A group, which no message of ours has, is an unknown field like any other: its neighbours are read."""
    group = b"\x13" + write.length_delimited(1, b"inner") + b"\x1b\x1c" + b"\x14"
    body = write.number(1, 7) + group + b"\x1d" + bytes(4)

    assert [found[:2] for found in fields(body)] == [(1, VARINT), (3, I32)]
