"""
Real counterparts: programs that are built or installed on demand, and started on free ports of 127.0.0.1.

Build results are kept under ``${XDG_CACHE_HOME:-~/.cache}/meterline/peers`` and made again where they are missing.
The recipes are in ``tests/peers`` of a checkout, so this module works from a checkout alone.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from meterline.testing.process import Program, free_port

RECIPES: Final = Path(__file__).resolve().parents[3] / "tests" / "peers"
BUILD_SECS: Final = 1800


def cache() -> Path:
    """
    Return the folder of build results; it is made if need be.
    """
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = root / "meterline" / "peers"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextmanager
def _alone(name: str) -> Iterator[None]:
    """
    Let one process at a time build a peer; the others wait and find it done.
    """
    with (cache() / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _built(name: str, product: str, build: Callable[[Path], None]) -> Path:
    folder = cache() / name
    with _alone(name):
        if not (folder / product).exists():
            folder.mkdir(exist_ok=True)
            _patiently(build, folder)
    assert (folder / product).exists(), f"building {name}: {folder / product} was not made"
    return folder / product


def _patiently(build: Callable[[Path], None], folder: Path) -> None:
    """
    Build; once more when it fails, since a package registry that did not answer may do so the next time.
    """
    try:
        build(folder)
    except AssertionError as error:
        print(f"{error}\nbuilding again")  # noqa: T201 - shown by pytest if the second time fails, too
        build(folder)


def run_checked(command: list[str], folder: Path, **env: str) -> None:
    """
    Run a build step in a folder; raises AssertionError with the end of its output when it fails.
    """
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=BUILD_SECS, env={**os.environ, **env}, check=False
    )
    assert done.returncode == 0, (
        f"running {' '.join(command)}: exit {done.returncode}\n{(done.stdout + done.stderr)[-4000:]}"
    )


def collector() -> Path:
    """
    Return the path of a real OpenTelemetry Collector: 5 minutes and a Go toolchain where there is none yet.
    """
    script = RECIPES / "otelcol" / "build.sh"
    return _built("otelcol", "otelcol-test", lambda folder: run_checked(["bash", str(script), str(folder)], folder))


def prometheus() -> Path:
    """
    Return the path of a real Prometheus 3: 2 minutes and a Go toolchain where there is none yet.
    """
    script = RECIPES / "prometheus" / "build.sh"
    return _built("prometheus", "prometheus", lambda folder: run_checked(["bash", str(script), str(folder)], folder))


def rotel() -> Path:
    """
    Return the path of the rotel agent that the PyPI package ships.
    """
    spec = find_spec("rotel")
    assert spec is not None, "finding rotel: not installed; run: pip install 'meterline[dev]'"
    assert spec.origin is not None
    return Path(spec.origin).parent / "rotel-agent"


def javascript() -> Path:
    """
    Return the folder of the JS SDK sender, with the packages that its lock file names.
    """
    return npm("js")


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

    folder = _built(name, stamp, install).parent
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

    folder = _built(name, "fetched", fetch).parent
    return ["java", "-cp", f"{folder}/lib/*", str(sources / "Send.java")]


def go_program(name: str, sources: Path) -> Path:
    """
    Return the path of a Go program of this repository, built again when a source file is newer.
    """
    binary = cache() / "go" / name
    with _alone(f"go-{name}"):
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
        "js": ["node", str(javascript() / "send.js")],
    }
    return {
        language: [*program, target, f"{name}-{language}", str(rounds), temporality, protocol]
        for language, program in programs.items()
        if (language, protocol) != ("python", "http/json")
    }
