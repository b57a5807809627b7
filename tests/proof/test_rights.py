"""
A credential that is bound to some customers cannot write for others, on any wire.
"""

import json
import time
import urllib.request
from decimal import Decimal
from pathlib import Path

import pytest

from meterline.testing.process import wait_until
from meterline.testing.wire_site import WireSite
from meterline.testing.wires import WIRES, Event, Reading, Wire

POINTS = 20


def points(wire: Wire, start: int) -> list[Event] | list[Reading]:
    """Points of two customers by turns: of `mine`, for whom the credential may write, and of `theirs`."""
    names = ["mine" if number % 2 else "theirs" for number in range(POINTS)]
    if wire.carries == "events":
        return [Event(f"{wire.name}-{n}", name, "1", start + n * 10**6) for n, name in enumerate(names)]
    return [Reading(name, "h", n, start + n * 10**9) for n, name in enumerate(names)]


@pytest.mark.timeout(300)
def test_a_bound_credential_writes_for_its_customers_alone(tmp_path: Path) -> None:
    """On each wire the points of the customer it may write for are records, all others are quarantined as forbidden."""
    site = WireSite(tmp_path, customers="mine*")
    start = (time.time_ns() // 10**9 + 20) * 10**9
    with site.gateway:
        site.gateway.start()
        for wire in WIRES:
            sender = site.sender(wire)
            for request in wire.requests(points(wire, start), POINTS):
                sender.send(request, 20)
            sender.close()
        wait_until((tmp_path / "usage.ndjson").exists, 60, "records")
        wanted = {
            ("mine", wire.name): Decimal(POINTS // 2 if wire.carries == "events" else POINTS - 2) for wire in WIRES
        }
        wait_until(lambda: totals(site) == wanted, 150, "all totals", 0.3)
        rows = [json.loads(line) for line in site.gateway.ask("quarantine", "ls", "--json").stdout.splitlines()]
        assert {row["reason"] for row in rows} == {"forbidden_customer"}
        assert sum(row["entries"] for row in rows) == len(WIRES) * POINTS // 2
        assert {row["principal"] for row in rows} == {"sender", "files"}
        with urllib.request.urlopen(f"http://127.0.0.1:{site.ports['metrics']}/metrics", timeout=20) as page:
            assert b"meterline_receiver_accepted_usage_records_total" in page.read()
        assert "the table does not have" not in site.gateway.output()


def totals(site: WireSite) -> dict[tuple[str, str], Decimal]:
    """What the command line says."""
    rows = [json.loads(line) for line in site.gateway.ask("totals", "--json").stdout.splitlines()]
    return {(row["customer_id"], row["dimension_id"]): Decimal(row["value"]) for row in rows}
