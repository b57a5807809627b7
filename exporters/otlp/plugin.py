"""
The OTLP exporter.
"""

import math
import ssl
from typing import Any

import grpc

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
from meterline.api.network import ClientTls
from meterline.exporters.otlp.config import OtlpExporterConfig
from meterline.exporters.otlp.encode import NOT_REPRESENTABLE, fits, logs_request, metrics_request
from meterline.exporters.otlp.outcomes import outcome_of_error, outcome_of_response

_METHODS = {
    "logs": "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
    "metrics": "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
}
_IDLE_SECS = 5.0  # after so long without an answer the connection may be gone
_OPTIONS = (
    ("grpc.enable_retries", 0),  # the engine retries, and keeps account of it
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 10_000),
)


class OtlpExporter(Exporter[OtlpExporterConfig]):
    """
    Each batch is one export request, and delivered when the server has taken all of it.

    Each log or point carries the record's id, so that the far side can tell a repeat.
    """

    spec = PluginSpec(
        name="otlp",
        kind="exporter",
        stability="beta",
        summary="Records as OTLP logs or delta sums over gRPC, to an OpenTelemetry Collector or any other OTLP server.",
    )
    Config = OtlpExporterConfig

    def __init__(self, name: str, config: OtlpExporterConfig, context: ExporterContext) -> None:
        super().__init__(name, config, context)
        self._channel: grpc.Channel | None = None
        self._metadata = tuple((key, value.get_secret_value()) for key, value in config.headers.items())
        self._answered = -math.inf

    @property
    def contract(self) -> DeliveryContract:
        """
        At least once: a repeat is possible where an answer was lost; the record's id tells.
        """
        value_type = "decimal string" if self.config.signal == "logs" else "int64, or double when exact"
        return DeliveryContract(dedupe_key="usage.id", on_unknown="resend", value_type=value_type)

    def connect(self, checkpoint: bytes | None) -> None:  # noqa: ARG002  # there is none
        """
        Connect, and have the server answer a request without records: address, TLS, headers and service are right.

        :raises NotConnectedError: it does not, within ``timeout_secs``; the message has its words.
        :raises PausedError: a certificate file cannot be used.
        """
        try:
            self._call(b"", wait_for_ready=True)
        except grpc.RpcError as error:
            failure: Any = error
            if failure.code() is not grpc.StatusCode.INVALID_ARGUMENT:  # it is there, and wants more than nothing
                self.close()  # the next one reads certificate files anew, and does not wait for gRPC's own backoff
                words = f"{failure.code().name}: {failure.details()}"
                raise NotConnectedError(f"connecting to {self.config.endpoint}: {words}") from error

    def send(self, batch: Batch) -> Receipt:
        """
        Send one request and wait for its answer.
        """
        records = list(batch.records)
        exceptions: dict[int, Outcome] = {}
        if self.config.signal == "metrics":
            refused = Outcome(Verdict.REJECTED, f"{NOT_REPRESENTABLE}: neither an int64 nor a double is this value")
            exceptions = {i: refused for i, record in enumerate(records) if not fits(record.value)}
            records = [record for i, record in enumerate(records) if i not in exceptions]
        if not records:
            return Receipt(exceptions=exceptions)
        encode = logs_request if self.config.signal == "logs" else metrics_request
        outcome = self._exchange(encode(records, self.context.ledger_id), len(records))
        if exceptions and outcome.verdict is Verdict.REJECTED:
            outcome = Outcome(Verdict.RETRY, outcome.reason)  # without its exceptions, the engine can halve it
        return Receipt(outcome, exceptions)

    def close(self) -> None:
        """
        Close the connection.
        """
        if self._channel is not None:
            self._channel.close()
            self._channel = None

    def _exchange(self, body: bytes, count: int) -> Outcome:
        if self.context.clock.monotonic() - self._answered > _IDLE_SECS:
            self.connect(None)  # what fails before it is sent is no doubt
        try:
            response = self._call(body, wait_for_ready=False)
        except grpc.RpcError as error:
            return outcome_of_error(error)
        return outcome_of_response(response, self.config.signal, count)

    def _call(self, body: bytes, *, wait_for_ready: bool) -> bytes:
        if self._channel is None:
            self._channel = self._new_channel()
        config = self.config
        call: Any = self._channel.unary_unary(_METHODS[config.signal])
        response: bytes = call(
            body, timeout=config.timeout_secs, metadata=self._metadata, wait_for_ready=wait_for_ready
        )
        self._answered = self.context.clock.monotonic()
        return response

    def _new_channel(self) -> grpc.Channel:
        config = self.config
        compression = grpc.Compression.Gzip if config.compression == "gzip" else grpc.Compression.NoCompression
        if config.tls is None:
            return grpc.insecure_channel(config.endpoint, _OPTIONS, compression)
        name = config.tls.server_name
        options = (*_OPTIONS, ("grpc.ssl_target_name_override", name)) if name else _OPTIONS
        return grpc.secure_channel(config.endpoint, _credentials(config.tls), options, compression)


def _credentials(tls: ClientTls) -> grpc.ChannelCredentials:
    try:
        context = tls.context()  # gRPC itself takes any file, and fails without a reason at each handshake
        roots = "".join(ssl.DER_cert_to_PEM_cert(der) for der in context.get_ca_certs(binary_form=True)).encode()
        files = (tls.key_file or tls.cert_file, tls.cert_file)
        key, chain = (None if file is None else file.read_bytes() for file in files)
        return grpc.ssl_channel_credentials(roots or None, key, chain)
    except OSError as error:
        raise PausedError(str(error)) from error
