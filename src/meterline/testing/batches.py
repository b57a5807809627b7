"""
Made-up records and batches of them, for exporters' tests that need no ledger.
"""

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from meterline.api import Quantity, Source, UsageRecord
from meterline.clock import NANOS
from meterline.testing.rig import record_json

_SOME_DAY = 1_770_000_000


@dataclass(frozen=True)
class FixedBatch:
    """
    An ``api.Batch`` of given records. It encodes NDJSON only.
    """

    records: Sequence[UsageRecord]
    number: int = 1
    attempt: int = 1
    owner: str = "ledger/exporter"

    @property
    def id(self) -> str:
        """
        Return the batch id.
        """
        return f"{self.owner}/{self.number}"

    def encode(self, fmt: Literal["ndjson", "csv"]) -> bytes:
        """
        Return the records as lines of JSON.
        """
        assert fmt == "ndjson", "FixedBatch encodes NDJSON only"
        lines = (json.dumps(record_json(record), ensure_ascii=False, separators=(",", ":")) for record in self.records)
        return "".join(f"{line}\n" for line in lines).encode()

    def __len__(self) -> int:
        return len(self.records)


def some_records(rng: random.Random, count: int, values: Sequence[str] = ()) -> list[UsageRecord]:
    """
    Return records that differ in all fields; their values in turn are ``values``, or at random with up to 30 places.
    """
    return [_some_record(rng, values[n % len(values)] if values else _some_value(rng)) for n in range(count)]


def _some_value(rng: random.Random) -> str:
    units = rng.choice((rng.randrange(10**50), rng.randrange(10**6) * 10**30, -rng.randrange(10**30)))
    return str(Quantity(units))


def _some_record(rng: random.Random, value: str) -> UsageRecord:
    timestamp = (_SOME_DAY + rng.randrange(10**6)) * NANOS + rng.randrange(NANOS)
    window = rng.random() < 0.5
    return UsageRecord(
        id=f"{rng.getrandbits(128):032x}",
        customer_id=rng.choice(("acme", "ümläut", 'q"uo\\te', "1")),
        dimension_id=rng.choice(("calls", "gb hours")),
        value=Quantity.parse(value),
        timestamp=timestamp,
        start_timestamp=timestamp - rng.randrange(1, 60 * NANOS) if window else None,
        metadata={"route": "/v1/\u2028", "n": str(rng.random())} if rng.random() < 0.5 else {},
        rule="calls",
        kind="usage",
        source=Source("otlp", f"{rng.getrandbits(128):032x}" if window else None, "anonymous", "ab" * 16),
    )
