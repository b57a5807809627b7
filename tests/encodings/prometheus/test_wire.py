"""
The wire forms of both versions: order of fields, references, what is broken.
"""

import struct
from typing import Any

import pytest

from meterline.api import UndecodableError
from meterline.encodings import prometheus_series
from meterline.encodings.prometheus_read import read_v1, read_v2
from meterline.encodings.prometheus_series import SeriesReader
from meterline.testing.remote_write import (
    Written,
    field,
    histogram,
    request_v1,
    request_v2,
    sample,
    varint,
)

MS = 1_795_346_017_935
LABELS = {"__name__": "calls_total", "customer": "acme"}


def test_fields_in_any_order_and_unknown_ones() -> None:
    """
    Labels after samples, a value after its time, fields that we do not know: the same series.
    """
    label = field(1, field(1, "__name__") + field(2, "a_total"))
    value = b"\x09" + struct.pack("<d", 2.0)
    turned = varint(2 << 3) + varint(MS) + value
    body = field(1, field(2, turned) + label + field(9, "x") + varint(15 << 3 | 5) + b"1234") + field(2, "x")

    (entry,) = read_v1(body, SeriesReader(None)).entries

    assert entry.series.shape.name == "a_total"
    assert [(item.value, item.moment.ms) for item in entry.samples] == [(struct.pack("<d", 2.0), MS)]


def test_samples_are_read_by_themselves_whatever_their_neighbours_look_like() -> None:
    """
    Fields in another order, a sample without time, one without anything; and one that ends within its value is broken.
    """
    turned = varint(2 << 3) + varint(MS) + b"\x09" + struct.pack("<d", 2.0)
    series = Written({"__name__": "a_total"}, [sample(1.0, MS), turned, sample(3.0, 0), b"", sample(4.0, MS)])

    (entry,) = read_v1(request_v1([series]), SeriesReader(None)).entries

    assert [(struct.unpack("<d", item.value)[0], item.moment.ms) for item in entry.samples] == [
        (1.0, MS),
        (2.0, MS),
        (3.0, 0),
        (0.0, 0),
        (4.0, MS),
    ]
    cut = Written({"__name__": "a_total"}, [sample(3.0, 0), b"\x09\x01\x02", sample(4.0, MS)])
    with pytest.raises(UndecodableError):
        read_v1(request_v1([cut]), SeriesReader(None))


def test_references_that_are_not_packed() -> None:
    """
    A list of single references is the same as a packed one.
    """
    symbols = b"".join(field(4, text) for text in ("", "__name__", "a_total"))
    refs = varint(1 << 3) + varint(1) + varint(1 << 3) + varint(2)

    (entry,) = read_v2(field(5, refs + field(2, sample(1.0, MS))) + symbols, SeriesReader(None)).entries

    assert entry.series.shape.name == "a_total"


@pytest.mark.parametrize("refs", [[1, 9], [1, 2, 1], [2**40, 2]])
def test_references_to_nothing_reject_their_series_alone(refs: list[int]) -> None:
    """
    Beyond the symbols, or odd in number.
    """
    symbols = b"".join(field(4, text) for text in ("", "__name__", "a_total"))
    good = field(5, field(1, varint(1) + varint(2)) + field(2, sample(1.0, MS)))
    bad = field(5, field(1, b"".join(map(varint, refs))) + field(2, sample(1.0, MS)))

    entries = read_v2(symbols + bad + good, SeriesReader(None)).entries

    assert [entry.series.fault is None for entry in entries] == [False, True]


def test_a_request_of_the_other_version_is_refused() -> None:
    """
    It would look like an empty one and be lost.
    """
    series = [Written(LABELS, [sample(1.0, MS)])]

    with pytest.raises(UndecodableError, match=r"2\.0 request"):
        read_v1(request_v2(series), SeriesReader(None))
    with pytest.raises(UndecodableError, match=r"1\.0 request"):
        read_v2(request_v1(series), SeriesReader(None))


@pytest.mark.parametrize("reading", [(read_v1, request_v1), (read_v2, request_v2)], ids=["v1", "v2"])
def test_a_body_that_is_cut_off_is_refused_or_shorter(reading: Any) -> None:
    """
    Cut at any byte, it is broken, or it ends between two fields of the message itself.
    """
    read, write = reading
    series = [Written({**LABELS, "n": str(n)}, [sample(1.0, MS)], [histogram(1, 1.0, MS)]) for n in range(3)]
    body = write(series)
    whole = 0
    for end in range(len(body)):
        try:
            entries = read(body[:end], SeriesReader(None)).entries
        except UndecodableError:
            continue
        whole += 1
        assert all(len(entry.samples) == 1 for entry in entries)
    assert whole < 60


def test_text_that_is_not_utf8_rejects_its_sample_alone() -> None:
    """
    Go's senders do not check their bytes; one bad label must not cost the others.
    """
    broken = request_v1([Written({**LABELS, "customer": "@@"}, [sample(1.0, MS)])]).replace(b"@@", b"\xff\xfe")

    request = read_v1(broken + request_v1([Written(LABELS, [sample(2.0, MS)])]), SeriesReader(None))

    faults = [entry.series.fault and entry.series.fault.reason for entry in request.entries]
    assert faults == ["bad_utf8", None]


def test_label_sets_that_were_not_seen_for_long_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Two generations are kept, each of so many bytes; what is asked for again stays.
    """
    monkeypatch.setattr(prometheus_series, "MAX_CACHED_BYTES", 10_000)
    reader = SeriesReader(None)
    keys = [("__name__", "a_total", "n", str(n), 0) for n in range(100)]
    rare, often = (reader.series(_key(key)) for key in keys[:2])

    for key in keys[2:]:
        reader.series(_key(key))
        assert reader.series(_key(keys[1])) is often

    assert reader.series(_key(keys[0])) is not rare


def _key(texts: tuple[str | int, ...]) -> tuple[bytes | int, ...]:
    return tuple(text.encode() if isinstance(text, str) else text for text in texts)
