"""
Random histories of told usage and rejects, with rollbacks and restarts between, against a model of a few dictionaries.
"""

import copy
import random
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import pytest

from meterline.api.receiver import Format, Principal
from meterline.encodings.rejects import Reject, rejects
from meterline.encodings.usage import UsageItem, usage_body
from meterline.testing.kernel import SECOND, KernelHarness

Make = Callable[..., KernelHarness]

RECEIVED = 1000 * SECOND
SENDERS = (Principal("a"), Principal("b"), Principal("b", customers=("x",)))
BAD = {"abc": "not_a_number", "-1": "negative_value", "": "no_value", "1" + "0" * 20: "out_of_range"}


@dataclass
class Model:
    """
    What must become of items. ``records``: content by identity; ``held``: what has an open entry, by sender's name.
    """

    records: dict[Any, tuple[Any, Decimal]] = field(default_factory=dict)
    conflicts: set[Any] = field(default_factory=set)
    held: set[Any] = field(default_factory=set)

    def tell(self, items: Sequence[UsageItem], sender: Principal) -> list[tuple[str, str]]:
        """
        Return outcome and reason of each item.
        """
        seen: Counter[Any] = Counter()
        return [self._one(item, sender, seen) for item in items]

    def _one(self, item: UsageItem, sender: Principal, seen: Counter[Any]) -> tuple[str, str]:
        place = (sender.name, _frozen(item))
        reason = _fault(item)
        if reason is None:
            said = _said(item)
            k = seen[said]
            seen[said] += not item.idempotency_key
            if sender.customers is not None and item.customer_id not in sender.customers:
                reason = "forbidden_customer"
        if reason is not None:
            self.held.add(place)
            return "quarantined", reason
        if place in self.held:
            return "quarantined", ""
        identity = (item.customer_id, item.idempotency_key) if item.idempotency_key else (said, k)
        if identity not in self.records:
            value = Decimal(item.record_value)
            self.records[identity] = (said, value)
            return ("recorded", "") if value else ("no_usage", "")
        if self.records[identity][0] == said:
            return "duplicate", ""
        self.conflicts.add((identity, said))
        return "quarantined", "conflict"

    def sums(self) -> dict[str, Decimal]:
        """
        Return what each customer has.
        """
        sums: defaultdict[str, Decimal] = defaultdict(Decimal)
        for (customer, *_), value in self.records.values():
            sums[customer] += value
        return {customer: value for customer, value in sums.items() if value}


def _frozen(item: UsageItem) -> Any:
    return item._replace(metadata=tuple(sorted(item.metadata.items())))  # type: ignore[arg-type]


def _said(item: UsageItem) -> Any:
    """
    Return the content: equal values are equal however they are written, and the key is no part of it.
    """
    metadata = tuple(sorted(item.metadata.items()))
    return item.customer_id, item.dimension_id, Decimal(item.record_value), item.timestamp, metadata


def _fault(item: UsageItem) -> str | None:
    return BAD.get(item.record_value) or (None if item.timestamp else "time_missing")


def _items(rng: random.Random) -> list[UsageItem]:
    return [
        UsageItem(
            rng.choice("xy"),
            rng.choice("de"),
            rng.choice(["1", "1.0", "2", "0", "0.5", *BAD]) if rng.random() < 0.7 else str(rng.randrange(5)),
            rng.choice([100, 100, 200, 0]) * SECOND,
            rng.choice([{}, {}, {"a": "b", "c": "d"}, {"c": "d", "a": "b"}]),
            rng.choice(["", "", "k", "l"]),
        )
        for _ in range(rng.randrange(1, 6))
    ]


@pytest.mark.parametrize("round_", range(25))
def test_random_histories(harness: Make, rng: random.Random, round_: int) -> None:
    """After any history each answer, the records, the totals and the balance are the model's."""
    del round_
    h, model = harness(), Model()
    for _ in range(40):
        before = copy.deepcopy(model)
        items, sender = _items(rng), rng.choice(SENDERS)
        commit = rng.random() < 0.85
        applied = h.send(usage_body(items).data, Format.USAGE, principal=sender, commit=commit)
        assert [(each.outcome, each.reason) for each in applied.items] == model.tell(items, sender)
        if not commit:
            h.meter.rollback(len(h.frames) + 1)
            model = before
        elif rng.random() < 0.2:
            h.restart(rng.choice(["frames", "snapshot"]))
    _judge(h, model)


def _judge(h: KernelHarness, model: Model) -> None:
    assert {customer: Decimal(value) for customer, value in h.values().items()} == model.sums()
    h.restart("frames")
    totals: defaultdict[str, Decimal] = defaultdict(Decimal)
    for (customer, _, _), (value, _) in h.totals.items():
        totals[customer] += Decimal(value).scaleb(-30)
    assert dict(totals) == model.sums()
    assert len(h.quarantine) == len(model.held) + len(model.conflicts)
    assert h.balance("quarantined") == len(h.quarantine)


def test_random_rejects(harness: Make, rng: random.Random) -> None:
    """After any history each item of each sender has one entry, and no more."""
    h = harness()
    held: set[tuple[str, bytes, str]] = set()
    for _ in range(150):
        before = set(held)
        sender = rng.choice(SENDERS)
        items = [
            Reject(
                rng.choice(["undecodable_item", "unsupported_item"]), "x", bytes([rng.randrange(12)]), rng.choice("jm")
            )
            for _ in range(rng.randrange(1, 4))
        ]
        new = {(sender.name, item.item, item.encoding) for item in items} - held
        held |= new
        commit = rng.random() < 0.8
        applied = h.send(rejects(items)[0].data, Format.REJECTS, principal=sender, commit=commit)
        assert (applied.quarantined, applied.duplicate) == (len(new), len(items) - len(new))
        if not commit:
            h.meter.rollback(len(h.frames) + 1)
            held = before
        elif rng.random() < 0.2:
            h.restart(rng.choice(["frames", "snapshot"]))
    assert len(h.quarantine) == len(held)
