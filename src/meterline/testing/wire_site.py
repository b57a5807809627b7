"""
A gateway with every receiver, for ``testing.wires``: one config, one HTTP port, one gRPC port.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from meterline.testing.process import GatewayProcess, free_port
from meterline.testing.wire_sender import FileSender, ForwardSender, GrpcSender, HttpSender, Sender
from meterline.testing.wires import RULES, WIRES, Wire

TOKEN: Final = "ml_0123456789abcdef0123456789abcdef"  # noqa: S105 - of tests
"""The one credential, of every protocol."""

_CONFIG: Final = """\
ledger: {{path: ./meterline.db}}
receivers:
  otlp:
    grpc: {{endpoint: 127.0.0.1:{grpc}}}
    http: {{endpoint: 127.0.0.1:{http}}}
  prometheus: {{endpoint: 127.0.0.1:{http}}}
  loki: {{endpoint: 127.0.0.1:{http}}}
  json:
    endpoint: 127.0.0.1:{http}
    formats: [auto, vector, logstash, fluent_bit, cloudevents, amplitude, mixpanel]
  vector: {{endpoint: 127.0.0.1:{vector}}}
  fluent_forward: {{endpoint: 127.0.0.1:{forward}{login}}}
  usage:
    grpc: {{endpoint: 127.0.0.1:{grpc}}}
    http: {{endpoint: 127.0.0.1:{http}}}
  files: {{include: [./in/*], poll_secs: 0.1{bound}}}
{rules}
exporters:
  usage: {{type: file, path: ./usage.ndjson, batch: {{max_wait_secs: 0.05}}}}
telemetry:
  metrics: {{endpoint: 127.0.0.1:{metrics}}}
  health: {{endpoint: 127.0.0.1:{health}}}
{top}
"""


class WireSite:
    """
    The config in a folder, its ports, and senders to them. The gateway is not started here.
    """

    def __init__(
        self,
        folder: Path,
        *,
        wrapper: Sequence[str] = ("-m", "meterline"),
        customers: str | None = None,
        top: str = "",
    ) -> None:
        """
        ``customers``: glob; every receiver then wants a credential, and it is bound to these. ``top``: more sections.
        """
        names = ("grpc", "http", "vector", "forward", "metrics", "health")
        self.folder = folder
        self.ports = {name: free_port() for name in names}
        self.config = folder / "meterline.yaml"
        (folder / "in").mkdir()
        self._bound = customers is not None
        bound = f", customers: ['{customers}']" if self._bound else ""
        user = f"{{name: sender, token: {TOKEN}{bound}}}"
        login = f", auth: {{shared_key: {{name: fleet, token: {TOKEN}}}, users: [{user}]}}" if self._bound else ""
        auth = f"auth: {{keys: [{user}]}}\n" if self._bound else ""
        text = _CONFIG.format(**self.ports, rules=RULES, bound=bound, login=login, top=auth + top)
        self.config.write_text(text, encoding="utf-8")
        listening = [self.ports[name] for name in names[:4]]
        self.gateway = GatewayProcess(self.config, listening, wrapper=wrapper)

    def sender(self, wire: Wire) -> Sender:
        """
        Return a connection for this wire, with the credential if one is wanted.
        """
        headers = {"x-api-key": TOKEN} if self._bound else {}
        if wire.transport == "http":
            return HttpSender(f"127.0.0.1:{self.ports['http']}", headers)
        if wire.transport == "grpc":
            port = self.ports["vector" if wire.receiver == "vector" else "grpc"]
            return GrpcSender(f"127.0.0.1:{port}", tuple(headers.items()))
        if wire.transport == "forward":
            login = (TOKEN, "sender", TOKEN) if self._bound else None
            return ForwardSender(f"127.0.0.1:{self.ports['forward']}", login)
        return FileSender(self.folder / "in" / f"{wire.name}.ndjson")


def wires(carries: str) -> list[Wire]:
    """
    Return the wires of events, or of readings.
    """
    return [wire for wire in WIRES if wire.carries == carries]
