"""
Tables for people: exact sums, foreign text escaped, never wider or higher than the terminal.
"""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Final, NamedTuple

from rich import box
from rich.table import Table
from rich.text import Text

from meterline.api import UsageRecord
from meterline.printable import printable
from meterline.quantity import format_units

MAX_PAIRS: Final = 10_000
"""So many customers and dimensions are told apart; what comes after is one line."""

OTHERS: Final = ("(others)", "")
NARROW: Final = 60


class Pair(NamedTuple):
    """
    A line of the totals: exact units of 10^-30, how many records, and which update touched it last.
    """

    units: int
    records: int
    touched: int


class Totals:
    """
    Running sums by customer and dimension.
    """

    def __init__(self) -> None:
        self._pairs: dict[tuple[str, str], Pair] = {}
        self._updates = 0

    def add(self, records: Iterable[UsageRecord]) -> None:
        """
        Add the records of a batch.
        """
        self._updates += 1
        for record in records:
            key = (record.customer_id, record.dimension_id)
            if key not in self._pairs and len(self._pairs) >= MAX_PAIRS:
                key = OTHERS
            old = self._pairs.get(key, Pair(0, 0, 0))
            self._pairs[key] = Pair(old.units + record.value.units, old.records + 1, self._updates)

    def table(self, width: int, height: int) -> Table:
        """
        Return the lines that were touched last, sorted by name, as many as fit.
        """
        fitting = max(1, height - 5)
        shown = sorted(self._pairs.items(), key=lambda item: -item[1].touched)[:fitting]
        hidden = len(self._pairs) - len(shown)
        table = _table(width, "usage delivered since the start")
        table.caption = f"and {hidden} more customers and dimensions" if hidden else None
        table.add_column("customer", overflow="ellipsis", no_wrap=True, ratio=3)
        table.add_column("dimension", overflow="ellipsis", no_wrap=True, ratio=3)
        table.add_column("value", justify="right", overflow="fold", ratio=3)
        if width >= NARROW:
            table.add_column("records", justify="right", no_wrap=True)
        for (customer, dimension), pair in sorted(shown):
            cells = [_cell(customer), _cell(dimension), Text(format_units(pair.units))]
            table.add_row(*cells, *([Text(f"{pair.records:,}")] if width >= NARROW else []))
        return table


def rows(records: Iterable[UsageRecord], width: int) -> Table:
    """
    Return one line for each record.
    """
    table = _table(width, None)
    if width >= NARROW:
        table.add_column("time (UTC)", no_wrap=True)
    table.add_column("customer", overflow="ellipsis", no_wrap=True, ratio=2)
    table.add_column("dimension", overflow="ellipsis", no_wrap=True, ratio=2)
    table.add_column("value", justify="right", overflow="fold", ratio=2)
    if width >= 2 * NARROW:
        table.add_column("metadata", overflow="ellipsis", no_wrap=True, ratio=3)
    for record in records:
        cells = [_cell(record.customer_id), _cell(record.dimension_id), Text(str(record.value))]
        time = [Text(_time(record.timestamp))] if width >= NARROW else []
        pairs = ", ".join(f"{key}={value}" for key, value in record.metadata.items())
        table.add_row(*time, *cells, *([_cell(pairs)] if width >= 2 * NARROW else []))
    return table


def _table(width: int, title: str | None) -> Table:
    return Table(title=title, box=box.SIMPLE_HEAD, width=width, pad_edge=False, expand=True)


def _cell(text: str) -> Text:
    return Text(printable(text))


def _time(nanos: int) -> str:
    return f"{datetime.fromtimestamp(nanos // 1_000_000_000, UTC):%Y-%m-%d %H:%M:%S}"
