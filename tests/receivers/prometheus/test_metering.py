"""
Remote write through a whole gateway: what is billed of starts that come and go, of pairs, of gauges, through kills.
"""

import http.client
import struct
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import cramjam
import pytest

from meterline.testing.evidence import check_balance
from meterline.testing.remote_write import (
    STALE_BITS,
    Written,
    double,
    histogram,
    request_v1,
    request_v2,
    sample,
    varint,
)
from meterline.testing.site import Site

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

NEVER, AT_ONCE = "3600", "0.000001"  # seconds of silence after which another server is elected
V2 = "application/x-protobuf;proto=io.prometheus.write.v2.Request"
RULES = """
rules:
  - name: sums
    match: {metric: [calls_total, work_count, free_count, open_sessions]}
    customer: attributes["customer"]
    dimension: metric.name
"""


class WriteSite(Site):
    """
    A gateway with the Prometheus receiver in place of OTLP's, and requests to it.
    """

    receiver = "prometheus"
    options = f", ha: {{failover_secs: {NEVER}}}"

    def write(
        self, *series: Written, v2: bool = True, metadata: tuple[tuple[str, int], ...] = (), tenant: str = ""
    ) -> dict[str, int]:
        """
        Send one request, see it stored, and return what the answer's headers count.
        """
        body = request_v2(series) if v2 else request_v1(series, metadata)
        headers = {"content-type": V2 if v2 else "application/x-protobuf", "content-encoding": "snappy"}
        headers |= {"x-scope-orgid": tenant} if tenant else {}
        connection = http.client.HTTPConnection(f"127.0.0.1:{self.port}", timeout=30)
        connection.request("POST", "/api/v1/write", bytes(cramjam.snappy.compress_raw(body)), headers)
        response = connection.getresponse()
        connection.close()
        assert response.status == 204
        return {name.lower(): int(text) for name, text in response.getheaders() if name.lower().startswith("x-")}

    def restart(self, failover_secs: str = NEVER) -> None:
        """
        Kill the gateway, and start it again. ``AT_ONCE``: whoever writes next is elected, without a wait for it.
        """
        self.gateway.kill()
        self.options = f", ha: {{failover_secs: {failover_secs}}}"
        self.configure()
        self.gateway.start()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[WriteSite]:
    """
    Start a gateway.
    """
    site = WriteSite(tmp_path, rules=RULES)
    with site.gateway:
        site.gateway.start()
        yield site


@pytest.fixture
def begin(site: WriteSite) -> int:
    """
    Return a time in ms after the rules began to hold.
    """
    return time.time_ns() // 10**6 + 1_000


def calls(value: float, ms: int, start: int = 0, **labels: str) -> Written:
    """
    Return a series of one sample.
    """
    return Written({"__name__": "calls_total", "customer": "acme", **labels}, [sample(value, ms, start)], metric_type=1)


def test_starts_that_come_and_go_are_one_stream(site: WriteSite, begin: int) -> None:
    """
    A new counter counts from its first reading; without a start it goes on; a restart shows though the value has grown.
    """
    site.write(calls(7, begin + 1_000, begin))
    site.write(calls(9, begin + 2_000))
    site.restart()
    site.write(calls(12, begin + 3_000, begin))
    site.write(calls(12, begin + 3_000, begin))
    site.write(calls(20, begin + 5_000, begin + 4_000))  # began again, and is further than before
    site.write(calls(21, begin + 6_000))
    site.write(calls(3, begin + 7_000))  # began again, and nobody says when

    assert site.totals() == {("acme", "calls_total"): Decimal(12 + 21 + 3)}
    check_balance(site.folder)


def test_a_start_that_becomes_known_later_changes_nothing(site: WriteSite, begin: int) -> None:
    """
    The first reading without one is where counting begins; a start before it is known to be late.
    """
    site.write(calls(100, begin + 1_000))
    site.write(calls(103, begin + 2_000, begin - 50_000))
    site.write(calls(104, begin + 3_000, begin - 50_000))

    assert site.totals() == {("acme", "calls_total"): Decimal(4)}
    assert site.quarantine() == []


def test_starts_that_are_made_up_or_ahead_are_not_billed_twice(site: WriteSite, begin: int) -> None:
    """
    A collector that began anew says its own start, with the counter as it is; a target's clock may be ahead of its scraper's.
    """
    site.write(calls(1_000, begin, begin - 5_000))
    site.write(calls(1_005, begin + 1_000, begin + 1_000))
    site.write(calls(1_010, begin + 2_000, begin + 1_000))
    site.write(calls(7, begin + 3_000, begin + 3_500))  # began again: of a clock that is half a second ahead
    site.write(calls(9, begin + 4_000, begin + 3_500))

    assert site.totals() == {("acme", "calls_total"): Decimal(10 + 9)}
    check_balance(site.folder)


def test_a_series_is_its_labels_in_any_order(site: WriteSite, begin: int) -> None:
    """
    An empty label is none; another tenant's series is another one; order and repeats of samples are nothing.
    """
    turned = [("zone", "1"), ("customer", "acme"), ("empty", ""), ("__name__", "calls_total"), ("area", "2")]
    site.write(calls(1, begin, zone="1", area="2"))
    site.write(Written(turned, [sample(4, begin + 2_000), sample(3, begin + 1_000), sample(4, begin + 2_000)]))
    site.write(calls(100, begin + 3_000, zone="1", area="2"), tenant="other")
    site.write(calls(102, begin + 4_000, zone="1", area="2"), tenant="other")
    site.write(calls(6, begin + 4_000, zone="1", area="2"), calls(6, begin + 4_000, zone="1", area="2"))

    assert site.totals() == {("acme", "calls_total"): Decimal(5 + 2)}
    assert site.quarantine() == []
    check_balance(site.folder)


def test_two_values_of_one_instant_are_for_a_person(site: WriteSite, begin: int) -> None:
    """
    The first one counts, the other is disputed, and counting goes on; the answer says that both are written.
    """
    site.write(calls(1, begin))
    site.write(calls(5, begin + 1_000))
    said = site.write(calls(6, begin + 1_000), Written({"job": "nameless"}, [sample(1, begin)] * 2))
    site.write(calls(8, begin + 2_000))

    counted = {
        what: said[f"x-prometheus-remote-write-{what}-written"] for what in ("samples", "histograms", "exemplars")
    }
    assert counted == {"samples": 3, "histograms": 0, "exemplars": 0}
    assert said["x-meterline-quarantined"] == 2
    assert site.totals() == {("acme", "calls_total"): Decimal(7)}
    assert {entry["reason"] for entry in site.quarantine()} == {"conflict", "undecodable_item"}


def test_a_pair_s_skew_is_no_reset_through_kills(site: WriteSite, begin: int) -> None:
    """
    The second server is some calls behind the first at each failover; the election survives a kill.
    """
    a, b = ({"cluster": "eu", "__replica__": name} for name in "ab")
    site.write(calls(100, begin, **a))
    site.write(calls(99, begin + 100, **b))  # dropped
    site.write(calls(110, begin + 1_000, **a))
    site.restart()
    site.write(calls(300, begin + 1_200, **b))  # dropped
    site.write(calls(111, begin + 1_500, **a))
    site.restart(AT_ONCE)
    site.write(calls(107, begin + 2_000, **b))  # behind: no usage
    site.restart()
    site.write(calls(112, begin + 3_000, **b))
    site.write(calls(500, begin + 3_100, **a))  # dropped
    site.restart(AT_ONCE)
    site.write(calls(113, begin + 4_000, **a))
    site.restart()
    site.write(calls(5, begin + 5_000, **a))  # a real restart

    assert site.totals() == {("acme", "calls_total"): Decimal(13 + 5)}
    check_balance(site.folder)


def test_types_markers_and_histograms(site: WriteSite, begin: int) -> None:
    """
    A gauge is never billed, what is not known is held, a marker bills nothing, a native histogram goes on as a classic one.
    Metadata comes late and alone: what a series counts from then on is usage, in the same stream.
    """
    named = {"customer": "acme"}
    for number in range(4):
        ms = begin + 500 * number
        if number == 2:
            site.write(v2=False, metadata=(("open_sessions", 2), ("work", 3)))
            site.restart()
        site.write(
            Written({"__name__": "open_sessions", **named}, [sample(5 - number, ms)]),
            Written({"__name__": "free_count", **named}, [sample(10 + number, ms)]),
            Written({"__name__": "work_count", **named}, [sample(10 + number, ms)]),
            v2=False,
        )
    site.write(Written({"__name__": "work_count", **named}, [sample(STALE_BITS, begin + 3_000)]), v2=False)
    site.write(Written({"__name__": "work", **named}, histograms=[histogram(15, 2.5, begin + 4_000)]))
    double_count = (
        varint(2 << 3 | 1) + struct.pack("<d", 15.5) + double(3, 2.5) + varint(15 << 3) + varint(begin + 5_000)
    )
    site.write(Written({"__name__": "work", **named}, histograms=[double_count]))
    falling = [histogram(count, 1.0, begin + 5_000 + count, hint=3) for count in (9, 20)]
    site.write(Written({"__name__": "work", "customer": "gauge"}, histograms=falling))

    assert site.totals() == {("acme", "work_count"): Decimal("4.5")}
    assert {entry["reason"] for entry in site.quarantine()} == {"needs_conversion", "type_unknown"}
    check_balance(site.folder)


def test_one_bad_series_costs_no_neighbour(site: WriteSite, begin: int) -> None:
    """
    It is in quarantine, shown as it came, and the request is stored.
    """
    bad = Written([("__name__", "calls_total"), ("customer", "x"), ("customer", "y")], [sample(1, begin)])
    site.write(calls(1, begin), bad)
    site.write(calls(4, begin + 1_000), bad)

    assert site.totals() == {("acme", "calls_total"): Decimal(3)}
    assert [entry["reason"] for entry in site.quarantine()] == ["undecodable_item"]
    check_balance(site.folder)
