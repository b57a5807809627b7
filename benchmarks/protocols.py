"""
What a point costs on each wire, beside OTLP/gRPC: `python benchmarks/protocols.py`.

One gateway with every receiver on one core, the same 10,000 points on each wire, prepared before, sent over one connection from
the other core, until the deadline. CPU is user and system time of the gateway until it is idle again, delivery to a file
included. Events have ids of their own each time; readings go on growing, so that every point is usage. Prints a table;
`--out FOLDER` writes it as JSON and Markdown too.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from measure import LOAD_CORE, SERVER_CORE, cpu_secs, wait_idle

from meterline.testing.wire_site import WireSite
from meterline.testing.wires import WIRES, Event, Reading, Request, Wire

POINTS = 10_000
BASES = {"events": "otlp-grpc-logs", "readings": "otlp-grpc-metrics"}


@dataclass(frozen=True, slots=True)
class Cost:
    """
    One wire at one request size; ``ratio``: times the CPU of OTLP/gRPC on the same points.
    """

    wire: str
    points: int
    body_bytes_per_point: float
    cpu_us_per_point: float
    ratio: float = 0.0


def points(wire: Wire, round_number: int) -> Sequence[Event | Reading]:
    """
    Return new points for a round: a hundred customers, the times of now.
    """
    now = time.time_ns() // 10**6 * 10**6
    if wire.carries == "events":
        return [Event(f"{wire.name}-{round_number}-{n}", f"c{n % 100}", "0.125", now + n) for n in range(POINTS)]
    return [Reading(f"c{n % 100}", f"h{n // 100}", round_number + 1, now) for n in range(POINTS)]


def measure(site: WireSite, wire: Wire, size: int, rounds: int) -> Cost:
    """
    Send a round to warm up, then charge the others to the gateway.
    """
    sender = site.sender(wire)
    pid = site.gateway.pid
    made: list[list[Request]] = []
    for number in range(rounds + 1):
        made.append(list(wire.requests(points(wire, number + size * 10), size)))
        time.sleep(0.01)  # the readings of two rounds are not of one instant
    for request in made[0]:
        sender.send(request)
    wait_idle(pid)
    before = cpu_secs(pid)
    for request in (request for requests in made[1:] for request in requests):
        sender.send(request)
    wait_idle(pid)
    spent = cpu_secs(pid) - before
    sender.close()
    sent = sum(len(request.body) for requests in made[1:] for request in requests)
    return Cost(wire.name, size, sent / (rounds * POINTS), spent / (rounds * POINTS) * 1e6)


def measure_all(sizes: Sequence[int], rounds: int, names: Sequence[str]) -> list[Cost]:
    """
    Measure every wire at every size, OTLP/gRPC first in each.
    """
    costs: list[Cost] = []
    for size in sizes:
        for carries, base in BASES.items():
            chosen = [w for w in WIRES if w.carries == carries and (not names or w.name in names or w.name == base)]
            chosen.sort(key=lambda wire: wire.name != base)
            with tempfile.TemporaryDirectory(prefix="meterline-bench-") as name:
                site = WireSite(Path(name))
                with site.gateway:
                    os.sched_setaffinity(0, {SERVER_CORE})  # what it starts inherits it
                    site.gateway.start()
                    os.sched_setaffinity(0, {LOAD_CORE})
                    found = [measure(site, wire, size, rounds) for wire in chosen]
            costs += [
                Cost(
                    c.wire,
                    c.points,
                    c.body_bytes_per_point,
                    c.cpu_us_per_point,
                    c.cpu_us_per_point / found[0].cpu_us_per_point,
                )
                for c in found
            ]
            for cost in costs[-len(found) :]:
                print(row(cost), flush=True)
    return costs


def row(cost: Cost) -> str:
    """
    Return a line of the table.
    """
    figures = f"{cost.body_bytes_per_point:,.0f} | {cost.cpu_us_per_point:.1f} | {cost.ratio:.2f}"
    return f"| {cost.wire} | {cost.points:,} | {figures} |"


HEAD = "| wire | points a request | bytes/pt | CPU us/pt | x OTLP/gRPC |\n|---|---|---|---|---|"


def main() -> int:
    """
    Measure and print.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[100, 2000])
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--wires", nargs="*", default=[])
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    os.sched_setaffinity(0, {LOAD_CORE})
    print(HEAD)
    costs = measure_all(options.sizes, options.rounds, options.wires)
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
        (options.out / "protocols.json").write_text(json.dumps([asdict(cost) for cost in costs], indent=1))
        (options.out / "protocols.md").write_text("\n".join([HEAD, *map(row, costs)]) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
