"""
Micrometer's OTLP registry, as Spring Boot applications have it: protobuf over HTTP, straight into a gateway.

It never sends a request again. Cumulative counters carry what a lost request held to the next one; deltas do not, so only
the former are sent through trouble.
"""

import threading
from pathlib import Path

import pytest

from meterline.testing.peers import micrometer
from meterline.testing.process import wait_until
from meterline.testing.proxy import proxied
from meterline.testing.sdks import RULES, Senders
from meterline.testing.site import Site

pytestmark = [pytest.mark.peer, pytest.mark.timeout(900)]


def senders(target: str, rounds: int, temporality: str) -> Senders:
    """
    Start an application that counts each second and exports as often.
    """
    return Senders({"java": [*micrometer(), target, "java", str(rounds), temporality]})


def test_good_weather(site: Site) -> None:
    """
    Counters and the sums of a distribution summary arrive exactly.
    """
    with senders(site.http_target, 3, "CUMULATIVE") as sent:
        expected = sent.finish()
    assert len(expected) == 15
    site.settle(expected)


def test_deltas(site: Site) -> None:
    """
    Deltas arrive exactly, too, when every request does. At its end the registry says the last window again, with what has
    come since, which was nothing: another value for a window that was counted is kept aside, not billed.
    """
    with senders(site.http_target, 3, "DELTA") as sent:
        expected = sent.finish()
    assert {row["reason"] for row in site.quarantine()} <= {"conflict"}
    site.settle(expected)


def test_gateway_killed_and_cut_off(tmp_path: Path) -> None:
    """
    A gateway that is killed, and one that cannot be reached, costs requests, but no sum.
    """
    site = Site(tmp_path, rules=RULES, http=True)
    with site.gateway, proxied("127.0.0.1", site.http_port) as proxy:
        site.gateway.start()
        with senders(proxy.endpoint, 8, "CUMULATIVE") as sent:
            wait_until(lambda: len(site.file()) > 0, 30, "the first export")
            site.gateway.kill()
            threading.Event().wait(1.5)
            site.gateway.start()
            proxy.cut()
            threading.Event().wait(1.5)
            proxy.heal()
            expected = sent.finish()
        site.settle(expected)
