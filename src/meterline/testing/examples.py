"""
An example of the repository's, on free ports, in a folder of its own.
"""

import http.client
import re
import shutil
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from meterline.testing.agent_bodies import Golden
from meterline.testing.process import GatewayProcess, free_port
from meterline.testing.site import Totals, totals_of

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
        return totals_of(self.gateway)

    def post(self, golden: Golden) -> int:
        """
        Send a body as its agent does, and return the status.
        """
        connection = http.client.HTTPConnection(self.http, timeout=30)
        try:
            connection.request("POST", golden.path, golden.body, dict(golden.headers))
            response = connection.getresponse()
            response.read()
            return response.status
        finally:
            connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.gateway.kill()
