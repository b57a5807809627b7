"""
A gateway in a folder of its own, from a config that is put together here: what proofs, peers and kill rounds run
against.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from meterline.testing.evidence import LEDGER
from meterline.testing.process import GatewayProcess, free_port, wait_until
from meterline.testing.sinks import lines
from meterline.testing.verdict import Found
from meterline.testing.workload import RULES

FILE: Final = "usage.ndjson"
FILE_EXPORTER: Final = f"{{type: file, path: ./{FILE}, batch: {{max_wait_secs: 0.05}}}}"

Totals = Mapping[tuple[str, str], Decimal]
"""Exact sums by customer and dimension."""


class Site:
    """
    A config, its gateway, and what it makes. ``grpc`` and ``ledger`` are more options of those sections, ``top``
    more sections; with ``http`` it takes OTLP over HTTP too.

    The gateway is not started here; leaving ``with site.gateway:`` kills it. A subclass may have another ``receiver`` than
    OTLP's on the port, with ``options``.
    """

    receiver = "otlp"
    options = ""

    def __init__(
        self,
        folder: Path,
        *,
        rules: str = RULES,
        exporters: Mapping[str, str] | None = None,
        grpc: str = "",
        http: bool = False,
        ledger: str = "",
        top: str = "",
        wrapper: Sequence[str] = ("-m", "meterline"),
    ) -> None:
        self.folder = folder
        self.port = free_port()
        self.http_port = free_port() if http else None
        self.metrics_port = free_port()
        self.health_port = free_port()
        self.config = folder / "meterline.yaml"
        self._rules = rules
        self._exporters = {"usage": FILE_EXPORTER} if exporters is None else exporters
        self.configure(grpc=grpc, ledger=ledger, top=top)
        ports = [port for port in (self.port, self.http_port) if port is not None]
        self.gateway = GatewayProcess(self.config, ports, wrapper=wrapper)

    def configure(self, *, grpc: str = "", ledger: str = "", top: str = "") -> None:
        """
        Write the config again, with more options (``key: value`` lists of YAML); it holds from the next start.
        """
        sections = [
            f"ledger: {{path: ./{LEDGER}" + (f", {ledger}" if ledger else "") + "}",
            f"receivers: {{{self.receiver}: {{{self._receiver(grpc)}}}}}",
            self._rules,
            "exporters:" if self._exporters else "",
            *(f"  {name}: {options}" for name, options in self._exporters.items()),
            "telemetry:",
            f"  metrics: {{endpoint: 127.0.0.1:{self.metrics_port}}}",
            f"  health: {{endpoint: 127.0.0.1:{self.health_port}}}",
            top,
        ]
        self.config.write_text("\n".join(sections) + "\n", encoding="utf-8")

    def _receiver(self, grpc: str) -> str:
        if self.receiver != "otlp":
            return f"endpoint: {self.target}{self.options}"
        section = f"grpc: {{endpoint: {self.target}" + (f", {grpc}" if grpc else "") + "}"
        return section if self.http_port is None else f"{section}, http: {{endpoint: {self.http_target}}}"

    @property
    def target(self) -> str:
        """
        Return ``host:port`` of the receiver; of OTLP/gRPC.
        """
        return f"127.0.0.1:{self.port}"

    @property
    def http_target(self) -> str:
        """
        Return ``host:port`` of the OTLP/HTTP receiver.
        """
        return f"127.0.0.1:{self.http_port}"

    def file(self) -> list[Found]:
        """
        Return every raw line that the file exporter has written.
        """
        return lines(self.folder / FILE)

    def totals(self) -> Totals:
        """
        Ask the command line for the totals of the ledger.
        """
        return totals_of(self.gateway)

    def quarantine(self) -> list[dict[str, Any]]:
        """
        Ask the command line for what is in quarantine.
        """
        done = self.gateway.ask("quarantine", "ls", "--json")
        assert done.returncode in (0, 1), f"asking for the quarantine: exit {done.returncode}: {done.stderr}"
        return [json.loads(line) for line in done.stdout.splitlines()]

    def settle(self, expected: Totals, timeout_secs: float = 30.0) -> None:
        """
        Wait until the totals and the file's sums are exactly these, and stop the gateway. Raises AssertionError
        otherwise.
        """
        try:
            wait_until(lambda: self._holds(expected), timeout_secs, "the file to hold it all", every_secs=0.05)
        except TimeoutError as error:
            raise AssertionError(f"{error}: {difference(expected, sums(self.file()))}") from error
        assert self.totals() == expected, difference(expected, self.totals())
        assert self.gateway.terminate() == 0, self.gateway.output()[-2000:]
        assert sums(self.file()) == expected, difference(expected, sums(self.file()))

    def _holds(self, expected: Totals) -> bool:
        try:
            return sums(self.file()) == expected
        except ValueError:  # its last line is being written just now
            return False


def totals_of(gateway: GatewayProcess) -> Totals:
    """
    Ask the command line for the totals of a gateway's ledger.
    """
    done = gateway.ask("totals", "--json")
    assert done.returncode == 0, f"asking for totals: exit {done.returncode}: {done.stderr}"
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    return {(row["customer_id"], row["dimension_id"]): Decimal(row["value"]) for row in rows}


def sums(records: Iterable[Found]) -> Totals:
    """
    Add up records by customer and dimension.
    """
    totals: defaultdict[tuple[str, str], Decimal] = defaultdict(Decimal)
    for record in records:
        totals[record.key[:2]] += record.value
    return dict(totals)


def difference(expected: Totals, found: Totals) -> str:
    """
    Say where two sets of totals differ, at most ten places.
    """
    keys = [key for key in sorted({*expected, *found}) if expected.get(key) != found.get(key)]
    shown = "; ".join(f"{'/'.join(key)}: {expected.get(key)} sent, {found.get(key)} found" for key in keys[:10])
    return f"{len(keys)} of {len(expected)} sums differ: {shown}"
