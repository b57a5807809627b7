"""
The tables: one line a system, size and stream count, with the ratio to the durable Collector.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from extras import Extras
    from run import Cell

PEER = "collector-durable"
MANY = 500_000
"""With fewer streams the program itself, shared out over them, is most of it."""

COLUMNS = (
    "streams",
    "points",
    "system",
    "cold ns/pt",
    "hot us/req",
    "hot ns/pt",
    "x durable",
    "points/s",
    "p50 ms",
    "p99 ms",
    "peak MB",
    "ledger B/pt",
    "frames B/pt",
)


def rows(cells: "Sequence[Cell]") -> Iterator[list[str]]:
    """
    Yield the table's rows. ``x durable``: how many times less CPU a request than the durable Collector.
    """
    peers = {(cell.points, cell.streams): cell for cell in cells if cell.system == PEER}
    for cell in cells:
        peer = peers.get((cell.points, cell.streams))
        yield [
            f"{cell.streams:,}",
            f"{cell.points:,}",
            cell.system,
            f"{cell.cold.cpu_ns_per_point:,.0f}",
            f"{cell.hot.cpu_us_per_request:,.0f}",
            f"{cell.hot.cpu_ns_per_point:,.0f}",
            f"{peer.hot.cpu_us_per_request / cell.hot.cpu_us_per_request:.2f}" if peer else "-",
            f"{cell.hot.points / cell.hot.seconds:,.0f}",
            f"{cell.hot.p50_us / 1000:,.1f}",
            f"{cell.hot.p99_us / 1000:,.1f}",
            f"{cell.peak_bytes / 1e6:,.0f}",
            _optional(cell.ledger_bytes_per_point),
            _optional(cell.frame_bytes_per_point),
        ]


def _optional(value: float | None, scale: float = 1.0) -> str:
    return "-" if value is None else f"{value / scale:.1f}"


def facts(extras: "Extras") -> list[tuple[str, str]]:
    """
    Return the figures that only Meterline has, as (name, value).
    """
    memory = f"{extras.memory_bytes_per_stream:,.0f} B at {extras.streams:,} streams"
    return [
        ("memory a stream", memory if extras.streams >= MANY else f"not measured below {MANY:,} streams"),
        ("snapshots during the load", f"{extras.snapshots}, {extras.snapshot_secs:.1f} s in all"),
        ("ack p99 during a snapshot", f"{_optional(extras.p99_during_snapshot_us, 1000)} ms"),
        ("ack p99 outside", f"{_optional(extras.p99_outside_us, 1000)} ms"),
        ("restart after kill -9", f"{extras.restart_secs:.1f} s at {extras.streams:,} streams"),
    ]


def print_report(cells: "Sequence[Cell]", extras: "Extras | None", machine: str) -> None:
    """
    Print the tables to the terminal.
    """
    table = Table(*COLUMNS, title=machine)
    for row in rows(cells):
        table.add_row(*row)
    console = Console(width=160)
    console.print(table)
    for name, value in facts(extras) if extras else ():
        console.print(f"{name}: {value}", highlight=False)


def write_report(cells: "Sequence[Cell]", extras: "Extras | None", machine: str, path: Path) -> None:
    """
    Write the same as Markdown.
    """
    lines = [machine, "", "| " + " | ".join(COLUMNS) + " |", "|" + "---|" * len(COLUMNS)]
    lines += ["| " + " | ".join(row) + " |" for row in rows(cells)]
    lines += ["", *(f"- {name}: {value}" for name, value in (facts(extras) if extras else ()))]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
