"""
Remote write against any bytes, and against any series that can be written.
"""

import contextlib
import struct
from functools import partial
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from meterline.api import TooLargeError, UndecodableError
from meterline.encodings.prometheus import Verdict, transcode
from meterline.encodings.prometheus_read import read_v1, read_v2
from meterline.encodings.prometheus_series import SeriesReader
from meterline.testing.cost import least_cpu_secs
from meterline.testing.remote_write import STALE_BITS, Written, field, histogram, request_v1, request_v2, sample

READERS = [read_v1, read_v2]
texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)
values = st.floats(allow_nan=True, allow_infinity=True)
series = st.builds(
    Written,
    st.dictionaries(texts, texts, max_size=5).map(lambda labels: {**labels, "__name__": "m"}),
    st.lists(st.builds(sample, values, st.integers(0, 10**12)), max_size=3),
    st.lists(st.builds(histogram, st.integers(0, 2**64 - 1), values, st.integers(0, 10**12)), max_size=2),
    st.integers(0, 2),
    metric_type=st.just(0),
    created=st.just(0),
)


def run(read: Any, body: bytes) -> None:
    """
    Read and transcode; nothing but a refusal for good may come of it.
    """
    with contextlib.suppress(UndecodableError, TooLargeError):
        request = read(body, SeriesReader(("cluster", "__replica__")))
        transcode(request, "", lambda _: Verdict("counter"))


@pytest.mark.parametrize("read", READERS)
@given(body=st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(read: Any, body: bytes) -> None:
    """
    Nothing but a refusal for good comes out.
    """
    run(read, body)


@pytest.mark.parametrize(("read", "write"), [(read_v1, request_v1), (read_v2, request_v2)], ids=["v1", "v2"])
@given(written=st.lists(series, max_size=4), at=st.integers(0, 10_000), byte=st.integers(0, 255))
def test_a_byte_that_changed_is_read_or_refused(read: Any, write: Any, written: Any, at: int, byte: int) -> None:
    """
    The same for requests that are nearly right.
    """
    body = bytearray(write(written))
    if body:
        body[at % len(body)] = byte
    run(read, bytes(body))


@given(written=st.lists(series, max_size=6))
def test_both_versions_make_the_same_of_the_same_series(written: list[Written]) -> None:
    """
    What the versions share means the same in both, value by value.
    """
    one = transcode(read_v1(request_v1(written), SeriesReader(None)), "t", lambda _: Verdict("counter"))
    two = transcode(read_v2(request_v2(written), SeriesReader(None)), "t", lambda _: Verdict("counter"))

    assert one == two
    assert one.samples == sum(len(item.samples) for item in written)


@pytest.mark.parametrize(
    "tiny",
    [field(1, b""), field(1, field(2, b"") * 1), field(3, b""), field(1, field(2, b"\x10\x01") + field(1, b""))],
    ids=["series", "samples", "metadata", "turned"],
)
def test_many_tiny_parts_cost_linear_time(tiny: bytes) -> None:
    """
    Ten times as many parts cost about ten times as much.
    """
    took = [least_cpu_secs(partial(run, read_v1, tiny * count)) for count in (6_000, 60_000)]
    assert took[1] < 40 * took[0]


def test_labels_after_samples_cost_linear_time() -> None:
    """
    Labels that trickle in behind a sample are put together once.
    """
    bodies = [field(1, field(2, b"") + field(1, field(1, b"n")) * count) for count in (5_000, 50_000)]
    took = [least_cpu_secs(partial(run, read_v1, body)) for body in bodies]
    assert took[1] < 40 * took[0]


@given(value=values.filter(lambda value: value != 0 and struct.pack("<d", value) != struct.pack("<Q", STALE_BITS)))
@example(5e-324)
@example(float("-inf"))
def test_every_double_keeps_its_bits(value: float) -> None:
    """
    No arithmetic touches a value on its way; zeros of both signs are left out by senders.
    """
    body = request_v1([Written({"__name__": "m"}, [sample(value, 5)])])

    (made,) = transcode(read_v1(body, SeriesReader(None)), "", lambda _: Verdict("counter")).bodies

    assert struct.pack("<d", value) in made.data
