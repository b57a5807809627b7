"""
A batch as the engine hands it to an exporter: fixed records, built or encoded when they are asked for.
"""

import json
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Literal, NamedTuple

from meterline.kernel.seam import RecordBatch
from meterline.ledger.deliveries import BatchRow, Position
from meterline.records import UsageRecord

Format = Literal["ndjson", "csv"]


class Part(NamedTuple):
    """
    What a batch has of one frame: never empty.
    """

    seq: int
    committed_at: int
    records: RecordBatch
    ordinals: Sequence[int]

    def encode(self, fmt: Format) -> bytes:
        """
        Return all records as lines; kept for the next call in the same format.
        """
        """
        Return these records as lines.
        """
        return self.records.encode(fmt, self.ordinals)


class StoredBatch:
    """
    The ``api.Batch`` of a batch row: byte-identical at every attempt, since frames never change.
    """

    def __init__(
        self, owner: str, row: BatchRow, parts: Sequence[Part], encoded: tuple[Format, bytes] | None = None
    ) -> None:
        """
        Take ``<ledger id>/<exporter name>``, the row, its records, and their encoding if planning made it.
        """
        self.row = row
        self.parts = parts
        self.asked_for: Format | None = None
        self._owner = owner
        self._encoded = encoded
        self._records: list[UsageRecord] | None = None

    @property
    def id(self) -> str:
        """
        Return ``<ledger id>/<exporter name>/<batch number>``.
        """
        return f"{self._owner}/{self.row.number}"

    @property
    def number(self) -> int:
        """
        Return the batch number.
        """
        return self.row.number

    @property
    def attempt(self) -> int:
        """
        Return 1 at the first send.
        """
        return self.row.attempt

    @property
    def records(self) -> Sequence[UsageRecord]:
        """
        Return the records; built once.
        """
        if self._records is None:
            self._records = [part.records.record(ordinal) for part in self.parts for ordinal in part.ordinals]
        return self._records

    def encode(self, fmt: Format) -> bytes:
        """
        Return all records as lines; kept for the next call in the same format.
        """
        self.asked_for = fmt
        if self._encoded is None or self._encoded[0] != fmt:
            self._encoded = (fmt, b"".join(part.encode(fmt) for part in self.parts))
        return self._encoded[1]

    def __len__(self) -> int:
        return self.row.count

    def places(self) -> Iterator[tuple[Part, int]]:
        """
        Yield (part, ordinal) of every record, in order.
        """
        return ((part, ordinal) for part in self.parts for ordinal in part.ordinals)


def ordinals_text(positions: Sequence[Position]) -> str:
    """
    Return positions as the JSON that a batch row stores: ``[[seq, [ordinal, ...]], ...]``.
    """
    grouped = groupby(positions, key=lambda position: position.seq)
    return json.dumps([[seq, [each.ordinal for each in group]] for seq, group in grouped], separators=(",", ":"))


def ordinals_of(text: str) -> list[tuple[int, list[int]]]:
    """
    Read what ``ordinals_text`` wrote.
    """
    return [(seq, ordinals) for seq, ordinals in json.loads(text)]
