"""
The verdict on a run, in Jepsen's classes, by the intents of the senders and what was found at the end.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple

from meterline.testing.sender import Journal
from meterline.testing.workload import Effect, Key

SHOWN = 20


class Found(NamedTuple):
    """
    One record as it was found: its id, what it is about, and its value.
    """

    id: str
    key: Key
    value: Decimal


class Intents(NamedTuple):
    """
    All effects that were sent, by key; those whose request was answered; those with a try that had no answer.
    """

    effects: dict[Key, Effect]
    answered: set[Key]
    doubtful: set[Key]


@dataclass(frozen=True, slots=True)
class Verdict:
    """
    ``lost``: answered, not found. ``duplicated``: found twice. ``unexpected``: found, never sent, or with another
    value. ``recovered``: sent without an answer at least once, and found exactly once. ``ok``: answered and found
    exactly once.
    """

    where: str
    seed: int
    ok: int
    recovered: int
    lost: tuple[str, ...]
    duplicated: tuple[str, ...]
    unexpected: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """
        Say whether nothing was lost, doubled or invented.
        """
        return not (self.lost or self.duplicated or self.unexpected)

    def __str__(self) -> str:
        counts = f"{self.where}, seed {self.seed}: {self.ok} ok, {self.recovered} recovered"
        parts = [counts]
        for name in ("lost", "duplicated", "unexpected"):
            offenders: tuple[str, ...] = getattr(self, name)
            shown = "".join(f"\n  {name}: {offender}" for offender in offenders[:SHOWN])
            parts.append(f", {len(offenders)} {name}{shown}")
        return "".join(parts)


def found_record(data: dict[str, Any]) -> Found:
    """
    Read a record from its JSON form.
    """
    key = (data["customer_id"], data["dimension_id"], nanoseconds(data["timestamp"]))
    return Found(data["id"], key, Decimal(data["value"]))


def nanoseconds(text: str) -> int:
    """
    Parse the one time format of records: RFC 3339, UTC, nine decimals. Raises ValueError for any other.
    """
    if len(text) != len("2026-01-01T00:00:00.000000000Z") or text[19] != "." or not text.endswith("Z"):
        raise ValueError(f"reading time {text!r}: not RFC 3339 with nine decimals and Z")
    return int(datetime.fromisoformat(text[:19] + "+00:00").timestamp()) * 10**9 + int(text[20:29])


def judge(where: str, seed: int, journals: Sequence[Journal], found: Iterable[Found]) -> Verdict:
    """
    Compare all that was sent with all that was found. What was never answered may be there or not.
    """
    intents: dict[Key, Effect] = {}
    answered: set[Key] = set()
    doubtful: set[Key] = set()
    for sent in (sent for journal in journals for sent in journal.entries):
        keys = {effect.key for effect in sent.request.effects}
        intents.update((effect.key, effect) for effect in sent.request.effects)
        if sent.answered:
            answered |= keys
        if sent.unanswered:
            doubtful |= keys
    return _classify(where, seed, Intents(intents, answered, doubtful), list(found))


def sums_sent(journals: Sequence[Journal]) -> dict[tuple[str, str], Decimal]:
    """
    Add up by customer and dimension what was answered.
    """
    totals: dict[tuple[str, str], Decimal] = {}
    for effect in (effect for journal in journals for sent in journal.answered() for effect in sent.request.effects):
        key = (effect.customer, effect.dimension)
        totals[key] = totals.get(key, Decimal(0)) + effect.value
    return totals


def _classify(where: str, seed: int, intents: Intents, found: list[Found]) -> Verdict:
    ids = Counter(record.id for record in found)
    keys = Counter(record.key for record in found)
    wrong = [record for record in found if not _intended(intents.effects.get(record.key), record)]
    twice = [record for record in found if ids[record.id] > 1 or keys[record.key] > 1]
    bad = {record.key for record in wrong} | {record.key for record in twice}
    good = [record.key for record in found if record.key not in bad]
    return Verdict(
        where=where,
        seed=seed,
        ok=sum(key not in intents.doubtful for key in good),
        recovered=sum(key in intents.doubtful for key in good),
        lost=tuple(_named(intents.effects[key]) for key in intents.answered if key not in keys),
        duplicated=tuple(sorted({str(record) for record in twice})),
        unexpected=tuple(str(record) for record in wrong),
    )


def _intended(effect: Effect | None, record: Found) -> bool:
    return effect is not None and effect.value == record.value


def _named(effect: Effect) -> str:
    return f"{effect.customer}/{effect.dimension} at {effect.time}: {effect.value}"
