"""
Records of a frame in columns, and each as JSON, CSV, object or part of a total.

Delivery costs more than intake unless this is fast: what records share is text already (``kernel.text``), and a line of JSON
costs about a microsecond, a third of it the hash that is its id.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final, TypeAlias

from meterline.kernel import record_ids
from meterline.kernel.record_ids import pack_times
from meterline.kernel.text import ChargeText, SourceText, Times
from meterline.quantity import AMOUNT_ONE, Quantity
from meterline.records import Source, UsageRecord

HOUR: Final = 3600 * 10**9


class Entry:
    """
    A charge of a meter: what all of its records share. ``prefix``: of the hash, between the rule and (start, time).
    """

    __slots__ = ("charge", "prefix", "stream")

    def __init__(self, charge: ChargeText, stream: bytes, prefix: bytes) -> None:
        self.charge = charge
        self.prefix = prefix
        self.stream = f'"{stream.hex()}"' if stream else "null"

    @property
    def identity(self) -> bytes:
        """
        Return the stream's identity: it stands in the prefix, after its length.
        """
        return self.prefix[4:20]

    def id(self, start: int, time: int, amount: int, scale: int) -> str:
        """
        Return the id of a record of a fast row.
        """
        if 0 < start < time:
            digest = self.charge.hash.copy()
            digest.update(self.prefix + pack_times(start, time))
            return str(digest.hexdigest())
        units = amount if scale else amount * AMOUNT_ONE
        return self.slow_id(record_ids.instant_window(time, units, 0))

    def slow_id(self, window: bytes) -> str:
        """
        Return the id of a record by its window.
        """
        return record_ids.record_id(self.charge.rule, self.identity, window).hex()


Entries: TypeAlias = tuple[Entry, ...]


class Segment:
    """
    Records in columns that have their scale and source in common. ``ids`` None: they follow from the rest.
    """

    __slots__ = ("amounts", "entries", "first", "ids", "scale", "source", "starts", "times")

    def __init__(self, scale: int, source: SourceText, ids: list[str] | None = None) -> None:
        self.first = 0
        self.scale = scale
        self.source = source
        self.ids = ids
        self.entries: Sequence[Entry] = []
        self.starts: Sequence[int] = []
        self.times: Sequence[int] = []
        self.amounts: Sequence[int] = []

    def __len__(self) -> int:
        return len(self.entries)

    def id(self, at: int) -> str:
        """
        Return the id of the record at this place.
        """
        if self.ids is not None:
            return self.ids[at]
        return self.entries[at].id(self.starts[at], self.times[at], self.amounts[at], self.scale)

    def ndjson(self, places: Sequence[int], times: Times) -> Iterator[str]:
        """
        Yield records as JSON lines; keys in the order of the documented interface.
        """
        ids, entries, starts, ends, amounts = self.ids, self.entries, self.starts, self.times, self.amounts
        scale, before, after = self.scale, self.source.json_before, self.source.json_after
        for at in places:
            entry, start, end, amount = entries[at], starts[at], ends[at], amounts[at]
            charge = entry.charge
            # what Entry.id does, without the call: one record in two is a call's cost
            if ids is None and 0 < start < end:
                digest = charge.hash.copy()
                digest.update(entry.prefix + pack_times(start, end))
                name = digest.hexdigest()
            else:
                name = self.id(at)
            value = str(amount) if charge.plain and not scale else charge.value(amount, scale)
            began = f'"{times[start]}"' if start else "null"
            yield (
                f'{{"id":"{name}{charge.json_middle}{value}","timestamp":"{times[end]}","start_timestamp":{began}'
                f"{charge.json_tail}{before}{entry.stream}{after}"
            )

    def csv(self, places: Iterable[int], times: Times) -> Iterator[str]:
        """
        Yield records as RFC 4180 lines, same columns; metadata and source as JSON.
        """
        before, after = self.source.csv_before, self.source.csv_after
        for at in places:
            entry, start = self.entries[at], self.starts[at]
            charge = entry.charge
            value = charge.value(self.amounts[at], self.scale)
            began = times[start] if start else ""
            stream = entry.stream.replace('"', '""')
            yield (
                f"{self.id(at)}{charge.csv_middle}{value},{times[self.times[at]]},{began}"
                f"{charge.csv_tail}{before}{stream}{after}"
            )

    def record(self, at: int) -> UsageRecord:
        """
        Build one record.
        """
        entry, source = self.entries[at], self.source
        charge = entry.charge
        return UsageRecord(
            id=self.id(at),
            customer_id=charge.customer,
            dimension_id=charge.dimension,
            value=Quantity(charge.units(self.amounts[at], self.scale)),
            timestamp=self.times[at],
            start_timestamp=self.starts[at] or None,
            metadata=charge.metadata,
            rule=charge.rule,
            kind=charge.kind,
            source=Source(source.receiver, entry.identity.hex() or None, source.principal, source.rules_hash),
        )

    def add_totals(self, totals: dict[tuple[ChargeText, int], list[int]]) -> None:
        """
        Add amounts (10^-18, not scaled yet) and counts by charge and hour.
        """
        unit = 1 if self.scale else AMOUNT_ONE
        for entry, start, time, amount in zip(self.entries, self.starts, self.times, self.amounts, strict=True):
            hour = (time - 1 if 0 < start < time else time) // HOUR
            total = totals.get((entry.charge, hour))
            if total is None:
                totals[entry.charge, hour] = [amount * unit, 1]
            else:
                total[0] += amount * unit
                total[1] += 1
