"""
A real client of Loki against a real gateway: pino-loki, the transport of Node's logger.
"""

import subprocess
from collections import Counter
from decimal import Decimal
from pathlib import Path

import pytest

from meterline.testing.evidence import check_balance
from meterline.testing.peers import npm
from meterline.testing.site import Site

pytestmark = [pytest.mark.peer, pytest.mark.timeout(900)]

COUNT = 500
RULES = """
rules:
  - name: units
    match: {log: true, attributes: {app: shop, plan: "1"}}
    customer: body.customer
    dimension: units
    value: body.units
    parse_body: json
    identity: attributes["log.record.uid"]
  - name: lines
    match: {log: true, attributes: {level: info}}
    customer: body.customer
    dimension: lines
    parse_body: json
    identity: attributes["log.record.uid"]
"""


class LokiSite(Site):
    """
    A gateway with the Loki receiver in place of OTLP's.
    """

    receiver = "loki"


def send(port: int) -> None:
    """
    Log ``COUNT`` events through pino-loki, and wait until it has flushed.
    """
    command = ["node", str(npm("pino-loki") / "send.js"), f"http://127.0.0.1:{port}", str(COUNT)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "sent\n", "")


def test_what_is_logged_is_billed_once(tmp_path: Path) -> None:
    """
    Every event counts once; the same events logged again are known by their ids; labels that are numbers are labels.
    """
    expected: Counter[tuple[str, str]] = Counter()
    for n in range(COUNT):
        expected[f"c{n % 3}", "lines"] += Decimal(1)
        expected[f"c{n % 3}", "units"] += Decimal(n if n % 2 else 0)
    site = LokiSite(tmp_path, rules=RULES)
    with site.gateway:
        site.gateway.start()
        send(site.port)
        send(site.port)
        site.settle(expected)
        check_balance(tmp_path)
