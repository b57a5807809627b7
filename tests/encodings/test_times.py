"""
Times are exact to the nanosecond, whatever they are written as.
"""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meterline.api.config import start_instant
from meterline.encodings.times import nanoseconds
from meterline.times import parse_rfc3339, rfc3339, to_the_second

SECOND = 10**9
AT = 1_795_346_017


@pytest.mark.parametrize(
    ("written", "time"),
    [
        ("2026-11-22T11:00:00.123Z", 1_795_345_200_123_000_000),
        ("2026-11-22T11:00:00.123456Z", 1_795_345_200_123_456_000),
        ("2026-11-22T11:00:00.123456789Z", 1_795_345_200_123_456_789),
        ("2026-11-22T11:00:00.1234567899Z", 1_795_345_200_123_456_789),
        ("2026-11-22T11:00:00Z", 1_795_345_200 * SECOND),
        ("2026-11-22t11:00:00z", 1_795_345_200 * SECOND),
        ("2026-11-22 11:00:00.5", 1_795_345_200_500_000_000),
        ("2026-11-22 11:00:00,5 UTC", 1_795_345_200_500_000_000),
        ("2026-11-22T13:00:00+02:00", 1_795_345_200 * SECOND),
        ("2026-11-22T09:30:00-0130", 1_795_345_200 * SECOND),
        ("2016-12-31T23:59:60Z", 1_483_228_800 * SECOND),
        (AT, AT * SECOND),
        (1_795_346_017.93592, 1_795_346_017_935_920_000),
        (Decimal("1795346017.935926123"), 1_795_346_017_935_926_123),
        ("1795346017.935926123", 1_795_346_017_935_926_123),
        (AT * 1000 + 1, AT * SECOND + 10**6),
        (AT * 10**6 + 1, AT * SECOND + 10**3),
        (AT * SECOND + 1, AT * SECOND + 1),
        (str(AT * SECOND + 1), AT * SECOND + 1),
    ],
)
def test_auto_reads_what_senders_write(written: Any, time: int) -> None:
    """Texts and numbers of seconds, milliseconds, microseconds and nanoseconds come to the very nanosecond."""
    assert nanoseconds(written) == time


@pytest.mark.parametrize(
    "written",
    [
        "",
        "yesterday",
        "2026-13-01T00:00:00Z",
        "2026-02-30T00:00:00Z",
        "2026-11-22T24:00:00Z",
        "2026-11-22T11:60:00Z",
        "2026-11-22",
        "2026-11-22T11:00:00+24:00",
        "2026-11-22T11:00:00+01:60",
        "1960-01-01T00:00:00Z",
        "9999-12-31T00:00:00Z",
        "١٧٩٥٣٤٦٠١٧",
        -1,
        0,
        2**64,
        10**400,
        Decimal("1E+999999"),
        float("nan"),
        float("inf"),
        True,
        None,
        [],
        {},
    ],
)
def test_what_is_no_time_is_none(written: Any) -> None:
    """What cannot be read, is before 1970 or after 2554, is no time: 0."""
    assert nanoseconds(written) == 0


@pytest.mark.parametrize(
    ("written", "form", "time"),
    [
        (AT, "s", AT * SECOND),
        (AT, "ms", AT * 10**6),
        (AT, "us", AT * 10**3),
        (AT, "ns", AT),
        (AT, "rfc3339", 0),
        ("2026-11-22T11:00:00Z", "s", 0),
        (str(AT), "s", AT * SECOND),
        (str(AT), "rfc3339", 0),
        (0.001, "ms", 1000),
    ],
)
def test_a_named_form_is_the_only_one(written: Any, form: Any, time: int) -> None:
    """With a form other than auto nothing is guessed."""
    assert nanoseconds(written, form) == time


@given(st.integers(1, 2**64 - 1))
def test_every_nanosecond_survives(time: int) -> None:
    """A Decimal of seconds, and its text, give back the very nanosecond."""
    seconds = Decimal(time).scaleb(-9)

    assert nanoseconds(seconds, "s") == time
    assert nanoseconds(format(seconds, "f"), "s") == time


@given(st.one_of(st.text(), st.floats(), st.integers(), st.decimals(), st.none(), st.binary()))
def test_nothing_else_ever_comes_out(written: Any) -> None:
    """Whatever is given, the result is a time of 64 bits."""
    assert 0 <= nanoseconds(written) < 2**64


@given(st.integers(-62_135_596_800 * SECOND, 253_402_300_800 * SECOND - 1))
def test_what_is_written_is_read_back(time: int) -> None:
    """A time of the years 1 to 9999, written as RFC 3339, is the same nanosecond again, and without decimals the second."""
    assert parse_rfc3339(rfc3339(time)) == time
    assert parse_rfc3339(to_the_second(time)) == time // SECOND * SECOND


def test_times_as_texts() -> None:
    """Nanoseconds become RFC 3339, with nine decimals or none."""
    time = 1_795_372_756_000_000_042

    assert (rfc3339(time), to_the_second(time)) == ("2026-11-22T18:39:16.000000042Z", "2026-11-22T18:39:16Z")


@pytest.mark.parametrize(
    "written",
    [
        "2026-11-22T11:00:00",
        "2026-11-22T11:00:00,5Z",
        "2026-11-22T11:00:00 UTC",
        "2026-11-22T11:00:00UTC",
        "2026-11-22T11:00:00+0200",
        "2026-11-22T11:00:00.1234567891Z",
        "2026-11-22T11:00Z",
        "2026-W47-7T11:00:00Z",
        "2026-02-30T00:00:00Z",
        "\u0662026-11-22T11:00:00Z",
        "",
    ],
)
def test_our_own_times_are_full(written: str) -> None:
    """What senders may leave out or write in other ways is refused in a config, with the way to write it."""
    with pytest.raises(ValueError, match="write it as 2026-01-31T00:00:00Z"):
        parse_rfc3339(written)


def test_an_exporter_starts_at_the_very_nanosecond() -> None:
    """The ``start`` of an exporter is a full time, as precise as it was written, or one of two words."""
    assert start_instant("2026-11-22T13:00:00.000000001+02:00") == 1_795_345_200 * SECOND + 1
    assert (start_instant("now"), start_instant("beginning")) == ("now", "beginning")
    for wrong in ("2026-11-22", "2026-11-22T11:00:00", "20261122T110000Z", "later"):
        with pytest.raises(ValueError, match="is not now, beginning, or an RFC 3339 time"):
            start_instant(wrong)
