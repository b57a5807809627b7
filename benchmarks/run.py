"""
Meterline beside the OpenTelemetry Collector, in one run, on the same bytes: `python benchmarks/run.py`.

Each system gets one core, fresh, for every cell; the load comes from the other core. CPU is user and system time of
the server until it is idle again, so what a queue or an exporter does afterwards is charged too. `--quick` takes a
few minutes less: small stream counts and short loads. Prints tables; `--out FOLDER` writes them as JSON and Markdown.
"""

import argparse
import json
import platform
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from extras import Extras, measure_extras
from measure import Load, Shape, charged, cores, memory_bytes
from report import print_report, write_report
from servers import SYSTEMS, LedgerSize, ledger_size, running

CONNECTIONS = {8: 16, 512: 16, 8192: 1}
"""Points a request -> connections: 10,000 streams hold one body of 8,192 points."""

WARM_UP = "1s"


@dataclass(frozen=True, slots=True)
class Cell:
    """
    One system at one size and stream count: the first pass over all streams, then the same streams hot.
    """

    system: str
    points: int
    streams: int
    cold: Load
    hot: Load
    peak_bytes: int
    ledger_bytes_per_point: float | None
    frame_bytes_per_point: float | None


def measure_cell(system: str, points: int, streams: int, duration: str) -> Cell:
    """
    Start a system, send every stream once, then for some seconds as fast as it answers.
    """
    conns = CONNECTIONS[points]
    with tempfile.TemporaryDirectory(prefix="meterline-bench-") as name, running(system, Path(name)) as server:
        shape = Shape(points, conns, max(streams, conns * points), time.time_ns())
        cold = charged(server.pid, shape, server.target, "-passes", "1")
        warm = charged(server.pid, shape, server.target, "-duration", WARM_UP, "-visit", str(cold.visit))
        before = _size(system, server.folder)
        hot = charged(server.pid, shape, server.target, "-duration", duration, "-visit", str(warm.visit))
        after = _size(system, server.folder)
        peak = memory_bytes(server.pid, "VmHWM")
    grown = None if before is None or after is None else (after.used_bytes - before.used_bytes) / hot.points
    frames = None if before is None or after is None else (after.frame_bytes - before.frame_bytes) / hot.points
    return Cell(system, points, shape.streams, cold, hot, peak, grown, frames)


def _size(system: str, folder: Path) -> LedgerSize | None:
    return ledger_size(folder) if system == "meterline" else None


def measure_all(systems: list[str], points: list[int], streams: list[int], duration: str) -> list[Cell]:
    """
    Measure every cell, systems side by side, saying each as it is done.
    """
    cells = []
    for count in streams:
        for size in points:
            for system in systems:
                cell = measure_cell(system, size, count, duration)
                cells.append(cell)
                print(
                    f"{system:18} {size:5} points, {cell.streams:9,} streams:"
                    f" cold {cell.cold.cpu_ns_per_point:7.0f} ns/pt, hot {cell.hot.cpu_us_per_request:8.0f} us/request",
                    flush=True,
                )
    return cells


def arguments() -> argparse.Namespace:
    """
    Read the command line.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="10,000 streams only, 2 s a load")
    parser.add_argument("--systems", nargs="+", choices=SYSTEMS, default=list(SYSTEMS))
    parser.add_argument("--points", nargs="+", type=int, choices=sorted(CONNECTIONS), default=sorted(CONNECTIONS))
    parser.add_argument("--streams", nargs="+", type=int, help="default: 10000 1000000")
    parser.add_argument("--duration", help="of a hot load, for example 5s")
    parser.add_argument("--out", type=Path, help="folder for results.json and results.md")
    return parser.parse_args()


def main() -> None:
    """
    Measure, print, write.
    """
    options = arguments()
    streams = options.streams or ([10_000] if options.quick else [10_000, 1_000_000])
    duration = options.duration or ("2s" if options.quick else "5s")
    if cores() < 2:
        print("only one core: server and load share it, and the figures below say little")
    cells = measure_all(options.systems, options.points, streams, duration)
    extras: Extras | None = None
    if "meterline" in options.systems:
        extras = measure_extras(max(streams), duration)
    machine = f"{platform.machine()}, {cores()} cores, Python {platform.python_version()}"
    print_report(cells, extras, machine)
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
        write_report(cells, extras, machine, options.out / "results.md")
        data = {"machine": machine, "cells": [asdict(cell) for cell in cells], "extras": extras and asdict(extras)}
        (options.out / "results.json").write_text(json.dumps(data, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
