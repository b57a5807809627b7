"""
From a frame to its records: every form of a record agrees with the others, and with a plain reading of the rows.
"""

import csv
import io
import json
import random
from collections import Counter
from datetime import UTC, datetime, timedelta
from fractions import Fraction

import pytest

from meterline.kernel.expand import Expander, RecordBatch
from meterline.kernel.framing import (
    Block,
    ChargeDef,
    FrameContent,
    Kind,
    LogRow,
    MeterDef,
    SlowRow,
    encode_charge,
    encode_definitions,
    encode_frame,
)
from meterline.kernel.record_ids import cumulative_window, delta_window, instant_window, record_id

S = 10**9
T = 1_700_000_000 * S
ONE = 10**18
CHARGES = [
    ChargeDef("requests", "acme", "api", (("route", "/v1"),), 10**12),
    ChargeDef("requests", "=HYPERLINK(1)", 'a"b,c\nd', (), 10**12),
    ChargeDef("scaled", "größe\u2028", "gb", (("x", '"'), ("y", "")), 10**9),
]
KEYS = [
    "id",
    "customer_id",
    "dimension_id",
    "value",
    "timestamp",
    "start_timestamp",
    "metadata",
    "rule",
    "kind",
    "source",
]


class FakeNames:
    """
    Definitions by hand: blocks of (first, count, bytes).
    """

    def __init__(self, *blocks: tuple[int, int, bytes]) -> None:
        self.blocks = blocks
        self.asked = 0

    def definitions(self, meter: int) -> bytes:
        """
        Find the block of a meter.
        """
        self.asked += 1
        for first, count, body in self.blocks:
            if first <= meter < first + count:
                return body
        raise KeyError(meter)


def stream(n: int) -> bytes:
    """
    Make a stream identity.
    """
    return n.to_bytes(16, "big")


def names() -> FakeNames:
    """
    Declare a counter, a delta, and a counter with all charges, in two blocks.
    """
    encoded = [encode_charge(charge) for charge in CHARGES]
    one = [
        MeterDef(stream(1), 0, Kind.CUMULATIVE, T, (0,), (0,)),
        MeterDef(stream(2), 0, Kind.DELTA, 0, (1,), (0,)),
    ]
    two = [MeterDef(stream(3), 1, Kind.CUMULATIVE, 0, (0, 1, 2), (0, 0, 0))]
    return FakeNames(
        (5, 2, encode_definitions(5, one, encoded, 1, "h")), (7, 1, encode_definitions(7, two, encoded, 1, "h"))
    )


def frame() -> bytes:
    """
    Make a frame with rows of every kind.
    """
    blocks = [
        Block(18, 0, [6], [0], [T + S], [ONE // 10]),
        Block(0, 1, [5, 6, 7, 5], [T, T, T, T + S], [T + S, T + S, T + 2 * S, T + 2 * S], [3, 4, 5, 0]),
    ]
    slow = [
        SlowRow((4, 1), 7, 0, T + 2 * S, T + 3 * S, 7 * ONE, 0, Kind.CUMULATIVE, 0b101, b"state"),
        SlowRow((4, 1), 6, 0, 0, T + S, ONE, 2, Kind.INSTANT, 1, b""),
        SlowRow((4, 1), 6, 1, T, T, ONE, 0, Kind.INSTANT, 1, b""),
        SlowRow((4, 1), 6, 1, T, T + 9, ONE, 0, Kind.DELTA, 0, b"masked"),
        SlowRow((4, 1), 6, 1, T, T + 9, 0, 0, Kind.DELTA, 1, b"zero"),
    ]
    logs = [LogRow(b"L" * 16, 0, 1, T + 123, 25 * ONE // 10), LogRow(b"Z" * 16, 0, 1, T, 0)]
    charges = [encode_charge(CHARGES[2])]
    sources = [("otlp", "anonymous"), ("edge", 'key "1"')]
    return encode_frame(FrameContent(9, 1, "h1", T, sources, blocks, slow, charges, logs))


@pytest.fixture
def batch() -> RecordBatch:
    """
    Expand that frame.
    """
    return Expander().records(frame(), names())


def expected() -> list[tuple[str, str, str, int, int | None, str | None]]:
    """
    Return (rule, id, value, time, start, stream) of each record, written by hand in the fixed order.
    """

    def by(rule: str, n: int, window: bytes) -> str:
        return record_id(rule, stream(n), window).hex()

    third = cumulative_window(0, T, T + 2 * S)
    slow = cumulative_window(0, T + 2 * S, T + 3 * S)
    return [
        ("requests", by("requests", 1, cumulative_window(T, T, T + S)), "3", T + S, T, stream(1).hex()),
        ("requests", by("requests", 2, delta_window(T, T + S)), "4", T + S, T, stream(2).hex()),
        ("requests", by("requests", 3, third), "5", T + 2 * S, T, stream(3).hex()),
        ("requests", by("requests", 3, third), "5", T + 2 * S, T, stream(3).hex()),
        ("scaled", by("scaled", 3, third), "0.005", T + 2 * S, T, stream(3).hex()),
        ("requests", by("requests", 2, instant_window(T + S, ONE // 10, 0)), "0.1", T + S, None, stream(2).hex()),
        ("requests", by("requests", 3, slow), "7", T + 3 * S, T + 2 * S, stream(3).hex()),
        ("scaled", by("scaled", 3, slow), "0.007", T + 3 * S, T + 2 * S, stream(3).hex()),
        ("requests", by("requests", 2, instant_window(T + S, ONE, 2)), "1", T + S, None, stream(2).hex()),
        ("requests", by("requests", 2, instant_window(T, ONE, 0)), "1", T, T, stream(2).hex()),
        ("scaled", (b"L" * 16).hex(), "0.0025", T + 123, None, None),
    ]


def test_records_in_their_fixed_order(batch: RecordBatch) -> None:
    """
    Blocks of scale 0, of scale 18, slow rows, logs; masks and zero amounts make none; ids and windows by the book.
    """
    made = [batch.record(n) for n in range(len(batch))]
    seen = [(r.rule, r.id, str(r.value), r.timestamp, r.start_timestamp, r.source.stream) for r in made]
    assert expected() == seen


def test_an_ordinal_outside_is_an_error(batch: RecordBatch) -> None:
    """
    There is no record -1 and none at the end.
    """
    for ordinal in (-1, len(batch)):
        with pytest.raises(IndexError, match="the frame has 11"):
            batch.record(ordinal)


def test_json_lines_say_what_the_records_say(batch: RecordBatch) -> None:
    """
    Every line has the documented keys in their order and the same values as the object; times have nine decimals.
    """
    lines = batch.encode("ndjson", range(len(batch))).decode().split("\n")
    assert lines.pop() == ""
    for n, line in enumerate(lines):
        record, made = json.loads(line), batch.record(n)
        assert list(record) == KEYS
        assert list(record["source"]) == ["receiver", "stream", "principal", "rules_hash"]
        assert record["value"] == str(made.value)
        assert (record["id"], record["customer_id"], record["dimension_id"]) == (
            made.id,
            made.customer_id,
            made.dimension_id,
        )
        assert record["metadata"] == made.metadata
        assert (record["rule"], record["kind"]) == (made.rule, "usage")
        assert record["source"]["receiver"] == made.source.receiver
        assert record["source"]["principal"] == made.source.principal
        assert record["source"]["stream"] == made.source.stream
        assert record["source"]["rules_hash"] == "h1"
        assert record["timestamp"] == rfc3339(made.timestamp)
        assert record["start_timestamp"] == (None if made.start_timestamp is None else rfc3339(made.start_timestamp))


def rfc3339(nanos: int) -> str:
    """
    Format a time by the calendar of the standard library.
    """
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=nanos // S)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{nanos % S:09d}Z"


def test_csv_lines_say_what_the_json_lines_say(batch: RecordBatch) -> None:
    """
    Read back by the csv module, the columns are those of the JSON, metadata and source as JSON text.
    """
    text = batch.encode("csv", range(len(batch))).decode()
    rows = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    objects = [json.loads(line) for line in batch.encode("ndjson", range(len(batch))).decode().splitlines()]
    assert text.endswith("\r\n")
    for row, record in zip(rows, objects, strict=True):
        assert len(row) == len(KEYS)
        cells = dict(zip(KEYS, row, strict=True))
        assert json.loads(cells["metadata"]) == record["metadata"]
        assert json.loads(cells["source"]) == record["source"]
        assert cells["start_timestamp"] == (record["start_timestamp"] or "")
        assert cells["customer_id"] in {record["customer_id"], "'" + record["customer_id"]}
        for key in ("id", "dimension_id", "value", "timestamp", "rule", "kind"):
            assert cells[key] == record[key]


def test_csv_disarms_formulas(batch: RecordBatch) -> None:
    """
    A customer that a spreadsheet would run as a formula gets an apostrophe; numbers stay as they are.
    """
    text = batch.encode("csv", [1]).decode()
    assert ",'=HYPERLINK(1)," in text


def test_any_choice_of_records_is_encoded_in_the_order_asked(batch: RecordBatch) -> None:
    """
    A batch that crosses segments, or leaves records out, has exactly the lines of its records.
    """
    lines = batch.encode("ndjson", range(len(batch))).splitlines(keepends=True)
    for chosen in ([0, 4, 5, 10], [10, 0], [], [6, 7, 8], range(3, 9)):
        assert batch.encode("ndjson", chosen) == b"".join(lines[n] for n in chosen)


def test_select_asks_once_for_each_charge(batch: RecordBatch) -> None:
    """
    The question is put per distinct (rule, customer, dimension), and decides for all its records.
    """
    asked: Counter[tuple[str, str, str]] = Counter()

    def keep(rule: str, customer: str, dimension: str) -> bool:
        asked[rule, customer, dimension] += 1
        return rule == "scaled"

    assert list(batch.select(keep)) == [n for n, row in enumerate(expected()) if row[0] == "scaled"]
    assert set(asked.values()) == {1}
    assert list(batch.select(lambda *_: True)) == list(range(len(batch)))


def test_totals_are_the_sums_of_the_records(batch: RecordBatch) -> None:
    """
    By customer, dimension and hour of (time - 1 ns) for windows, of time for instants, exactly.
    """
    sums: dict[tuple[str, str, int], list[int]] = {}
    for n in range(len(batch)):
        record = batch.record(n)
        window = record.start_timestamp is not None and record.start_timestamp < record.timestamp
        hour = (record.timestamp - (1 if window else 0)) // (3600 * S) * (3600 * S)
        total = sums.setdefault((record.customer_id, record.dimension_id, hour), [0, 0])
        total[0] += int(Fraction(str(record.value)) * 10**30)
        total[1] += 1
    made = {(row.customer, row.dimension, row.hour): [row.value, row.count] for row in batch.totals()}
    assert made == sums


def test_a_window_that_ends_on_the_hour_belongs_to_the_hour_before() -> None:
    """
    And an instant on the hour to the hour that begins.
    """
    hour = 3600 * S
    blocks = [Block(0, 0, [6, 6], [10 * hour - S, 0], [10 * hour, 10 * hour], [1, 2])]
    body = encode_frame(FrameContent(1, 1, "h", 0, [("otlp", "x")], blocks))
    rows = {row.hour: row.value for row in Expander().records(body, names()).totals()}
    assert rows == {9 * hour: 10**30, 10 * hour: 2 * 10**30}


def test_definitions_are_asked_for_once_while_the_cache_holds() -> None:
    """
    Frames after the first cost no look-up of their meters.
    """
    expander, known = Expander(), names()
    first = expander.records(frame(), known)
    asked = known.asked
    again = expander.records(frame(), known)
    assert known.asked == asked
    assert first.encode("ndjson", range(11)) == again.encode("ndjson", range(11))


def test_two_ledgers_do_not_share_meters() -> None:
    """
    Meter 6 of one ledger is not meter 6 of another, though one expander reads both.
    """
    expander = Expander()
    other = FakeNames(
        (
            5,
            3,
            encode_definitions(
                5, [MeterDef(stream(9), 0, Kind.DELTA, 0, (0,), (0,))] * 3, [encode_charge(CHARGES[0])], 1, "h"
            ),
        )
    )
    assert expander.records(frame(), names()).record(1).source.stream == stream(2).hex()
    assert expander.records(frame(), other).record(1).source.stream == stream(9).hex()


def test_a_meter_that_nobody_declared_is_a_key_error() -> None:
    """
    A damaged ledger is said to be so, not guessed at.
    """
    with pytest.raises(KeyError):
        Expander().records(frame(), FakeNames())


def test_bounded_caches_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    With room for one of each, every line is the same.
    """
    plain = Expander().records(frame(), names()).encode("ndjson", range(11))
    for limit in ("expand._METERS_KEPT", "expand._BLOCKS_KEPT", "text._TIMES_KEPT", "text._CHARGES_KEPT"):
        monkeypatch.setattr(f"meterline.kernel.{limit}", 1)
    expander = Expander()
    for _ in range(3):
        assert expander.records(frame(), names()).encode("ndjson", range(11)) == plain


def test_more_meters_than_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A full cache keeps what it has, begins anew after enough misses, and finds each block once for all its meters.
    """
    monkeypatch.setattr("meterline.kernel.expand._METERS_KEPT", 4)
    defs = [MeterDef(stream(n), 0, Kind.DELTA, 0, (0,), (0,)) for n in range(40)]
    encoded = [encode_charge(CHARGES[0])]
    known = FakeNames(*((at, 8, encode_definitions(at, defs[at : at + 8], encoded, 1, "h")) for at in range(0, 40, 8)))
    expander = Expander()
    for lap in range(12):
        for first in range(5):
            meters = list(range(first, 40, 5))
            block = Block(0, 0, meters, [T] * 8, [T + S] * 8, [1] * 8)
            before = known.asked
            batch = expander.records(encode_frame(FrameContent(1, 1, "h", T, [("otlp", "x")], [block])), known)
            assert known.asked - before <= 5
            assert [batch.record(at).source.stream for at in range(8)] == [stream(meter).hex() for meter in meters], lap


def test_random_blocks_expand_like_single_rows() -> None:
    """
    One block of many rows has the records of as many blocks of one row.
    """
    seed = random.randrange(2**32)
    print(f"seed {seed}")  # noqa: T201 - shown when it fails
    draw = random.Random(seed)
    rows = [
        (draw.choice([5, 6, 7]), draw.choice([0, T]), T + draw.randrange(1, S), draw.choice([0, 1, 2, 10**6]))
        for _ in range(200)
    ]
    rows = [(meter, T if meter != 6 else start, time, amount) for meter, start, time, amount in rows]
    whole = FrameContent(
        1, 1, "h", 0, [("otlp", "x")], [Block(0, 0, *(list(column) for column in zip(*rows, strict=True)))]
    )
    single = FrameContent(1, 1, "h", 0, [("otlp", "x")], [Block(0, 0, *([field] for field in row)) for row in rows])
    batches = [Expander().records(encode_frame(content), names()) for content in (whole, single)]
    assert len(batches[0]) == len(batches[1])
    assert batches[0].encode("ndjson", range(len(batches[0]))) == batches[1].encode("ndjson", range(len(batches[1])))
