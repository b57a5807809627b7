"""
The same usage on every wire comes to the same totals, through refusals, repeats and a kill.
"""

import json
import random
import threading
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from meterline.testing.process import wait_until
from meterline.testing.sinks import lines
from meterline.testing.site import sums
from meterline.testing.wire_site import WireSite
from meterline.testing.wires import WIRES, Event, Reading, Wire

POINTS = 10_000
CUSTOMERS = 10
HOSTS = 10


def made_events(rng: random.Random, start: int) -> list[Event]:
    """Ten thousand events with amounts of up to three places, a millisecond apart."""
    amounts = [str(Decimal(rng.randrange(1_000_000)).scaleb(-3)) for _ in range(POINTS)]
    return [Event(str(n), f"c{n % CUSTOMERS}", amount, (start + n) * 10**6) for n, amount in enumerate(amounts)]


def made_readings(rng: random.Random, start: int) -> list[Reading]:
    """A hundred counters, each read a hundred times, one second apart."""
    values = {(c, h): rng.randrange(1_000_000) for c in range(CUSTOMERS) for h in range(HOSTS)}
    found = []
    for second in range(POINTS // len(values)):
        for (c, h), value in values.items():
            values[c, h] = value + rng.randrange(1000)
            found.append(Reading(f"c{c}", f"h{h}", values[c, h], (start + second * 1000) * 10**6))
    return found


def expected(points: Sequence[Any]) -> Mapping[str, Decimal]:
    """What a customer used: the sum of its events, or what its counters grew by after their first reading."""
    sums: defaultdict[str, Decimal] = defaultdict(Decimal)
    first: dict[tuple[str, str], int] = {}
    last: dict[tuple[str, str], int] = {}
    for point in points:
        if isinstance(point, Event):
            sums[point.customer] += Decimal(point.value)
        else:
            first.setdefault((point.customer, point.host), point.value)
            last[point.customer, point.host] = point.value
    for (customer, host), value in last.items():
        sums[customer] += value - first[customer, host]
    return dict(sums)


def points_of(wire: Wire, events: Sequence[Event], readings: Sequence[Reading]) -> Sequence[Any]:
    """The points of a wire: the same amounts as every other's, under ids of its own."""
    if wire.carries == "readings":
        return readings
    return [event._replace(uid=f"{wire.name}-{event.uid}") for event in events]


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_the_same_points_on_every_wire_have_the_same_totals(tmp_path: Path, rng: random.Random) -> None:
    """Ten thousand points on each wire, some sent twice, the gateway killed amid them: the same exact totals on all."""
    start = time.time_ns() // 10**6 + 20_000  # what counters grew by before the rules were there does not count
    events, readings = made_events(rng, start), made_readings(rng, start)
    site = WireSite(tmp_path)
    sent = threading.Semaphore(0)
    failures: list[BaseException] = []

    def send_all(wire: Wire, chance: random.Random) -> None:
        sender = site.sender(wire)
        try:
            for request in wire.requests(points_of(wire, events, readings), 500):
                sender.send(request)
                sent.release()
                if chance.random() < 0.2 and wire.transport != "file":
                    sender.send(request)
        except BaseException as error:  # noqa: BLE001 - raised in the test's thread
            failures.append(error)
        finally:
            sender.close()

    with site.gateway:
        site.gateway.start()
        threads = [
            threading.Thread(target=send_all, args=(wire, random.Random(rng.random())), daemon=True) for wire in WIRES
        ]
        for thread in threads:
            thread.start()
        for _ in range(len(WIRES) * 3):
            sent.acquire(timeout=60)
        site.gateway.kill()
        site.gateway.start()
        for thread in threads:
            thread.join(200)
        assert not failures, failures[0]
        assert not any(thread.is_alive() for thread in threads)
        wanted = {
            (customer, wire.name): amount
            for wire in WIRES
            for customer, amount in expected(points_of(wire, events, readings)).items()
        }
        wait_until(lambda: sums(lines(tmp_path / "usage.ndjson")) == wanted, 60, "all usage", 1.0)
        done = site.gateway.ask("totals", "--json")
        rows = [json.loads(line) for line in done.stdout.splitlines()]
        assert {(row["customer_id"], row["dimension_id"]): Decimal(row["value"]) for row in rows} == wanted
