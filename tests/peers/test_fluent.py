"""
Real clients of the forward protocol into a real gateway: what they were told is stored is billed once, kill -9 or not.
"""

import json
import random
import subprocess
import sys
from collections.abc import Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, Self

import pytest

from meterline.testing.evidence import check_balance
from meterline.testing.peers import RECIPES, npm
from meterline.testing.process import wait_until
from meterline.testing.site import Site

pytestmark = [pytest.mark.peer, pytest.mark.timeout(900)]

RULES = """
rules:
  - name: calls
    match: {log: true, attributes: {fluent.tag: "*.calls"}}
    customer: body.customer
    dimension: calls
    value: body.calls
    identity: body.event_id
"""
MODES = ["Message", "Forward", "PackedForward", "CompressedPackedForward"]
SECRETS = ("s3cret", "js", "pw-js")


class ForwardSite(Site):
    """
    A gateway with the forward receiver in place of OTLP's.
    """

    receiver = "fluent_forward"


class GuardedSite(ForwardSite):
    """
    The same with a shared key and a user.
    """

    options = (
        ", auth: {shared_key: {name: all, token: s3cret}, users: [{name: js, token: pw-js, customers: [guarded]}]}"
    )


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """
    Start a gateway that bills what the senders send.
    """
    site = ForwardSite(tmp_path, rules=RULES)
    with site.gateway:
        site.gateway.start()
        yield site


class Client:
    """
    A sender's process; leaving the block kills it.
    """

    def __init__(self, command: Sequence[str]) -> None:
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.communicate()

    def finish(self) -> dict[str, Any]:
        """
        Return what it says it has sent.
        """
        out, err = self._process.communicate(timeout=120)
        assert self._process.returncode == 0, err
        found: dict[str, Any] = json.loads(out)
        return found


def javascript(
    site: Site, mode: str, customer: str, events: int, secrets: Sequence[str] = (), *, pause_ms: int = 10
) -> Client:
    """
    Start the npm client; it pauses after every 20 events.
    """
    script = npm("fluent-js") / "send.js"
    return Client(["node", str(script), str(site.port), mode, customer, str(events), str(pause_ms), *secrets])


def python(site: Site, customer: str, events: int, kind: str) -> Client:
    """
    Start the PyPI client.
    """
    script = RECIPES / "fluent-python" / "send.py"
    return Client([sys.executable, str(script), str(site.port), customer, str(events), kind])


def all_of(events: int) -> Decimal:
    """
    Return the sum of so many events.
    """
    return Decimal(events * (events + 1) // 2)


def test_the_npm_client_in_every_mode(site: Site) -> None:
    """
    What it was told is stored is the sum of all that it sent, to the unit.
    """
    for mode in MODES:
        with javascript(site, mode, mode, 500) as client:
            assert client.finish() == {"sent": all_of(500), "failed": 0}
    site.settle({(mode, "calls"): all_of(500) for mode in MODES})
    check_balance(site.folder)


def test_the_npm_client_with_a_shared_key_and_a_user(tmp_path: Path) -> None:
    """
    Its handshake is understood, and the user's right to a customer holds.
    """
    site = GuardedSite(tmp_path, rules=RULES)
    with site.gateway:
        site.gateway.start()
        for customer in ("guarded", "foreign"):
            with javascript(site, "PackedForward", customer, 100, SECRETS) as client:
                assert client.finish() == {"sent": all_of(100), "failed": 0}
        assert {row["reason"] for row in site.quarantine()} == {"forbidden_customer"}
        site.settle({("guarded", "calls"): all_of(100)})


@pytest.mark.parametrize("mode", MODES)
def test_the_npm_client_through_kill_and_restart(site: Site, mode: str, rng: random.Random) -> None:
    """
    The gateway is killed and started again while it sends: in the end every event is there once.
    """
    with javascript(site, mode, "killed", 2000, pause_ms=120) as client:
        for _ in range(2):
            before = len(site.file())
            wait_until(lambda before=before: len(site.file()) > before + 50, 60, "records to be made")  # type: ignore[misc]
            if rng.random() < 0.7:
                site.gateway.kill()
            else:
                site.gateway.terminate()
            site.gateway.start()
        assert client.finish() == {"sent": all_of(2000), "failed": 0}
    site.settle({("killed", "calls"): all_of(2000)})


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_the_pypi_client_while_nothing_fails(site: Site, kind: str) -> None:
    """
    fluent-logger has no acknowledgements; as long as nothing fails, all that it sent is billed.
    """
    with python(site, "acme", 2000, kind) as client:
        assert client.finish() == {"sent": all_of(2000)}
    site.settle({("acme", "calls"): all_of(2000)})
