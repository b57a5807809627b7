"""
Ids of records: the vectors on the documented page are the judge, and a second, plain reading of its format.
"""

import hashlib
import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from meterline.kernel import record_ids
from meterline.testing.kernel import KernelHarness
from meterline.testing.otlp import SECOND, Metrics, put_attributes

PAGE = Path(__file__).parents[2] / "docs" / "record-ids.md"
STREAM = bytes(range(16))
S = 10**9


def vectors() -> list[list[str]]:
    """
    Read the table of the page: what, rule, identity, window, id.
    """
    table = PAGE.read_text(encoding="utf-8").split("## Vectors")[1]
    rows = [line.strip("| \n").split("|") for line in table.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in row] for row in rows if row[0].strip() != "what"]


def plain_id(rule: str, identity: bytes, window: bytes) -> str:
    """
    Follow the page's words with nothing of the kernel.
    """
    parts = b"".join(len(data).to_bytes(4, "big") + data for data in (rule.encode(), identity, window))
    return hashlib.blake2b(parts, digest_size=16).hexdigest()


@pytest.mark.parametrize("row", vectors(), ids=lambda row: row[0])
def test_golden_vectors(row: list[str]) -> None:
    """
    Every documented vector holds for the code and for a plain reading of the page.
    """
    _, rule, identity, window, expected = row
    assert record_ids.record_id(rule, bytes.fromhex(identity), bytes.fromhex(window)).hex() == expected
    assert plain_id(rule, bytes.fromhex(identity), bytes.fromhex(window)) == expected


def test_the_page_has_a_vector_of_every_form() -> None:
    """
    Windows d, i, n, c and none, and identities without one, s, c, p, k, are all documented by example.
    """
    rows = vectors()
    assert {row[3][:2] for row in rows} == {"64", "69", "6e", "63", ""}
    assert {row[2][:2] for row in rows if not row[3]} == {"73", "63", "70", "6b"}


@pytest.mark.parametrize(
    ("made", "place"),
    [
        (record_ids.delta_window(100 * S, 110 * S), 0),
        (record_ids.instant_window(110 * S, 5 * 10**18, 0), 1),
        (record_ids.instant_window(110 * S, 5 * 10**18, 1), 2),
        (record_ids.instant_window(110 * S, -(10**17), 0), 3),
        (record_ids.instant_window(110 * S, 5 * 10**18, 0, bytes(range(16, 32))), 4),
        (record_ids.cumulative_window(100 * S, 100 * S, 110 * S), 5),
        (record_ids.cumulative_window(100 * S, 110 * S, 120 * S), 6),
        (record_ids.cumulative_window(0, 110 * S, 120 * S), 7),
    ],
)
def test_windows_are_the_documented_bytes(made: bytes, place: int) -> None:
    """
    The window functions make the bytes in the table.
    """
    assert made.hex() == vectors()[place][3]


def test_identities_are_the_documented_bytes() -> None:
    """
    The identity functions make the bytes in the table.
    """
    made = [
        record_ids.keyed_identity("acme", "order-7"),
        record_ids.selected_identity("acme", b"sv1-"),
        record_ids.content_identity(STREAM),
        record_ids.positional_identity(bytes(range(32)), 7),
    ]
    assert [identity.hex() for identity in made] == [row[2] for row in vectors()[-4:]]


def test_parts_cannot_be_shifted_into_each_other() -> None:
    """
    Lengths keep a customer's end from being read as a value's beginning.
    """
    assert record_ids.selected_identity("ab", b"c") != record_ids.selected_identity("a", b"bc")


def test_prefed_hashes_give_the_same_ids() -> None:
    """
    The quick way that expansion takes equals the plain one.
    """
    quick = record_ids.rule_hash("calls")
    quick.update(record_ids.cumulative_prefix(STREAM, 7) + record_ids.pack_times(8, 9))
    assert quick.hexdigest() == plain_id("calls", STREAM, record_ids.cumulative_window(7, 8, 9))
    quick = record_ids.rule_hash("calls")
    quick.update(record_ids.delta_prefix(STREAM) + record_ids.pack_times(8, 9))
    assert quick.hexdigest() == plain_id("calls", STREAM, record_ids.delta_window(8, 9))


def test_instants_of_two_tracks_have_two_keys() -> None:
    """
    Count and sum of one histogram stream are deduplicated apart.
    """
    assert record_ids.instant_key(STREAM, 1, 5, 5, 0) != record_ids.instant_key(STREAM, 2, 5, 5, 0)
    assert record_ids.point_key(STREAM, 1, STREAM) != record_ids.point_key(STREAM, 2, STREAM)


def streams() -> list[dict[str, Any]]:
    """
    Read the streams of the page.
    """
    block = PAGE.read_text(encoding="utf-8").split("```json lines")[1].split("```")[0]
    return [json.loads(line) for line in block.strip().splitlines()]


def plain_value(value: Any) -> bytes:
    """
    Follow the page's words on values with nothing of the kernel.
    """
    if value is None or isinstance(value, bool):
        return {None: b"n", True: b"t", False: b"f"}[value]
    if isinstance(value, str):
        return b"s" + struct.pack(">I", len(value.encode())) + value.encode()
    if isinstance(value, int | float):
        return struct.pack(">cq", b"i", value) if isinstance(value, int) else struct.pack(">cd", b"d", value)
    if isinstance(value, list):
        return b"a" + struct.pack(">I", len(value)) + b"".join(map(plain_value, value))
    entries = sorted((key.encode(), plain_value(item)) for key, item in value.items())
    return b"m" + struct.pack(">I", len(entries)) + b"".join(struct.pack(">I", len(k)) + k + v for k, v in entries)


@pytest.mark.parametrize("stream", streams(), ids=lambda stream: stream["type"])
def test_stream_identities_by_a_plain_reading(stream: dict[str, Any]) -> None:
    """
    The page's words give the page's identities.
    """
    name, version, scope = stream["scope"]
    parts = (stream["resource"], name, version, scope, stream["metric"], stream["unit"], stream["type"])
    form = b"meterline.stream.1" + b"".join(map(plain_value, parts))
    form += bytes((stream["temporality"], stream["monotonic"])) + plain_value(stream["attributes"])
    assert hashlib.blake2b(form, digest_size=16).hexdigest() == stream["identity"]


def test_the_kernel_gives_the_documented_stream(harness: Callable[..., KernelHarness]) -> None:
    """
    A point that goes through the seam carries the page's identity, whatever the order of its attributes.
    """
    stream = streams()[0]
    request = Metrics(stream["resource"], scope="")
    data = request.metric(stream["metric"]).sum
    data.aggregation_temporality, data.is_monotonic = stream["temporality"], stream["monotonic"]
    point = data.data_points.add(start_time_unix_nano=500 * SECOND, time_unix_nano=510 * SECOND, as_int=5)
    put_attributes(point.attributes, stream["attributes"])
    made = harness()
    made.send(request)
    (record,) = made.records()
    assert record.source.stream == stream["identity"]
    window = record_ids.cumulative_window(500 * SECOND, 500 * SECOND, 510 * SECOND)
    assert record.id == plain_id("calls", bytes.fromhex(stream["identity"]), window)
