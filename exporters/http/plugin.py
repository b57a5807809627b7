"""
The exporter ``http``: POST of a batch or of single records as JSON, with an idempotency key.
"""

from collections.abc import Sequence
from typing import ClassVar, Final
from urllib.parse import quote

from meterline.api import (
    Batch,
    DeliveryContract,
    Exporter,
    ExporterConfig,
    ExporterContext,
    NotConnectedError,
    Outcome,
    PausedError,
    PluginSpec,
    Receipt,
    Verdict,
)
from meterline.exporters.http.answer import judged
from meterline.exporters.http.config import HttpConfig
from meterline.exporters.http.wire import NoAnswerError, Wire

FRUITLESS: Final = 5
"""So many records in a row that are refused for now end a batch: the endpoint is busy, not the record bad."""


class HttpExporter(Exporter[HttpConfig]):
    """
    One POST for a batch, or one for each record. A batch that is sent again has the same bytes and the same key.
    """

    spec = PluginSpec(
        name="http",
        kind="exporter",
        stability="beta",
        summary="POSTs usage records as JSON to any endpoint, with an idempotency key.",
    )
    Config: ClassVar[type[ExporterConfig]] = HttpConfig

    def __init__(self, name: str, config: HttpConfig, context: ExporterContext) -> None:
        super().__init__(name, config, context)
        self._wire = Wire(config.endpoint, config.tls, config.timeout_secs)
        self._headers = {key: value.get_secret_value() for key, value in config.headers.items()}

    @property
    def contract(self) -> DeliveryContract:
        """
        Every record carries its id, and every request its key; whether the endpoint uses them, it knows itself.
        """
        return DeliveryContract(dedupe_key="id", per_record_results=self.config.mode == "record")

    def connect(self, checkpoint: bytes | None) -> None:
        """
        Make the connection.
        """
        del checkpoint
        self._wire.open()

    def send(self, batch: Batch) -> Receipt:
        """
        POST the batch, or its records one after another.
        """
        lines = batch.encode("ndjson")
        if self.config.mode == "record":
            return self._send_records(batch, lines.split(b"\n")[:-1])
        if self.config.format == "json":
            return Receipt(
                self._post(batch, b"[" + lines[:-1].replace(b"\n", b",") + b"]", "application/json", batch.id)
            )
        return Receipt(self._post(batch, lines, "application/x-ndjson", batch.id))

    def _send_records(self, batch: Batch, lines: list[bytes]) -> Receipt:
        """
        What stops the exporter as a whole is raised only while nothing was sent; later, what is left is just not sent.
        """
        outcomes: list[Outcome] = []
        for record, line in zip(batch.records, lines, strict=True):
            try:
                outcomes.append(self._post(batch, line, "application/json", record.id))
            except (NotConnectedError, PausedError) as error:
                if not outcomes:
                    raise
                outcomes.append(Outcome(Verdict.RETRY, str(error)))
                break
            if _is_enough(outcomes):
                break
        unsent = Outcome(Verdict.RETRY, "not sent, since those before it failed", outcomes[-1].retry_after_secs)
        exceptions = {i: outcome for i, outcome in enumerate(outcomes) if outcome.verdict is not Verdict.DELIVERED}
        return Receipt(exceptions=exceptions | dict.fromkeys(range(len(outcomes), len(batch)), unsent))

    def _post(self, batch: Batch, body: bytes, media_type: str, key: str) -> Outcome:
        headers = self._headers | {"Content-Type": media_type, "Idempotency-Key": quote(key, safe="/")}
        try:
            answer = self._wire.post(body, {"User-Agent": "meterline", **headers})
        except NoAnswerError as error:
            return Outcome(Verdict.UNKNOWN, str(error))
        return judged(answer, attempt=batch.attempt, now_ns=self.context.clock.now_ns())

    def close(self) -> None:
        """
        Close the connection.
        """
        self._wire.close()


def _is_enough(outcomes: Sequence[Outcome]) -> bool:
    """
    Say whether to stop: no answer, a wish to be left alone, or nothing but refusals for now.
    """
    last = outcomes[-1]
    refused = [outcome.verdict is Verdict.RETRY for outcome in outcomes[-FRUITLESS:]]
    return (
        last.verdict is Verdict.UNKNOWN or bool(last.retry_after_secs) or (len(refused) == FRUITLESS and all(refused))
    )
