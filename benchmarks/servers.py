"""
The systems that are measured: each does the whole job on one core, and is started fresh in a folder of its own.
"""

import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from measure import LOAD_CORE, SERVER_CORE

from meterline.testing.peers import RECIPES, collector
from meterline.testing.process import Program, free_port

SYSTEMS = ("collector-memory", "collector-durable", "meterline")

CONFIG = """\
ledger: {{path: ./meterline.db}}
receivers: {{otlp: {{grpc: {{endpoint: 127.0.0.1:{port}}}}}}}
rules:
  - name: api-requests
    match: {{metric: "http.server.request.count*"}}
    customer: attributes["customer.id"]
    dimension: api-requests
    metadata: {{route: 'attributes["http.route"]'}}
exporters: {{usage: {{type: file, path: ./usage.ndjson}}}}
telemetry: {{metrics: {{endpoint: 127.0.0.1:{metrics}}}, health: {{endpoint: 127.0.0.1:{health}}}}}
"""


@dataclass(frozen=True, slots=True)
class Server:
    """
    A running system: the program that is charged, where it listens, and where it keeps its things.
    """

    system: str
    program: Program
    target: str
    folder: Path

    @property
    def pid(self) -> int:
        """
        Return the process that is charged.
        """
        return self.program.pid


@contextmanager
def running(system: str, folder: Path) -> Iterator[Server]:
    """
    Start a system, pinned to its core, and end it with the block.
    """
    start = _meterline if system == "meterline" else _collector
    with start(system, folder) as server:
        yield server


def _pinned(core: int, *command: str) -> list[str]:
    return ["taskset", "-c", str(core), *command]


@contextmanager
def _meterline(system: str, folder: Path) -> Iterator[Server]:
    port, metrics, health = free_port(), free_port(), free_port()
    config = folder / "meterline.yaml"
    config.write_text(CONFIG.format(port=port, metrics=metrics, health=health), encoding="utf-8")
    command = _pinned(SERVER_CORE, sys.executable, "-m", "meterline", "run", str(config))
    with Program(command, folder / "meterline.log", ports=[port]) as program:
        program.start(ready_secs=60)
        yield Server(system, program, f"127.0.0.1:{port}", folder)


@contextmanager
def _collector(system: str, folder: Path) -> Iterator[Server]:
    port, sink_port = free_port(), free_port()
    name = system.replace("collector", "baseline")
    config = _moved(RECIPES / "otelcol" / f"{name}.yaml", folder, {":4317": f":{port}", ":5317": f":{sink_port}"})
    sink = _moved(RECIPES / "otelcol" / "sink.yaml", folder, {":5317": f":{sink_port}"})
    binary = str(collector())
    env = {"QUEUE_DIR": str(folder / "queue"), "GOMAXPROCS": "1"}
    command = _pinned(SERVER_CORE, binary, f"--config={config}")
    beside = _pinned(LOAD_CORE, binary, f"--config={sink}")
    with (
        Program(beside, folder / "sink.log", ports=[sink_port], env=env) as other,
        Program(command, folder / "collector.log", ports=[port], env=env) as program,
    ):
        if system == "collector-durable":
            other.start()
        program.start()
        yield Server(system, program, f"127.0.0.1:{port}", folder)


def _moved(source: Path, folder: Path, ports: dict[str, str]) -> Path:
    """
    Copy a config to other ports, and let it take requests of 64 MiB.
    """
    text = source.read_text(encoding="utf-8")
    for old, new in ports.items():
        text = text.replace(old, new)
    target = folder / source.name
    target.write_text(text, encoding="utf-8")
    return target


@dataclass(frozen=True, slots=True)
class LedgerSize:
    """
    What a ledger holds: bytes of frames (bodies and definitions), bytes of pages in use, points.
    """

    frame_bytes: int
    used_bytes: int


def ledger_size(folder: Path) -> LedgerSize:
    """
    Read the size of the ledger in a server's folder, while it runs.
    """
    uri = f"file:{folder / 'meterline.db'}?mode=ro"
    with closing(sqlite3.connect(uri, uri=True, timeout=30)) as ledger:
        frames = ledger.execute("SELECT coalesce(sum(length(body)), 0) FROM frame").fetchone()[0]
        definitions = ledger.execute("SELECT coalesce(sum(length(body)), 0) FROM definition").fetchone()[0]
        pages, free, size = (
            ledger.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")
        )
    return LedgerSize(frames + definitions, (pages - free) * size)
