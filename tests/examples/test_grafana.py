"""
The examples of Prometheus, Grafana Agent and Alloy: valid, and what these agents write is counted exactly.
"""

import time
from decimal import Decimal

import pytest

from meterline.testing import grafana_bodies as bodies
from meterline.testing.evidence import check_balance
from meterline.testing.examples import Example
from meterline.testing.peers import prometheus
from meterline.testing.process import Program, free_port, wait_until
from meterline.testing.prometheus import Target, serving

LINES = [f'{{"call": "c{n}", "customer": "acme", "quantity": {n}.25}}' for n in range(1, 5)]
CALLS = Decimal("11.00")  # 1.25 + 2.25 + 3.25 + 4.25


@pytest.mark.parametrize("example", ["prometheus", "grafana-agent", "alloy"], indirect=True)
def test_the_config_is_valid(example: Example) -> None:
    """``meterline validate`` finds nothing."""
    done = example.gateway.ask("validate")

    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("example", "agent"), [("grafana-agent", bodies.AGENT), ("alloy", bodies.ALLOY)], indirect=["example"]
)
def test_what_the_agent_writes_is_counted_once(example: Example, agent: str) -> None:
    """Scrapes, a repeat, metadata, staleness markers, 2.0, and lines over both encodings, with a kill between."""
    example.gateway.start()
    begin = time.time_ns() // 10**6 + 1_000  # what a counter grew by before the rules were there does not count
    lines = bodies.loki_push(time.time_ns() - 10**10, LINES[:3], agent)
    first = [
        bodies.metadata(agent),
        bodies.scrape(begin, 100, agent),
        bodies.scrape(begin + 15_000, 103, agent),
        lines,
    ]
    assert [example.post(golden) for golden in first] == [204] * len(first)
    example.gateway.kill()
    example.gateway.start()
    second = [
        *first,
        bodies.stale(begin + 20_000, agent),
        bodies.scrape_v2(begin + 30_000, 108),
        bodies.scrape(begin + 45_000, 2, agent),  # the target began again
        bodies.fluent_bit_loki(time.time_ns() - 10**10, LINES),
    ]
    assert [example.post(golden) for golden in second] == [204] * len(second)

    assert example.totals() == {("acme", "api-calls"): Decimal(10), ("acme", "calls"): CALLS}
    check_balance(example.folder)


@pytest.mark.slow
@pytest.mark.parametrize("example", ["alloy"], indirect=True)
def test_another_tenant_or_key_is_refused_for_good(example: Example) -> None:
    """The key may name its own tenant only."""
    example.gateway.start()
    golden = bodies.scrape(time.time_ns() // 10**6, 1)

    other = golden._replace(headers={**golden.headers, "X-Scope-OrgID": "else"})
    wrong = golden._replace(headers={**golden.headers, "Authorization": "Bearer wrong"})

    assert (example.post(other), example.post(wrong)) == (403, 401)


@pytest.mark.peer
@pytest.mark.timeout(900)
@pytest.mark.parametrize("example", ["prometheus"], indirect=True)
def test_a_real_prometheus_with_the_example_s_file(example: Example) -> None:
    """Prometheus 3 takes the file as it is, ports and intervals aside, and what the target counts is billed."""
    target, port = Target(2), free_port()
    page = target.page
    target.page = lambda: page().replace("calls_total", "api_calls_total")  # type: ignore[method-assign]
    example.gateway.start()
    with serving(target) as target_port:
        config = example.folder / "prometheus.yml"
        text = config.read_text("utf-8")
        for old, new in {
            "127.0.0.1:4318": example.http,
            "127.0.0.1:8080": f"127.0.0.1:{target_port}",
            "scrape_interval: 15s": "scrape_interval: 200ms\n  scrape_timeout: 200ms",
            "send_interval: 1m": "send_interval: 1s",
            "retry_on_http_429: true": "retry_on_http_429: true\n      batch_send_deadline: 100ms",
        }.items():
            assert text.count(old) == 1, f"{old!r} is not in the file once"
            text = text.replace(old, new)
        config.write_text(text, "utf-8")
        command = [str(prometheus()), f"--config.file={config}", f"--storage.tsdb.path={example.folder / 'data'}"]
        server = Program(
            [*command, f"--web.listen-address=127.0.0.1:{port}"], example.folder / "prometheus.log", ports=[port]
        )
        with server:
            server.start()
            wait_until(lambda: target.scrapes > 50, 60, "scrapes, and metadata")
            target.count("c0", 7, 3)
            wait_until(lambda: len(example.totals()) >= 2, 60, "usage", every_secs=0.5)

    assert example.totals() == {("c0", "api-calls"): Decimal(7), ("c0", "work"): Decimal(3)}
