"""
`meterline totals`: hours, grouping, and the reading of a real ledger.
"""

import itertools

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meterline.cli.totals import Grouping, Hour, grouped
from meterline.ledger.reader import UsageTotal
from meterline.quantity import Quantity

HOUR_NS = 3600 * 10**9


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1970-01-01T01:00Z", HOUR_NS),
        ("1970-01-02", 24 * HOUR_NS),
        ("1970-01-01T02:00", 2 * HOUR_NS),
        ("1970-01-01T02:00+02:00", 0),
    ],
)
def test_hours(text: str, expected: int) -> None:
    """A date or a whole hour, UTC unless it says otherwise."""
    assert Hour().convert(text, None, None) == expected


@pytest.mark.parametrize(
    "text", ["", "now", "2026-11-22T18:30Z", "2026-11-22T18:00:00.5Z", "2026-13-01", "1970-01-01T02:00+05:30"]
)
def test_bad_hours(text: str) -> None:
    """What is no time, or no whole hour, is a usage error."""
    with pytest.raises(click.BadParameter):
        Hour().convert(text, None, None)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("customer", ("customer",)),
        ("dimension", ("dimension",)),
        ("customer,dimension", ("customer", "dimension")),
        ("dimension, customer", ("customer", "dimension")),
    ],
)
def test_grouping(text: str, expected: tuple[str, ...]) -> None:
    """Keys in any order come out in the fixed one."""
    assert Grouping().convert(text, None, None) == expected


@given(st.dictionaries(st.tuples(st.sampled_from("abc"), st.sampled_from("xyz")), st.integers(-(10**40), 10**40)))
def test_groups_add_up_exactly(units: dict[tuple[str, str], int]) -> None:
    """Whatever the grouping, values and counts add up to the same, to the last digit."""
    totals = [UsageTotal(customer, dimension, Quantity(value), 1) for (customer, dimension), value in units.items()]
    for by in (("customer",), ("dimension",), ("customer", "dimension")):
        rows = grouped(totals, by)
        values = [Quantity.parse(row["value"]) for row in rows]
        assert list(itertools.accumulate(values, initial=Quantity(0)))[-1] == Quantity(sum(units.values()))
        assert sum(row["count"] for row in rows) == len(units)
        assert len({tuple(row[f"{key}_id"] for key in by) for row in rows}) == len(rows)


def test_names_of_a_row() -> None:
    """The keys of a row are those that others script against, in their order."""
    total = UsageTotal("acme", "calls", Quantity.parse("1.5"), 2)

    assert list(grouped([total], ("customer", "dimension"))[0].items()) == [
        ("customer_id", "acme"),
        ("dimension_id", "calls"),
        ("value", "1.5"),
        ("count", 2),
    ]
    assert list(grouped([total], ("dimension",))[0]) == ["dimension_id", "value", "count"]
