"""
The canonical form: fixed bytes, independent of order, depth-limited, and the same as another way of writing it.
"""

import math
import struct
from decimal import Decimal
from hashlib import blake2b
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

from meterline.kernel import canonical
from meterline.kernel.canonical import BadValueError
from meterline.kernel.reasons import Reason
from meterline.kernel.seam import Bad
from meterline.protobuf.write import length_delimited as put_len
from meterline.testing.kernel import KernelHarness
from meterline.testing.otlp import Metrics, Point, put_value

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)

GOLDEN = {
    "absent": (None, "6e"),
    "true": (True, "74"),
    "int": (-2, "69fffffffffffffffe"),
    "minus zero": (-0.0, "648000000000000000"),
    "nan": (-math.nan, "647ff8000000000000"),
    "text": ("é", "7300000002c3a9"),
    "bytes": (b"\x00", "620000000100"),
    "array": ([1, "a"], "61000000026900000000000000017300000001" + "61"),
    "map": ({"b": None, "a": False}, "6d00000002" + "0000000161" + "66" + "0000000162" + "6e"),
    "json": (Decimal("120.50"), "6a00000007" + b"1205e-1".hex()),
}


def wire(value: Any) -> bytes:
    """An AnyValue as opentelemetry-proto writes it."""
    message = AnyValue()
    put_value(message, value)
    return message.SerializeToString()


@pytest.mark.parametrize("name", GOLDEN)
def test_golden(name: str) -> None:
    """The bytes are fixed for ever: identities of streams, and so record ids, are hashed from them."""
    value, expected = GOLDEN[name]
    assert canonical.canonical(value).hex() == expected


def test_golden_stream() -> None:
    """The identity of a stream, written down by hand from the description."""
    from meterline.kernel import load_kernel  # noqa: PLC0415 - the only test here that needs a kernel

    def text(value: str) -> bytes:
        return b"s" + struct.pack(">I", len(value)) + value.encode()

    def mapping(**values: bytes) -> bytes:
        pairs = [struct.pack(">I", len(key)) + key.encode() + values[key] for key in sorted(values)]
        return b"m" + struct.pack(">I", len(values)) + b"".join(pairs)

    written = b"".join(
        (
            b"meterline.stream.1",
            mapping(host=text("h")),
            text("lib"),
            text(""),
            mapping(),
            text("calls"),
            text("1"),
            text("sum"),
            b"\x02\x01",
            mapping(customer=text("acme"), n=b"i" + struct.pack(">q", 5)),
        )
    )
    h = KernelHarness(load_kernel())
    h.send(
        Metrics({"host": "h"}, "lib").sum([Point(100, 110, 1, {"n": 5, "customer": "acme"})], name="calls", unit="1")
    )
    (entry,) = h.quarantine
    assert entry.stream == blake2b(written, digest_size=16).digest()


@given(VALUES)
def test_values_come_back(value: Any) -> None:
    """What a sender wrote is read as it was, and written the same whatever way it came."""
    read = canonical.any_value(data := wire(value), 0, len(data))
    assert canonical.canonical(read) == canonical.canonical(value)


@given(VALUES, VALUES)
def test_different_values_are_written_differently(one: Any, other: Any) -> None:
    """Equal bytes mean equal values of equal types."""
    same = canonical.canonical(one) == canonical.canonical(other)
    assert same == (repr(_sorted(one)) == repr(_sorted(other)))


def _sorted(value: Any) -> Any:
    """Order the keys of maps, and forget which NaN it is."""
    if isinstance(value, dict):
        return {key: _sorted(value[key]) for key in sorted(value, key=str.encode)}
    return [_sorted(item) for item in value] if isinstance(value, list) else value


@given(st.dictionaries(st.text(), VALUES, max_size=5), st.randoms())
def test_the_order_of_attributes_does_not_matter(attributes: dict[str, Any], rng: Any) -> None:
    """Attribute sets are unordered."""
    entries = []
    for key, value in attributes.items():
        message = KeyValue(key=key)
        put_value(message.value, value)
        entries.append(message.SerializeToString())
    shuffled = list(entries)
    rng.shuffle(shuffled)
    assert canonical.canonical_attributes(shuffled) == canonical.canonical_attributes(entries)
    assert canonical.canonical_attributes(entries) == canonical.canonical(attributes)


def nested(levels: int) -> bytes:
    """So many arrays, one in the other, as bytes."""
    data = wire(1)
    for _ in range(levels):
        item = b"\x0a" + _varint(len(data)) + data
        data = b"\x2a" + _varint(len(item)) + item
    return data


def _varint(value: int) -> bytes:
    out = b""
    while value > 127:
        out += bytes((value & 127 | 128,))
        value >>= 7
    return out + bytes((value,))


def test_depth() -> None:
    """Sixty-four levels are read, though upb alone would refuse them; one more, or thousands, is too deep."""
    value = canonical.any_value(data := nested(64), 0, len(data))
    for _ in range(64):
        (value,) = value
    assert value == 1
    for levels in (65, 5000):
        with pytest.raises(BadValueError, match="too_deep"):
            canonical.any_value(data := nested(levels), 0, len(data))


def test_oneof_and_merge() -> None:
    """The last member wins; arrays that stand twice are one after the other, as protobuf merges them."""
    both = wire("a") + wire(5)
    assert canonical.any_value(both, 0, len(both)) == 5
    twice = wire([1]) + wire([2])
    merged = AnyValue.FromString(twice)
    assert [item.int_value for item in merged.array_value.values] == canonical.any_value(twice, 0, len(twice)) == [1, 2]


@pytest.mark.parametrize("member", ["array", "map"])
def test_many_parts_of_one_value(member: str) -> None:
    """An array or a map that comes in two hundred thousand parts costs what its bytes do, not each part all before it."""
    item = put_len(1, put_len(1, b"x"))
    value = put_len(5 if member == "array" else 6, item) * 200_000
    read = canonical.any_value(value, 0, len(value))
    assert read == (["x"] * 200_000 if member == "array" else {"x": None})


def test_what_rules_see() -> None:
    """A value that cannot be read is Bad, and so is one whose key stands twice; an unreadable key is left out."""
    good = KeyValue(key="k", value=AnyValue(int_value=1)).SerializeToString()
    bad = b"\x0a\x01t\x12\x04\x0a\x02\xff\xfe"
    key = b"\x0a\x01\xff\x12\x02\x18\x01"
    broken = b"\x0a\x01b\x12\x02\x0a\x66"
    seen = canonical.attributes([good, good, bad, key, broken])
    assert seen == {"k": Bad(Reason.DUPLICATE_KEY), "t": Bad(Reason.BAD_UTF8), "b": Bad(Reason.UNDECODABLE_VALUE)}
    with pytest.raises(BadValueError, match="bad_utf8"):
        canonical.canonical_attributes([key])
    assert canonical.canonical_attributes([good, good]) == canonical.canonical({"k": 1})
