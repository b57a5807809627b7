"""
The examples of agents that cannot run here: their meterline.yaml is valid, and counts what the agent writes exactly. The apps
of SDKs run.
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from decimal import Decimal

import pytest

from meterline.testing import agent_bodies
from meterline.testing.agent_bodies import TOTAL, Golden
from meterline.testing.examples import Example
from meterline.testing.peers import npm

CASES = [
    ("vector", agent_bodies.vector_logs, "calls"),
    ("vector", agent_bodies.vector_metrics, "api-calls"),
    ("logstash", agent_bodies.logstash, "calls"),
    ("fluent-bit", agent_bodies.fluent_bit_json, "calls"),
    ("fluent-bit", agent_bodies.fluent_bit_lines, "calls"),
    ("fluent-bit", agent_bodies.fluent_bit_msgpack, "calls"),
]


@pytest.mark.parametrize("example", ["vector", "logstash", "fluent-bit", "amplitude", "mixpanel"], indirect=True)
def test_the_config_is_valid(example: Example) -> None:
    """``meterline validate`` finds nothing."""
    done = example.gateway.ask("validate")

    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(("example", "make", "dimension"), CASES, indirect=["example"])
def test_what_the_agent_writes_is_counted_once(example: Example, make: Callable[[int], Golden], dimension: str) -> None:
    """The golden body comes to its exact sum, also when it is sent again, and again after a kill."""
    golden = make(time.time_ns() - 60 * 10**9)
    example.gateway.start()
    assert (example.post(golden), example.post(golden)) == (200, 200)
    example.gateway.kill()
    example.gateway.start()
    assert example.post(golden) == 200

    assert example.totals() == {("acme", dimension): Decimal(TOTAL)}


@pytest.mark.peer
@pytest.mark.timeout(900)
@pytest.mark.parametrize("example", ["amplitude", "mixpanel"], indirect=True)
@pytest.mark.parametrize("language", ["python", "js"])
def test_the_app_of_an_sdk_is_metered(example: Example, language: str) -> None:
    """The example's app, run as it stands but for the port, comes to its exact sums."""
    programs = {"python": [sys.executable, "app.py"], "js": ["node", "app.js"]}
    modules = str(npm("events-js") / "node_modules") if language == "js" else ""
    environment = {**os.environ, "METERLINE_URL": f"http://{example.http}", "NODE_PATH": modules}
    example.gateway.start()

    done = subprocess.run(
        programs[language],
        cwd=example.folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr
    assert example.totals() == {("acme", "exported-rows"): Decimal(150), ("globex", "exported-rows"): Decimal(7)}
