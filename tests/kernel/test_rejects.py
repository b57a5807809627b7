"""
Rejects: items of which no point could be made end in raw quarantine, each once.
"""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meterline.api.receiver import Format, Principal
from meterline.encodings.rejects import Reject, rejects
from meterline.errors import UndecodableError
from meterline.kernel import load_kernel
from meterline.kernel.framing import decode_frame
from meterline.kernel.reasons import Reason
from meterline.testing.kernel import KernelHarness, Restart

Make = Callable[..., KernelHarness]


def body(*items: Reject) -> bytes:
    """The body that carries these."""
    (made,) = rejects(items)
    assert made.fmt is Format.REJECTS
    return made.data


def one(reason: str = "undecodable_item", item: bytes = b"{", encoding: str = "json") -> Reject:
    """One reject."""
    return Reject(reason, "it ends too early", item, encoding)


@pytest.mark.parametrize("how", ["frames", "snapshot"])
def test_each_item_is_an_entry_once(harness: Make, how: Restart) -> None:
    """Each item opens one raw entry of its reason, and a resend, after a restart too, is a duplicate."""
    h = harness()
    sent = body(one(), one("unsupported_item", b"\x00\xff", "msgpack"))
    applied = h.send(sent, Format.REJECTS)
    assert (applied.points, applied.quarantined) == (2, 2)
    assert applied.reasons == {Reason.UNDECODABLE_ITEM: 1, Reason.UNSUPPORTED_ITEM: 1}
    h.restart(how)
    assert h.send(sent, Format.REJECTS).duplicate == 2
    assert [(e.kind, e.reason, e.rule, e.detail) for e in h.quarantine] == [
        ("raw", Reason.UNDECODABLE_ITEM, "", "it ends too early"),
        ("raw", Reason.UNSUPPORTED_ITEM, "", "it ends too early"),
    ]
    assert {len(e.key) for e in h.quarantine} == {16}
    assert (h.balance("received"), h.balance("quarantined"), h.balance("duplicate"), h.records()) == (4, 2, 2, [])


def test_the_frame_keeps_the_bytes(harness: Make) -> None:
    """What is in the frame is a body of the same format again, with the bytes and their encoding."""
    h = harness()
    h.send(body(one(), one("not_a_number", b"\xc1\x00", "msgpack")), Format.REJECTS)
    rows = decode_frame(h.frames[0].body).quarantine
    assert [row.format for row in rows] == ["rejects", "rejects"]
    assert [row.payload for row in rows] == [body(one()), body(one("not_a_number", b"\xc1\x00", "msgpack"))]


def test_who_sent_and_in_what_encoding_tell_items_apart(harness: Make) -> None:
    """The same bytes of another principal or in another encoding are another item; another reason makes none."""
    h = harness()
    assert h.send(body(one()), Format.REJECTS).quarantined == 1
    assert h.send(body(one(encoding="msgpack")), Format.REJECTS).quarantined == 1
    assert h.send(body(one()), Format.REJECTS, principal=Principal("other")).quarantined == 1
    assert h.send(body(one("unsupported_item")), Format.REJECTS).duplicate == 1


@pytest.mark.parametrize("code", ["no_such_reason", "decrease", "missing_customer", "", "\ud800"])
def test_a_reason_of_no_raw_entry(harness: Make, code: str) -> None:
    """A code that is unknown, or of another kind of entry, stands as undecodable_item."""
    h = harness()
    h.send(body(one(code)), Format.REJECTS)
    assert [entry.reason for entry in h.quarantine] == [Reason.UNDECODABLE_ITEM]


def test_rollback(harness: Make) -> None:
    """After a rollback the item is new again."""
    h = harness()
    h.send(body(one()), Format.REJECTS, commit=False)
    h.meter.rollback(1)
    assert h.send(body(one()), Format.REJECTS).quarantined == 1


@given(data=st.binary(max_size=60))
def test_any_bytes(data: bytes) -> None:
    """Any bytes are a body that is applied, or undecodable; nothing else comes out."""
    h = KernelHarness(load_kernel("python"))
    try:
        h.send(data, Format.REJECTS)
    except UndecodableError:
        return
    assert h.balance("received") == h.balance("quarantined") + h.balance("duplicate")


@pytest.mark.parametrize("data", [b"\x0a\x05", b"\x0a\x02\x0a\x05", b"\x07", b"\xff"])
def test_broken_structure(harness: Make, data: bytes) -> None:
    """Broken protobuf refuses the whole body."""
    with pytest.raises(UndecodableError):
        harness().send(data, Format.REJECTS)
