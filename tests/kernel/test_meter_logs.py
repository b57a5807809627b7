"""
Log records: three identities, quantities, bodies, and claim by claim refusals.
"""

from collections.abc import Callable
from typing import Any

import pytest

from meterline.api.receiver import Principal
from meterline.kernel.reasons import Reason
from meterline.kernel.seam import Charge, LogIdentity, MeterOptions
from meterline.testing.kernel import SECOND, KernelHarness
from meterline.testing.otlp import Logs
from meterline.testing.rules import SimpleRule

Make = Callable[..., KernelHarness]

EVENT = ("attributes", "event.id")


def rule(name: str = "r", **fields: Any) -> SimpleRule:
    """A rule on logs; by default told apart by event.id."""
    fields.setdefault("identity", EVENT)
    return SimpleRule(name, None, dimension=name, charge=Charge("", None, None, **fields))


def event(number: int, **attributes: Any) -> dict[str, Any]:
    """Attributes of one event of acme."""
    return {"customer.id": "acme", "event.id": number} | attributes


def reasons(h: KernelHarness) -> list[Reason]:
    """The reasons of all quarantine entries."""
    return [entry.reason for entry in h.quarantine]


@pytest.mark.parametrize("how", ["frames", "snapshot"])
def test_selected_identity(harness: Make, how: str) -> None:
    """An event counts once, whatever else the line says, whenever it comes again."""
    h = harness(rule())
    h.logs(Logs().record(100, "a", event(1)).record(100, "b", event(2)))
    h.restart(how)
    assert h.logs(Logs().record(101, "c", event(1))).duplicate == 1
    assert h.logs(Logs().record(101, "c", event("1"))).recorded == 1
    assert h.values() == {"acme": "3"}
    assert all(record.start_timestamp is None and record.source.stream is None for record in h.records())


@pytest.mark.parametrize("how", ["frames", "snapshot"])
def test_conflict(harness: Make, how: str) -> None:
    """The same identity with another quantity is disputed, once, also when a restart falls between."""
    h = harness(rule(value=("attributes", "bytes")))
    h.logs(Logs().record(100, None, event(1, bytes=5)))
    h.logs(Logs().record(200, None, event(1, bytes=6)))
    h.restart(how)
    assert h.logs(Logs().record(200, None, event(1, bytes=6))).duplicate == 1
    assert h.logs(Logs().record(100, None, event(1, bytes=5))).duplicate == 1
    assert (reasons(h), h.values()) == ([Reason.CONFLICT], {"acme": "5"})


def test_content_identity(harness: Make) -> None:
    """Equal lines of one request both count; the request again, or one of its lines alone, does not."""
    h = harness(rule(identity=LogIdentity.CONTENT))
    twice = Logs().record(100, "a").record(100, "a")
    assert h.logs(twice).recorded == 2
    assert h.logs(twice).duplicate == 2
    assert h.logs(Logs().record(100, "a")).duplicate == 1
    assert h.logs(Logs().record(100, "a", observed_time_unix_nano=5)).duplicate == 1
    assert h.logs(Logs().record(100, "b").record(101, "a").record(100, "a", event_name="e")).recorded == 3


@pytest.mark.parametrize("how", ["frames", "snapshot"])
def test_no_identity(harness: Make, how: str) -> None:
    """Without identity only a repeat of the whole request is known."""
    h = harness(rule(identity=LogIdentity.NONE))
    body = Logs().record(100, "a").record(100, "a")
    assert h.logs(body).recorded == 2
    h.restart(how)
    assert h.logs(body).duplicate == 2
    assert h.logs(Logs().record(100, "a")).recorded == 1
    assert h.meter.counters()["dedupe_ids"] == 0


QUANTITIES = [
    (5, "5"),
    (2.5, "2.5"),
    ("12.25", "12.25"),
    ("x", Reason.NOT_A_NUMBER),
    (True, Reason.NOT_A_NUMBER),
    (float("nan"), Reason.NOT_A_NUMBER),
    (-1, Reason.NEGATIVE_VALUE),
    ("1" * 25, Reason.OUT_OF_RANGE),
    (None, Reason.NOT_A_NUMBER),
]


@pytest.mark.parametrize(("value", "expected"), QUANTITIES)
def test_quantities(harness: Make, value: Any, expected: Any) -> None:
    """A quantity is a number or the text of one."""
    h = harness(rule(value=("attributes", "n")))
    h.logs(Logs().record(100, None, event(1) | ({} if value is None else {"n": value})))
    got = reasons(h)[0] if reasons(h) else h.values()["acme"]
    assert got == expected


def test_bodies(harness: Make) -> None:
    """Quantities stand in structured bodies, and in texts that are JSON, exactly."""
    h = harness(rule("map", value=("body", "usage", "n")), rule("json", value=("body_json", "usage", "n")))
    h.logs(Logs().record(100, {"usage": {"n": 7}}, event(1)))
    h.logs(Logs().record(100, '{"usage": {"n": 0.100000000000000001}}', event(2)))
    assert h.values(lambda record: record.rule) == {"map": "7", "json": "0.100000000000000001"}
    assert reasons(h) == [Reason.NOT_A_NUMBER] * 2


@pytest.mark.parametrize("body", ['{"usage": "\\ud800"}', '{"\\uDFFF": 1, "usage": {"n": 1}}', '{"a": [["\\udc00x"]]}'])
def test_half_a_character_in_a_json_body(harness: Make, body: str) -> None:
    """JSON can write half a surrogate pair, which is no text: quarantined as such; a whole pair is one."""
    h = harness(rule(value=("body_json", "usage", "n")))
    h.logs(Logs().record(100, body, event(1)))
    assert reasons(h) == [Reason.BAD_UTF8]
    h.logs(Logs().record(100, '{"usage": {"n": 2, "a": "\\ud83d\\ude00"}}', event(2)))
    assert h.values() == {"acme": "2"}


@pytest.mark.parametrize(
    ("attributes", "reason"),
    [
        ({"customer.id": "acme"}, Reason.MISSING_IDENTITY),
        ({"customer.id": "acme", "event.id": ""}, Reason.MISSING_IDENTITY),
        ({"event.id": 5}, Reason.MISSING_IDENTITY_CUSTOMER),
    ],
)
def test_missing_identity(harness: Make, attributes: dict[str, Any], reason: Reason) -> None:
    """A record that cannot be told from its repeat is quarantined raw for that rule; its resend is a duplicate."""
    h = harness(rule())
    assert h.logs(Logs().record(100, None, attributes)).quarantined == 1
    assert h.logs(Logs().record(100, None, attributes)).duplicate == 1
    assert reasons(h) == [reason]


def test_claim_by_claim(harness: Make) -> None:
    """A forbidden customer holds up its own claim; the other rule's claim on the same record passes."""
    mine = SimpleRule("mine", None, dimension="m", charge=Charge("", None, None, identity=EVENT))
    theirs = SimpleRule("theirs", None, "owner", "t", charge=Charge("", None, None, identity=EVENT))
    h = harness(mine, theirs)
    body = Logs().record(100, None, event(1, owner="zeta"))
    applied = h.logs(body, principal=Principal("p", ("acme",)))
    assert (applied.recorded, reasons(h)) == (1, [Reason.FORBIDDEN_CUSTOMER])
    assert h.balance("claims") == 2
    assert h.values() == {"acme": "1"}


def test_times(harness: Make) -> None:
    """The event's time counts, or when it was observed; without both, or too far away, it is quarantined."""
    h = harness(rule())
    h.logs(Logs().record(0, None, event(1), observed_time_unix_nano=300 * SECOND))
    h.logs(Logs().record(0, None, event(2)))
    h.logs(Logs().record(9000, None, event(3)))
    assert [record.timestamp for record in h.records()] == [300 * SECOND]
    assert reasons(h) == [Reason.TIME_MISSING, Reason.TIME_IN_FUTURE]


def test_beyond_the_horizon(harness: Make) -> None:
    """An event older than what was forgotten is not guessed about."""
    h = harness(rule(), options=MeterOptions(max_dedupe_ids=2))
    for number in range(4):
        h.logs(Logs().record(100 + number, None, event(number)))
    assert h.logs(Logs().record(100, None, event(0))).quarantined == 1
    assert reasons(h) == [Reason.BEYOND_DEDUPE_HORIZON]


def test_bad_texts(harness: Make) -> None:
    """Bad UTF-8 costs a record only where the rule or the content identity reads it."""
    body = bytes(Logs().record(100, "BODY", event(1))).replace(b"BODY", b"\xff\xfe!!")
    selected = harness(rule())
    assert selected.logs(body).recorded == 1
    content = harness(rule(identity=LogIdentity.CONTENT))
    assert content.logs(body).quarantined == 1
    assert reasons(content) == [Reason.BAD_UTF8]


def test_totals_are_by_the_instant(harness: Make) -> None:
    """An instant on the hour belongs to the hour that begins."""
    h = harness(rule())
    h.received_at = 4000 * SECOND
    h.logs(Logs().record(3600, None, event(1)), commit=False)
    (row,) = h.meter.totals()
    assert (row.customer, row.hour, row.value, row.count) == ("acme", 3600 * SECOND, 10**30, 1)
