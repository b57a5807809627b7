"""
An example of the repository's, on free ports, in a folder of its own.
"""

import json
import re
import shutil
from decimal import Decimal
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from meterline.testing.process import GatewayProcess, free_port
from meterline.testing.site import Totals

_HTTP: Final = "127.0.0.1:4318"
_TELEMETRY: Final = (
    "\ntelemetry: {{metrics: {{endpoint: 127.0.0.1:{metrics}}}, health: {{endpoint: 127.0.0.1:{health}}}}}\n"
)


class Example:
    """
    A copy of an example's folder, whose meterline.yaml listens for HTTP on 127.0.0.1:4318 and has no ``telemetry``.

    ``top``: sections that are added. The gateway is not started here; leaving the block kills it.
    """

    def __init__(self, source: Path, folder: Path, *, top: str = "") -> None:
        self.folder = folder / source.name
        shutil.copytree(source, self.folder)
        self.port = free_port()
        self.config = self.folder / "meterline.yaml"
        text = self.config.read_text("utf-8")
        assert _HTTP in text, f"copying {source}: {_HTTP} is not in its meterline.yaml"
        text = text.replace(_HTTP, self.http) + _TELEMETRY.format(metrics=free_port(), health=free_port())
        self.config.write_text(text + top, "utf-8")
        self.gateway = GatewayProcess(self.config, [self.port])

    @property
    def http(self) -> str:
        """
        Return ``host:port`` of the HTTP listener.
        """
        return f"127.0.0.1:{self.port}"

    def configure(self, pattern: str, replacement: str) -> None:
        """
        Change what a regular expression finds once in the config; it holds from the next start.
        """
        text, count = re.subn(pattern, replacement, self.config.read_text("utf-8"))
        assert count == 1, f"changing the example: {pattern!r} is there {count} times"
        self.config.write_text(text, "utf-8")

    def totals(self) -> Totals:
        """
        Ask the command line for the totals of the ledger.
        """
        done = self.gateway.ask("totals", "--json")
        assert done.returncode == 0, f"asking for totals: exit {done.returncode}: {done.stderr}"
        rows = [json.loads(line) for line in done.stdout.splitlines()]
        return {(row["customer_id"], row["dimension_id"]): Decimal(row["value"]) for row in rows}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.gateway.kill()
