"""
A message's way from bytes to bodies: read, inflated under one cap, transcoded. On a decoding thread when it is large.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from meterline.api import Principal, RetryableError, TooLargeError, UndecodableError
from meterline.encodings.events.fields import first_text
from meterline.encodings.events.logs import UID
from meterline.encodings.forward import Message, read
from meterline.encodings.forward_logs import Options, log_bodies
from meterline.poison import CONDEMNED, Poison
from meterline.receivers.fluent_forward.config import FluentForwardConfig
from meterline.serving.codecs import decompress
from meterline.serving.poison import quarantined_whole
from meterline.serving.seam import Decoded

_AMPLIFICATION = 2  # tiny events grow on their way to OTLP; what grows more is made for it
_IDS: Final = (UID, "event.id")  # as the receiver `json` looks for them
_EXPECTED = (UndecodableError, TooLargeError, RetryableError)


@dataclass(frozen=True, slots=True)
class Work:
    """
    A decoded message: what its sender waits for (b"" = nothing), and what is to be stored. Empty for a heartbeat.
    """

    acknowledgement: bytes = b""
    decoded: Decoded = field(default_factory=Decoded)


class Decoder:
    """
    Decodes the messages of one receiver. Any thread.
    """

    def __init__(self, config: FluentForwardConfig) -> None:
        self._config = config
        self._ids = (config.id_field,) if config.id_field else _IDS
        self._poison = Poison()

    def decode(
        self, data: bytes, principal: Principal, tenant: str, received_at: int, admit: Callable[[int], None]
    ) -> Work:
        """
        Return what is to be stored of a message. ``admit`` is told of what decompression makes, and may refuse by raising.

        :raises UndecodableError: it is none of the protocol's.
        :raises TooLargeError: it is over max_request_bytes when inflated.
        :raises OverloadedError: ``admit`` refused.
        :raises Exception: a defect; the third time the message is decoded into a reject of all of it.
        """
        message = read(data)
        if message is None:
            return Work()
        acknowledgement = message.acknowledgement if message.chunk else b""
        try:
            return Work(acknowledgement, self._bodies(message, tenant, received_at, admit))
        except _EXPECTED:
            raise
        except Exception as error:
            if self._poison.blame(principal.name, data, error) >= CONDEMNED:
                return Work(acknowledgement, quarantined_whole(data, error))
            raise

    def _bodies(self, message: Message, tenant: str, received_at: int, admit: Callable[[int], None]) -> Decoded:
        config, entries = self._config, message.entries
        if message.compression:
            entries = decompress(message.compression, [entries], config.max_request_bytes, admit)
        options = Options(
            max_event_bytes=config.max_event_bytes,
            max_bytes=_AMPLIFICATION * config.max_request_bytes,
            received_at=received_at if config.missing_timestamp == "received" else 0,
            resource={"tenant.id": tenant} if tenant else None,
            attributes_of=self._own_id,
        )
        return Decoded(log_bodies(message, entries, options))

    def _own_id(self, record: Mapping[str, Any]) -> Mapping[str, Any]:
        """
        Return the attribute of an event that has an id of its own.
        """
        uid = first_text(record, self._ids)
        return {UID: uid} if uid else {}
