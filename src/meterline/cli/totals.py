"""
``meterline totals``: usage by customer and dimension, exact, at any time.
"""

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from meterline.cli.configs import CONFIG, read_config
from meterline.cli.output import json_line, table
from meterline.kernel import load_kernel
from meterline.kernel.seam import Names, StoredFrame, TotalRow
from meterline.ledger import open_reader
from meterline.ledger.reader import UsageTotal
from meterline.quantity import Quantity

NANOS = 10**9
GROUPS = {"customer": "customer_id", "dimension": "dimension_id"}


class Hour(click.ParamType[int]):
    """
    A whole hour, UTC unless it says otherwise, as nanoseconds since the Unix epoch.
    """

    name = "hour"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """
        Read an ISO 8601 date or time; any other text, or a time within an hour, is a usage error.
        """
        if isinstance(value, int):
            return value
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            self.fail(f"{value!r} is no time; write 2026-11-22 or 2026-11-22T18:00Z", param, ctx)
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        if moment.timestamp() % 3600:
            self.fail(f"{value!r} is not a whole hour; totals are kept by the hour", param, ctx)
        return int(moment.timestamp()) * NANOS


class Grouping(click.ParamType[tuple[str, ...]]):
    """
    Which of customer and dimension rows are grouped by: one or both, with a comma.
    """

    name = "keys"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        """
        Return the keys in their fixed order; anything else is a usage error.
        """
        if isinstance(value, tuple):
            return value
        keys = tuple(key.strip() for key in value.split(","))
        if len(set(keys)) != len(keys) or not set(keys) <= set(GROUPS):
            self.fail(f"{value!r} is no grouping; write customer, dimension, or customer,dimension", param, ctx)
        return tuple(key for key in GROUPS if key in keys)


@click.command(name="totals")
@CONFIG
@click.option("--from", "start", type=Hour(), help="First hour, for example 2026-11-22T18:00Z.")
@click.option("--to", "end", type=Hour(), help="First hour that does not count any more.")
@click.option("--by", "by", type=Grouping(), default="customer,dimension", show_default=True, help="Group by these.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def command(config: Path, *, start: int | None, end: int | None, by: tuple[str, ...], as_json: bool) -> None:
    """
    Print what was used, by customer and dimension, from the ledger of CONFIG.

    Works while the gateway runs and when it does not. Hours are those of the usage, not of its arrival.
    """
    with open_reader(read_config(config).ledger.path) as reader:
        totals = reader.totals(expander(), start, end)
    for row in grouped(totals, by) if as_json else ():
        json_line(row)
    if not as_json:
        columns = [*(GROUPS[key] for key in by), "value", "count"]
        rows = [[row[column] for column in columns] for row in grouped(totals, by)]
        table(columns, rows, right=("value", "count"))


def expander() -> Callable[[StoredFrame, Names], Iterable[TotalRow]]:
    """
    Return what tells a reader what a frame adds to the totals.
    """
    kernel = load_kernel()
    return lambda frame, names: kernel.records(frame.body, names).totals()


def grouped(totals: Iterable[UsageTotal], by: Sequence[str]) -> list[dict[str, Any]]:
    """
    Add up by the keys given, in their order; values as exact decimal text.
    """
    sums: dict[tuple[str, ...], tuple[Quantity, int]] = {}
    for total in totals:
        key = tuple(getattr(total, name) for name in by)
        value, count = sums.get(key, (Quantity(0), 0))
        sums[key] = (value + total.value, count + total.count)
    names = [GROUPS[name] for name in by]
    return [
        {**dict(zip(names, key, strict=True)), "value": str(value), "count": count}
        for key, (value, count) in sorted(sums.items())
    ]
