"""
Ids of records: the vectors on the documented page are the judge, and a second, plain reading of its format.
"""

import hashlib
from pathlib import Path

import pytest

from meterline.kernel import record_ids

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
    Windows d, i, c and none, and log identities s, c, p are all documented by example.
    """
    rows = vectors()
    assert {row[3][:2] for row in rows} == {"64", "69", "63", ""}
    assert {row[2][:2] for row in rows if not row[3]} == {"73", "63", "70"}


@pytest.mark.parametrize(
    ("made", "place"),
    [
        (record_ids.delta_window(100 * S, 110 * S), 0),
        (record_ids.instant_window(110 * S, 5 * 10**18, 0), 1),
        (record_ids.instant_window(110 * S, 5 * 10**18, 1), 2),
        (record_ids.instant_window(110 * S, -(10**17), 0), 3),
        (record_ids.cumulative_window(100 * S, 100 * S, 110 * S), 4),
        (record_ids.cumulative_window(100 * S, 110 * S, 120 * S), 5),
        (record_ids.cumulative_window(0, 110 * S, 120 * S), 6),
    ],
)
def test_windows_are_the_documented_bytes(made: bytes, place: int) -> None:
    """
    The window functions make the bytes in the table.
    """
    assert made.hex() == vectors()[place][3]


def test_log_identities_are_the_documented_bytes() -> None:
    """
    The identity functions make the bytes in the table.
    """
    made = [
        record_ids.selected_identity("acme", b"sv1-"),
        record_ids.content_identity(STREAM),
        record_ids.positional_identity(bytes(range(32)), 7),
    ]
    assert [identity.hex() for identity in made] == [row[2] for row in vectors()[-3:]]


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
