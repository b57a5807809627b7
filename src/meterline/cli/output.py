"""
What commands print: JSON lines for programs, tables for people, and never a control character of foreign text.
"""

import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import click
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from meterline.printable import printable


def json_line(data: Mapping[str, Any]) -> None:
    """
    Print one JSON object on a line of its own, in ASCII.
    """
    click.echo(json.dumps(data, default=str))


def table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, right: Sequence[str] = ()) -> None:
    """
    Print rows: drawn on a terminal, aligned with two spaces elsewhere. ``right`` names the columns of numbers.
    """
    cells = [[printable(str(cell)) for cell in row] for row in rows]
    if sys.stdout.isatty():
        _drawn(columns, cells, right)
    else:
        _plain(columns, cells, right)


def _drawn(columns: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[str]) -> None:
    drawn = Table(box=SIMPLE_HEAD, header_style="bold", pad_edge=False, show_edge=False)
    for column in columns:
        drawn.add_column(column, justify="right" if column in right else "left", overflow="fold")
    for row in rows:
        drawn.add_row(*map(Text, row))
    Console(highlight=False, color_system=None if os.environ.get("NO_COLOR") else "auto").print(drawn)


def _plain(columns: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[str]) -> None:
    widths = [max(map(len, column)) for column in zip(columns, *rows, strict=True)]
    for row in [columns, *rows]:
        padded = [
            cell.rjust(width) if column in right else cell.ljust(width)
            for cell, width, column in zip(row, widths, columns, strict=True)
        ]
        click.echo("  ".join(padded).rstrip())


OUTCOMES = ("recorded", "no_usage", "duplicate", "unmatched", "quarantined")
"""What a point can become, in the order in which the balance is read aloud."""


def balance_line(balance: Mapping[str, int]) -> str:
    """
    Return ``received = recorded + no_usage + duplicate + unmatched + quarantined`` with its numbers.
    """
    parts = " + ".join(f"{balance[name]} {name}" for name in OUTCOMES)
    return f"{balance['received']} received = {parts}"
