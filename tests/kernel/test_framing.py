"""
Frames, definitions and slots as bytes: what goes in comes out, in few bytes.
"""

import random

import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from meterline._proto.meterline.ledger.v1 import frame_pb2 as pb
from meterline.kernel import columns
from meterline.kernel.framing import (
    Block,
    ChargeDef,
    Cutoff,
    Definitions,
    DigestRow,
    FrameContent,
    IdRow,
    Kind,
    LogRow,
    MeterDef,
    QuarantineRow,
    SlotColumns,
    SlotRow,
    SlowRow,
    decode_charge,
    decode_columns,
    decode_frame,
    decode_rows,
    encode_charge,
    encode_columns,
    encode_definitions,
    encode_frame,
    encode_rows,
)
from meterline.kernel.reasons import Reason
from meterline.kernel.seam import Charge

T = 1_700_000_000 * 10**9
ONE = 10**18
INT64 = st.integers(-(2**63), 2**63 - 1)
AMOUNTS = st.integers(-(10**38) + 1, 10**38 - 1)


def series(values: list[int]) -> list[int]:
    """
    Take numbers through a series column.
    """
    column = pb.Column()
    columns.put_series(column, values)
    return columns.get(pb.Column.FromString(column.SerializeToString()), len(values))


def amounts(values: list[int]) -> list[int]:
    """
    Take numbers through a column of amounts.
    """
    column = pb.Column()
    columns.put_amounts(column, values)
    return columns.get(pb.Column.FromString(column.SerializeToString()), len(values))


@given(
    st.lists(st.integers(0, 2**62))
    | st.lists(st.just(7))
    | st.builds(lambda n, k: list(range(n, n + k)), INT64, st.just(3))
)
def test_series_columns_come_back(values: list[int]) -> None:
    """
    Constants, runs and anything between.
    """
    if all(-(2**63) <= value < 2**63 for value in values):
        assert series(values) == values


@given(
    st.lists(AMOUNTS)
    | st.lists(INT64)
    | st.lists(st.builds(lambda n, e: n * 10**e, st.integers(-(10**15), 10**15), st.integers(0, 20)))
)
def test_amount_columns_come_back(values: list[int]) -> None:
    """
    Up to 127 bits, with and without a common power of ten.
    """
    assert amounts(values) == values


def test_a_late_amount_that_is_no_multiple_is_not_rounded() -> None:
    """
    The common power of ten is looked for in a sample, and checked on all.
    """
    values = [10**30] * 100 + [5 * 10**30, 10**30 + 1]
    assert amounts(values) == values


def test_a_short_column_is_an_error() -> None:
    """
    A column of two numbers is not one of three.
    """
    column = pb.Column(deltas=[1, 2])
    with pytest.raises(ValueError, match="2 numbers, 3 expected"):
        columns.get(column, 3)


@given(AMOUNTS)
def test_single_ints_come_back(value: int) -> None:
    """
    As few bytes as they need.
    """
    assert columns.bytes_int(columns.int_bytes(value)) == value


def content() -> FrameContent:
    """
    Make a frame with everything in it.
    """
    reason = Reason.OVERLAP
    disputed = QuarantineRow(
        reason.kind, reason, "r", b"S" * 16, 1, T, T - 5, T, 2, -7, b"I" * 16, b"", "text", 0, "otlp_metrics", b"point"
    )
    raw = QuarantineRow(
        "raw", Reason.NO_VALUE, "", b"", 0, T, 0, 0, 0, None, b"", b"K" * 16, "", None, "otlp_logs", b"\xff\x00"
    )
    return FrameContent(
        seq=2**40,
        gen=3,
        rules_hash="abc",
        received_at=T,
        sources=[("otlp", "anonymous"), ("otlp", "key ü")],
        blocks=[
            Block(0, 0, [1, 2, 3], [T, T, T], [T + 1, T + 2, T + 9], [5, 0, 2**63 - 1]),
            Block(18, 1, [9, 4], [0, T], [T, T], [10**37 + 1, -5]),
            Block(0, 1),
        ],
        slow=[
            SlowRow((3, 2), 7, 1, T, T + 1, -(10**37), 4, Kind.INSTANT, 2**70 + 1, b"state"),
            SlowRow((0, 0), 7, 0, 0, 0, 0, 0, Kind.DELTA, 0, b""),
            SlowRow((3, 2), 7, 1, 0, T, 5, 0, Kind.INSTANT, 1, b"", b"sixteen bytes id"),
        ],
        charges=[b"c0", b"c1"],
        logs=[LogRow(b"a" * 16, 1, 0, T, ONE), LogRow(b"b" * 16, 0, 1, T + 5, 10**37)],
        ids=[IdRow(b"k" * 16, 10**37, T), IdRow(b"l" * 16, 0, T)],
        ids_cutoff=Cutoff(T, b"z" * 16),
        digests=[DigestRow(b"d" * 32, b"answer")],
        digests_cutoff=Cutoff(0, b""),
        quarantine=[disputed, raw],
        closed=[b"q" * 16],
        loaded=[b"row"],
        evicted=[b"e" * 16],
        balance=[1, 2, 3, 0, -4],
    )


def test_a_frame_comes_back_whole() -> None:
    """
    Every field of every row survives.
    """
    assert decode_frame(encode_frame(content())) == content()


def test_an_empty_frame_comes_back() -> None:
    """
    No cut-off is not a cut-off of zero.
    """
    empty = FrameContent(1, 1, "h")
    assert decode_frame(encode_frame(empty)) == empty
    assert empty.ids_cutoff is None


def test_the_same_frame_has_the_same_bytes() -> None:
    """
    So that frames of two runs can be compared.
    """
    assert encode_frame(content()) == encode_frame(content())


def test_a_frame_of_another_layout_is_refused() -> None:
    """
    Garbage and other versions are errors.
    """
    with pytest.raises(ValueError, match="layout version 2, 1 expected"):
        decode_frame(pb.Frame(version=2).SerializeToString())
    with pytest.raises(DecodeError):
        decode_frame(b"\xff\xff\xff")


def test_hot_rows_cost_few_bytes() -> None:
    """
    8,192 rows of shuffled meters at one time cost under 5 B each before compression.
    """
    draw = random.Random(1)
    meters = draw.sample(range(10_240), 8_192)
    small = [draw.randrange(1, 5_000) for _ in meters]
    block = Block(0, 0, meters, [T] * len(meters), [T + 10**10] * len(meters), small)
    assert len(encode_frame(FrameContent(1, 1, "h", T, [("otlp", "x")], [block]))) < 5 * len(meters)


def test_definitions_come_back() -> None:
    """
    Each meter with its stream, track, kind, epoch, charges and the instants since which they count.
    """
    meters = [
        MeterDef(b"1" * 16, 0, Kind.CUMULATIVE, T, (0,), (5,)),
        MeterDef(b"2" * 16, 1, Kind.DELTA, 0, (0, 1), (5, 6)),
        MeterDef(b"1" * 16, 0, Kind.CUMULATIVE, T + 1, (), ()),
    ]
    block = Definitions(encode_definitions(7, meters, [b"c0", b"c1"], 3, "hash"))
    assert (block.first, block.end, block.gen, block.rules_hash) == (7, 10, 3, "hash")
    assert block.all() == meters
    assert block.charges == [b"c0", b"c1"]
    assert block.stream(8) == b"2" * 16
    for outside in (6, 10):
        with pytest.raises(IndexError):
            block.meter(outside)


def test_definitions_of_another_layout_are_refused() -> None:
    """
    Other versions are errors.
    """
    with pytest.raises(ValueError, match="layout version 9"):
        Definitions(pb.Definitions(version=9).SerializeToString())


@pytest.mark.parametrize("customer", [None, "", "größe"])
def test_charges_come_back(customer: str | None) -> None:
    """
    A missing customer is not an empty one; factors are exact up to their limit.
    """
    charge = Charge("r", customer, None, (("a", "b"), ("c", "")), factor=10**32 + 1, since=5)
    assert decode_charge(encode_charge(charge)) == ChargeDef("r", customer, None, (("a", "b"), ("c", "")), 10**32 + 1)


def rows() -> list[SlotRow]:
    """
    Make slots of every kind.
    """
    activation = (("r", T), ("s", 0))
    key = b"1" * 16
    return [
        SlotRow(0, key, key, 0, 3, 0, 1, T, ((T, 5), (T - 9, 4)), activation, T, T, T + 1, 2**63 - 1),
        SlotRow(5, b"2" * 16, key, 1, 1, 18, 1, T, ((0, 6),), activation, 0, T, T + 1, 0, b"tail", b"base"),
        SlotRow(9, b"3" * 16, key, 2, 3, 18, 2, T + 1, (), (), 0, T, T + 1, 10**37, b"", b"full"),
    ]


def test_slots_come_back_as_rows() -> None:
    """
    With holes between them, more than one meter, tails and full states.
    """
    assert decode_rows(encode_rows(rows())) == rows()
    for row in rows():
        assert decode_rows(encode_rows([row])) == [row]


def test_slots_come_back_as_columns() -> None:
    """
    Equal keys and identities are stored once.
    """
    keys = [bytes([n]) * 16 for n in range(100)]
    slots = SlotColumns(
        slots=list(range(100)),
        keys=keys,
        identities=keys,
        tracks=[0] * 100,
        kinds=[3] * 100,
        scales=[0] * 100,
        gens=[1] * 100,
        last_seen=[T] * 100,
        epochs=[T] * 100,
        meters=list(range(50, 150)),
        activations=[0] * 100,
        activation_table=[(("r", T),)],
        starts=[T] * 100,
        origins=[T] * 100,
        last_times=[T + n for n in range(100)],
        last_values=[n * 1000 for n in range(100)],
    )
    encoded = encode_columns(slots)
    assert decode_columns(encoded) == slots
    assert len(encoded) < 100 * 25
