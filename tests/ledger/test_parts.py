"""
The ledger's small parts: stored bodies, exact sums, cached definitions, numbers for telemetry.
"""

from decimal import Decimal, localcontext
from typing import Any

import apsw
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meterline.errors import CorruptLedgerError
from meterline.ledger import codec, exact, open_reader, schema
from meterline.ledger.names import StoredNames
from meterline.ledger.store import store_definitions
from meterline.quantity import format_units

EFFORTS = st.sampled_from(["none", "fast", "small"])


@given(st.binary(max_size=3000), st.integers(1, 50), EFFORTS, st.text(max_size=20))
def test_a_body_comes_back(piece: bytes, times: int, effort: Any, label: str) -> None:
    """What was packed is unpacked to the same bytes, under its own label, and never stored larger than it is."""
    body = piece * times
    stored = codec.pack(body, label, effort)
    assert codec.unpack(stored, label) == body
    assert len(stored.body) <= len(body)


@given(st.binary(min_size=1, max_size=5000), EFFORTS, st.data())
def test_another_body_never_comes_back(body: bytes, effort: Any, data: Any) -> None:
    """One flipped bit, another label or another codec is an error."""
    stored = codec.pack(body, "frame 1", effort)
    place = data.draw(st.integers(0, len(stored.body) - 1))
    flipped = bytearray(stored.body)
    flipped[place] ^= 1 << data.draw(st.integers(0, 7))
    for wrong in (stored._replace(body=bytes(flipped)), stored._replace(codec=1 - stored.codec)):
        with pytest.raises(codec.CorruptBodyError):
            codec.unpack(wrong, "frame 1")
    with pytest.raises(codec.CorruptBodyError):
        codec.unpack(stored, "frame 2")


def test_a_right_crc_over_broken_zstd_is_an_error() -> None:
    """Bytes that zstd cannot read are damage like any other."""
    body = b"no zstd"
    stored = codec.Stored(codec.checksum(body, f"x {codec.ZSTD}"), codec.ZSTD, body)
    with pytest.raises(codec.CorruptBodyError):
        codec.unpack(stored, "x")


UNITS = st.integers(-(10**60), 10**60)


@given(st.lists(UNITS, min_size=1, max_size=6))
def test_sums_are_exact(units: list[int]) -> None:
    """Texts add up to the text of the sum, whatever their size, as plain decimals."""
    found = exact.add(*[format_units(value) for value in units])
    with localcontext(prec=200):
        assert Decimal(found) == sum(Decimal(value).scaleb(-30) for value in units)
    assert found == format_units(sum(units))
    assert exact.units_of(found) == sum(units)


def test_nothing_and_something() -> None:
    """NULL counts as nothing; NULLs alone stay NULL."""
    assert (exact.add(None, "0.5"), exact.add("-1", None), exact.add(None, None)) == ("0.5", "-1", None)


@given(
    st.lists(st.integers(1, 5), min_size=1, max_size=30),
    st.lists(st.integers(0, 200), max_size=60),
    st.integers(1, 400),
)
def test_names_with_any_cache(sizes: list[int], asked: list[int], cache: int) -> None:
    """Definitions are found for every declared meter and no other, in any order, however little is kept in memory."""
    connection = apsw.Connection(":memory:")
    schema.create(connection)
    owner: dict[int, bytes] = {}
    for number, size in enumerate(sizes):
        block = Block(len(owner), size, b"block %d " % number * 8, number)
        store_definitions(connection, block)  # type: ignore[arg-type]
        owner |= {block.first_meter + meter: block.definitions for meter in range(size)}
    names = StoredNames(connection, cache)
    for meter in asked:
        if meter in owner:
            assert names.definitions(meter) == owner[meter]
        else:
            with pytest.raises(KeyError):
                names.definitions(meter)
    assert names._bytes <= max(cache, 8 * 9)


class Block:
    """What ``store_definitions`` reads of a frame."""

    def __init__(self, first: int, meters: int, definitions: bytes, seq: int) -> None:
        self.first_meter, self.meters, self.definitions, self.seq = first, meters, definitions, seq


def test_damaged_definitions_are_named(ledger: Any, make: Any, path: Any) -> None:
    """A damaged block is an error that names its meters."""
    ledger.commit(make.group(1))
    ledger._connection.execute("UPDATE definition SET body = x'00'")
    with open_reader(path) as reader, pytest.raises(CorruptLedgerError, match="meters 0 to 1 fail"):
        reader.names().definitions(1)


def test_numbers_for_telemetry(ledger: Any, make: Any, clock: Any) -> None:
    """Commits, frames, bytes and the log's size are counted as they happen."""
    for seq in range(1, 4):
        ledger.commit(make.group(seq, make.chance.randbytes(10_000)))
    ledger.maintain(clock.now_ns())
    found = {sample.name.removeprefix("meterline_ledger_"): sample.value for sample in ledger.samples()}
    assert (found["frames"], found["commit_failures"], found["full"], found["corrupt_frames"]) == (3, 0, 0, 0)
    assert found["commits"] >= 3
    assert 30_000 <= found["stored_bytes"] < 31_000
    assert found["used_bytes"] > 30_000
    assert found["wal_bytes"] > 30_000
