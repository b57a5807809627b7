"""
Real counterparts: programs that are built or installed on demand, and started on free ports of 127.0.0.1.

The recipes are in ``tests/peers`` of a checkout, so this module works from a checkout alone.

``python -m meterline.testing.peers`` builds all of them, so that no test's own timeout has to have room for that.
"""

import hashlib
import shutil
import sys
import time
from collections.abc import Callable, Mapping
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from meterline.testing.builds import alone, built, cache, run_checked
from meterline.testing.process import Program, free_port

RECIPES: Final = Path(__file__).resolve().parents[3] / "tests" / "peers"


def collector() -> Path:
    """
    Return the path of a real OpenTelemetry Collector: 5 minutes and a Go toolchain where there is none yet.
    """
    script = RECIPES / "otelcol" / "build.sh"
    return built("otelcol", "otelcol-test", lambda folder: run_checked(["bash", str(script), str(folder)], folder))


def prometheus() -> Path:
    """
    Return the path of a real Prometheus 3: 2 minutes and a Go toolchain where there is none yet.
    """
    script = RECIPES / "prometheus" / "build.sh"
    return built("prometheus", "prometheus", lambda folder: run_checked(["bash", str(script), str(folder)], folder))


def rotel() -> Path:
    """
    Return the path of the rotel agent that the PyPI package ships.
    """
    spec = find_spec("rotel")
    assert spec is not None, "finding rotel: not installed; run: pip install 'meterline[dev]'"
    assert spec.origin is not None
    return Path(spec.origin).parent / "rotel-agent"


def npm(name: str) -> Path:
    """
    Return a copy of a folder of ``tests/peers`` with the npm packages that its lock file names; its own files are fresh.
    """
    sources = RECIPES / name
    stamp = "installed-" + hashlib.sha256((sources / "package-lock.json").read_bytes()).hexdigest()[:12]

    def copy(folder: Path) -> None:
        for path in sources.iterdir():
            shutil.copy(path, folder / path.name)

    def install(folder: Path) -> None:
        copy(folder)
        run_checked(["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"], folder)
        (folder / stamp).touch()

    folder = built(name, stamp, install).parent
    copy(folder)
    return folder


def micrometer() -> list[str]:
    """
    Return the command of the Micrometer sender, without its arguments; Maven fetches what its ``pom.xml`` names.
    """
    sources = RECIPES / "micrometer"
    name = "micrometer-" + hashlib.sha256((sources / "pom.xml").read_bytes()).hexdigest()[:12]

    def fetch(folder: Path) -> None:
        shutil.copy(sources / "pom.xml", folder)
        run_checked(["mvn", "-B", "-q", "dependency:copy-dependencies"], folder)
        (folder / "fetched").touch()

    folder = built(name, "fetched", fetch).parent
    return ["java", "-cp", f"{folder}/lib/*", str(sources / "Send.java")]


def go_program(name: str, sources: Path) -> Path:
    """
    Return the path of a Go program of this repository, built again when a source file is newer.
    """
    binary = cache() / "go" / name
    with alone(f"go-{name}"):
        newest = max(path.stat().st_mtime for path in sources.iterdir())
        if not binary.exists() or binary.stat().st_mtime < newest:
            run_checked(["go", "build", "-trimpath", "-o", str(binary), "."], sources, CGO_ENABLED="0")
    return binary


class Collector(Program):
    """
    A Collector of one config file, found ready when its ports accept. ``env`` fills the ``${env:...}`` of the file.
    """

    def __init__(self, config: Path, folder: Path, ports: list[int], env: Mapping[str, str] | None = None) -> None:
        command = [str(collector()), f"--config={config}"]
        super().__init__(command, folder / f"{config.stem}.log", ports=ports, env=env)


def agent_config(folder: Path, target: str, *, batch: bool = False, encoding: str = "") -> tuple[Path, int, int]:
    """
    Write the config of a Collector that loses nothing: OTLP in, a fsynced queue in ``folder``, OTLP to ``target``.

    Return the file and its OTLP/gRPC and OTLP/HTTP ports. It is ``tests/peers/otelcol/to-meterline.yaml`` on free
    ports, with short retry delays, so that a test need not wait for the next try. ``encoding``: ``proto`` or ``json`` to
    send over HTTP; "" is gRPC.
    """
    grpc_port, http_port = free_port(), free_port()
    text = (RECIPES / "otelcol" / "to-meterline.yaml").read_text(encoding="utf-8")
    replacements = {
        "127.0.0.1:14317": f"127.0.0.1:{grpc_port}",
        "127.0.0.1:14318": f"127.0.0.1:{http_port}",
        "endpoint: 127.0.0.1:4317": f"endpoint: {target}",
        "{max_elapsed_time: 0}": "{max_elapsed_time: 0, initial_interval: 100ms, max_interval: 500ms}",
        "${env:QUEUE_DIR}": str(folder / "queue"),
    }
    for old, new in replacements.items():
        assert text.count(old) == 1, f"preparing the collector's config: {old!r} is not in it once"
        text = text.replace(old, new)
    text = text.replace("service:\n", "service:\n  telemetry: {metrics: {level: none}}\n")
    if encoding:
        over_grpc = f"endpoint: {target}\n    tls: {{insecure: true}}"
        assert over_grpc in text, f"preparing the collector's config: {over_grpc!r} is not in it"
        text = text.replace(over_grpc, f"endpoint: http://{target}\n    encoding: {encoding}")
        text = text.replace("otlp/meterline", "otlp_http/meterline")
    if batch:
        text = text.replace("service:\n", "processors: {batch: {timeout: 50ms}}\nservice:\n")
        text = text.replace("receivers: [otlp], exporters", "receivers: [otlp], processors: [batch], exporters")
    path = folder / "agent.yaml"
    path.write_text(text, encoding="utf-8")
    return path, grpc_port, http_port


def rotel_command(grpc_port: int, http_port: int, target: str, protocol: str = "grpc") -> list[str]:
    """
    Return the command of a rotel agent that sends what it gets on to ``target``, soon and until it passes.

    ``protocol``: ``grpc`` or ``http``, which is protobuf.
    """
    return [
        str(rotel()),
        "start",
        *("--otlp-grpc-endpoint", f"127.0.0.1:{grpc_port}"),
        *("--otlp-http-endpoint", f"127.0.0.1:{http_port}"),
        *("--exporter", "otlp", "--otlp-exporter-endpoint", f"http://{target}"),
        *("--otlp-exporter-protocol", protocol, "--otlp-exporter-retry-initial-backoff", "100ms"),
        *("--batch-timeout", "100ms"),
    ]


def sdk_commands(target: str, name: str, rounds: int, temporality: str, protocol: str = "grpc") -> dict[str, list[str]]:
    """
    Return the commands that send through the SDKs, by language; each prints ``{"customer dimension": total}`` at the end.

    ``temporality``: ``DELTA`` or ``CUMULATIVE``. ``protocol``: ``grpc``, ``http/protobuf`` or ``http/json``, of which the
    Python SDK has the first two. The customers of each language begin with ``name`` and the language.
    """
    programs = {
        "python": [sys.executable, str(RECIPES / "python" / "send.py")],
        "js": ["node", str(npm("js") / "send.js")],
    }
    return {
        language: [*program, target, f"{name}-{language}", str(rounds), temporality, protocol]
        for language, program in programs.items()
        if (language, protocol) != ("python", "http/json")
    }


def build_all() -> None:
    """
    Build whatever of the peers is not there yet, and say how long each took.
    """
    packages = sorted(lock.parent.name for lock in RECIPES.glob("*/package-lock.json"))
    steps: dict[str, Callable[[], object]] = {"otelcol": collector, "prometheus": prometheus, "micrometer": micrometer}
    steps |= {name: partial(npm, name) for name in packages}
    for name, step in steps.items():
        began = time.monotonic()
        step()
        print(f"{name}: ready after {time.monotonic() - began:.0f} s", flush=True)  # noqa: T201 - a program's output


if __name__ == "__main__":
    build_all()
