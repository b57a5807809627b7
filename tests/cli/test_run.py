"""
`meterline run` as a real process: what it prints, how it stops, what it refuses.
"""

import json
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from meterline.testing.sender import OtlpClient
from meterline.testing.workload import RULES, Workload

CONFIG = """\
ledger: {path: ./ledger.db}
receivers: {otlp: {grpc: {endpoint: "127.0.0.1:0"}}}
exporters: {usage: {type: file, path: ./usage.ndjson, batch: {max_wait_secs: 0.05}}}
telemetry: {metrics: {endpoint: "127.0.0.1:0"}, health: {endpoint: "127.0.0.1:0"}}
"""


class Running:
    """
    A child process of one config.
    """

    def __init__(self, config: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "meterline", "run", str(config)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            bufsize=1,
        )
        self.lines: list[str] = []

    def wait_ready(self) -> dict[str, str]:
        """
        Read until it says ready; return its addresses by "part protocol".
        """
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.strip())
            if self.lines[-1] == "ready":
                break
        assert self.lines[-1:] == ["ready"], f"ended before it was ready: {self.finish()[1]}"
        listening = [line.split() for line in self.lines if line.startswith("listening ")]
        return {f"{part} {protocol}": address for _, part, protocol, address in listening}

    def finish(self, number: signal.Signals | None = None) -> tuple[int, str]:
        """
        Send a signal if one is given, wait for the end, return exit code and stderr.
        """
        if number is not None:
            self.process.send_signal(number)
        _, errors = self.process.communicate(timeout=30)
        return self.process.returncode, errors


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """
    Write a config on free ports.
    """
    path = tmp_path / "meterline.yaml"
    path.write_text(CONFIG + RULES, encoding="utf-8")
    return path


@pytest.fixture
def running(config: Path) -> Iterator[Running]:
    """
    Start a gateway, and see to it that it is gone at the end.
    """
    child = Running(config)
    yield child
    child.process.kill()
    child.process.communicate()


def test_prints_a_line_for_each_address(running: Running) -> None:
    """Every bound address stands on a line of its own, really bound, before the line that says ready."""
    endpoints = running.wait_ready()

    assert sorted(endpoints) == ["receivers.otlp grpc", "telemetry.health http", "telemetry.metrics http"]
    for address in endpoints.values():
        host, port = address.rsplit(":", 1)
        with socket.create_connection((host, int(port)), timeout=20):
            pass


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_first_signal_delivers_and_exits_0(running: Running, config: Path, number: signal.Signals) -> None:
    """After a signal what was answered is delivered, and the exit code is 0."""
    endpoints = running.wait_ready()
    client = OtlpClient(endpoints["receivers.otlp grpc"])
    workload = Workload(1, "run")
    requests = [workload.next() for _ in range(20)]
    for request in requests:
        client.send(request.signal, request.body)
    client.close()
    code, errors = running.finish(number)

    delivered = (config.parent / "usage.ndjson").read_text(encoding="utf-8").splitlines()
    assert (code, len(delivered)) == (0, sum(len(request.effects) for request in requests))
    assert "stopping" in errors


def test_second_signal_exits_at_once(running: Running, config: Path) -> None:
    """While the first signal waits for an exporter that cannot deliver, a second one ends the process."""
    text = config.read_text(encoding="utf-8")
    text = text.replace("{type: file, path: ./usage.ndjson, ", '{type: http, endpoint: "http://127.0.0.1:1/", ')
    running.finish(signal.SIGKILL)
    config.write_text("shutdown_timeout_secs: 60\n" + text, encoding="utf-8")
    child = Running(config)
    client = OtlpClient(child.wait_ready()["receivers.otlp grpc"])
    request = Workload(1, "run").next()
    client.send(request.signal, request.body)
    client.close()
    child.process.send_signal(signal.SIGTERM)
    assert child.process.stderr is not None
    while "second signal" not in child.process.stderr.readline():
        assert child.process.poll() is None
    code, _ = child.finish(signal.SIGTERM)

    assert code == 128 + signal.SIGTERM


def test_health_and_metrics_are_served(running: Running) -> None:
    """Ready says 200 with the gateway's words, and every metric on the page is in the table."""
    endpoints = running.wait_ready()
    with urllib.request.urlopen(f"http://{endpoints['telemetry.health http']}/readyz", timeout=20) as answer:
        body = json.load(answer)
    with urllib.request.urlopen(f"http://{endpoints['telemetry.metrics http']}/metrics", timeout=20) as answer:
        page = answer.read().decode()

    assert (body["status"], body["phase"]) == ("ready", "running")
    assert "meterline_process_uptime_seconds" in page
    assert "meterline_receiver_requests" not in page  # nothing was sent
    _, errors = running.finish(signal.SIGTERM)
    assert "does not have" not in errors


def test_a_second_run_names_the_holder(running: Running, config: Path) -> None:
    """A second process on one ledger exits 1 and says who holds it."""
    running.wait_ready()
    code, errors = Running(config).finish()

    assert code == 1
    assert str(running.process.pid) in errors


def test_a_busy_receiver_port_is_an_error(config: Path) -> None:
    """A receiver's address that is taken refuses to start: 78, naming the address."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        text = config.read_text(encoding="utf-8").replace(
            'grpc: {endpoint: "127.0.0.1:0"', f'grpc: {{endpoint: "127.0.0.1:{port}"'
        )
        config.write_text(text, encoding="utf-8")
        code, errors = Running(config).finish()

    assert code == 78
    assert f"127.0.0.1:{port}" in errors


def test_a_busy_default_telemetry_port_warns(config: Path) -> None:
    """Without a telemetry section, an address that is taken is a warning and the gateway runs."""
    text = re.sub("^telemetry: .*\n", "", config.read_text(encoding="utf-8"), flags=re.MULTILINE)
    config.write_text(text, encoding="utf-8")
    with _held(8888), _held(13133):
        child = Running(config)
        endpoints = child.wait_ready()
        code, errors = child.finish(signal.SIGTERM)

    assert (list(endpoints), code) == (["receivers.otlp grpc"], 0)
    assert errors.count("telemetry address is taken") == 2


def _held(port: int) -> socket.socket:
    """
    Hold a port; one that somebody else holds is as good.
    """
    holder = socket.socket()
    try:
        holder.bind(("127.0.0.1", port))
        holder.listen()
    except OSError:
        pass
    return holder


def test_a_wrong_config_exits_78_with_all_errors(tmp_path: Path) -> None:
    """Every mistake is printed, with its line, and nothing is started."""
    path = tmp_path / "wrong.yaml"
    path.write_text("ledger: {paht: ./x.db}\nreceivers: {otpl: {}}\n", encoding="utf-8")
    code, errors = Running(path).finish()

    assert code == 78
    assert f"{path}:1:" in errors
    assert f"{path}:2:" in errors
    assert [entry.name for entry in tmp_path.iterdir()] == ["wrong.yaml"]


def test_a_console_in_a_pipe_has_the_output_to_itself(config: Path) -> None:
    """
    With a console exporter, standard output holds records alone; the addresses stand on standard error.
    """
    text = config.read_text(encoding="utf-8")
    config.write_text(text.replace("exporters: {", "exporters: {shown: {type: console}, "), encoding="utf-8")
    running = Running(config)
    assert running.process.stderr is not None
    for line in running.process.stderr:
        running.lines.append(line.strip())
        if running.lines[-1] == "ready":
            break
    address = next(line.split()[-1] for line in running.lines if "receivers.otlp" in line)
    client = OtlpClient(address)
    request = Workload(seed=1, name="console").next()
    client.send(request.signal, request.body)
    client.close()
    running.process.send_signal(signal.SIGTERM)
    output, _ = running.process.communicate(timeout=30)
    rows = [json.loads(line) for line in output.splitlines()]
    assert (running.process.returncode, len(rows)) == (0, len(request.effects))
