"""
The Fluentd exporter.
"""

import json
import ssl

from meterline.api import (
    Batch,
    DeliveryContract,
    Exporter,
    ExporterContext,
    NotConnectedError,
    Outcome,
    PausedError,
    PluginSpec,
    Receipt,
    Verdict,
)
from meterline.api.network import ClientTls, host_and_port
from meterline.exporters.fluentd.config import FluentdConfig
from meterline.exporters.fluentd.forward import chunk_id, packed_entry, packed_forward
from meterline.exporters.fluentd.sender import AckingSender, DoubtError


class FluentdExporter(Exporter[FluentdConfig]):
    """
    Each batch is one PackedForward message with a chunk id, and delivered when the server has acknowledged that id.

    On any doubt the connection is closed and the outcome is unknown; the engine sends the same message with the same chunk id
    again. Each record carries its id, so that the far side can tell a repeat.
    """

    spec = PluginSpec(
        name="fluentd",
        kind="exporter",
        stability="beta",
        summary="Records to Fluentd or Fluent Bit over the forward protocol, each batch acknowledged.",
    )
    Config = FluentdConfig

    def __init__(self, name: str, config: FluentdConfig, context: ExporterContext) -> None:
        super().__init__(name, config, context)
        self._sender: AckingSender | None = None

    @property
    def contract(self) -> DeliveryContract:
        """
        At least once: a repeat is possible where an acknowledgement was lost; the record's ``id`` tells.
        """
        return DeliveryContract(dedupe_key="id", on_unknown="resend", value_type="decimal string")

    def connect(self, checkpoint: bytes | None) -> None:  # noqa: ARG002  # there is none
        """
        Connect, and prove to each other that both have the shared key.

        :raises NotConnectedError: the server cannot be reached, or refuses.
        :raises PausedError: a certificate file cannot be used.
        """
        self._ready_sender()

    def send(self, batch: Batch) -> Receipt:
        """
        Send one message and wait for its acknowledgement.
        """
        entries, exceptions = _packed(batch)
        if not entries:
            return Receipt(exceptions=exceptions)
        chunk = chunk_id(batch.id)
        message = packed_forward(self.config.tag, entries, chunk)
        sender = self._ready_sender()
        try:
            sender.deliver(message, chunk)
        except DoubtError as error:
            return Receipt(Outcome(Verdict.UNKNOWN, str(error)), exceptions)
        return Receipt(exceptions=exceptions)

    def close(self) -> None:
        """
        Close the connection.
        """
        if self._sender is not None:
            self._sender.disconnect()
            self._sender = None

    def _ready_sender(self) -> AckingSender:
        """
        Return a sender that has a connection; certificate files are read anew after one that failed.
        """
        if self._sender is None:
            self._sender = self._new_sender()
        try:
            self._sender.connect()
        except NotConnectedError:
            self.close()
            raise
        return self._sender

    def _new_sender(self) -> AckingSender:
        config = self.config
        host, port = _address(config.endpoint)
        secrets = None
        if config.shared_key is not None:
            password = config.password.get_secret_value() if config.password else ""
            secrets = (config.shared_key.get_secret_value(), config.username or "", password)
        return AckingSender(
            config.tag,
            host,
            port,
            timeout=config.timeout_secs,
            ack_timeout=config.ack_timeout_secs,
            tls=_tls(config.tls, host) if config.tls else None,
            secrets=secrets,
        )


def _packed(batch: Batch) -> tuple[list[bytes], dict[int, Outcome]]:
    """
    Return the entries, in the form that every exporter gives a record, and the outcomes of those that cannot be packed.
    """
    entries: list[bytes] = []
    exceptions: dict[int, Outcome] = {}
    for position, (record, line) in enumerate(zip(batch.records, batch.encode("ndjson").splitlines(), strict=True)):
        try:
            entries.append(packed_entry(record.timestamp, json.loads(line)))
        except ValueError as error:
            exceptions[position] = Outcome(Verdict.REJECTED, f"not_representable: {error}")
    return entries, exceptions


def _address(endpoint: str) -> tuple[str, int]:
    if endpoint.startswith("unix:"):
        return f"unix://{endpoint.removeprefix('unix:')}", 0
    return host_and_port(endpoint)


def _tls(config: ClientTls, host: str) -> tuple[ssl.SSLContext, str]:
    try:
        return config.context(), config.server_name or host
    except OSError as error:
        raise PausedError(str(error)) from error
