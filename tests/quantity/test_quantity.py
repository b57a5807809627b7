"""
Exact decimals: conversions, range, text, arithmetic. The oracle is ``fractions``, which shares nothing with the code.
"""

import itertools
import math
import random
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meterline.quantity import (
    AMOUNT_LIMIT,
    Quantity,
    amount_from_decimal,
    amount_from_double,
    amount_from_int,
    format_units,
)

ONE = 10**18
DOUBLES = st.floats(allow_nan=False, allow_infinity=False)
UNITS = st.integers(min_value=-(10**50) + 1, max_value=10**50 - 1)


def nearest(value: Fraction) -> int:
    """
    Return the nearest multiple of 10^-18, half-even, by rational arithmetic.
    """
    return round(value * ONE)


def test_int64_extremes_are_exact() -> None:
    """
    The smallest and largest int64 become amounts without loss.
    """
    assert amount_from_int(2**63 - 1) == (2**63 - 1) * ONE
    assert amount_from_int(-(2**63)) == -(2**63) * ONE


def test_integers_from_ten_to_the_twenty_are_refused() -> None:
    """
    10^20 is the first integer out of range, on both sides.
    """
    assert amount_from_int(10**20 - 1) == (10**20 - 1) * ONE
    assert (amount_from_int(10**20), amount_from_int(-(10**20))) == (None, None)


@pytest.mark.parametrize(
    ("value", "amount"),
    [
        (0.1, 10**17),
        (-0.0, 0),
        (5e-324, 0),
        (1e-18, 1),
        (5e-19, 0),
        (1.5e-18, 2),
        (2.5e-18, 2),
        (5.1e-19, 1),
        (1e19, 10**37),
        (99999999999999980000.0, 99999999999999980000 * ONE),
        (2.0**60, 1152921504606847000 * ONE),
        (123456789.125, 123456789125 * 10**15),
    ],
)
def test_doubles_count_by_their_shortest_decimal(value: float, amount: int) -> None:
    """
    A double is what it prints, to the nearest 10^-18, ties to even.
    """
    assert amount_from_double(value) == amount


@pytest.mark.parametrize("value", [1e20, -1e20, 1e308, math.inf, -math.inf, math.nan])
def test_doubles_out_of_range_are_none(value: float) -> None:
    """
    Too large, infinite and NaN are an error value, never a number.
    """
    assert amount_from_double(value) is None


@given(DOUBLES)
def test_any_double_is_its_repr_rounded_half_even(value: float) -> None:
    """
    Over all doubles the amount is the rational value of the repr, rounded half-even, or None from 10^20 on.
    """
    expected = nearest(Fraction(repr(value)))
    assert amount_from_double(value) == (expected if abs(expected) < AMOUNT_LIMIT else None)


@given(st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**22), max_value=10**22))
def test_any_decimal_is_rounded_half_even(value: Decimal) -> None:
    """
    Decimals go to the nearest 10^-18 whatever their exponent and digits.
    """
    expected = nearest(Fraction(value))
    assert amount_from_decimal(value) == (expected if abs(expected) < AMOUNT_LIMIT else None)


@pytest.mark.parametrize(
    ("text", "amount"),
    [("1E+1000000", None), ("1E-1000000", 0), ("0E+999999", 0), ("NaN", None), ("-Infinity", None), ("sNaN", None)],
)
def test_extreme_decimals_cost_nothing(text: str, amount: int | None) -> None:
    """
    A huge exponent, from a JSON body, is answered at once.
    """
    assert amount_from_decimal(Decimal(text)) == amount


def test_rounding_up_to_the_limit_is_out_of_range() -> None:
    """
    What rounds to 10^20 is refused, though it is below.
    """
    assert amount_from_decimal(Decimal("99999999999999999999.9999999999999999999")) is None


@given(st.lists(DOUBLES.filter(lambda x: abs(x) < 1e19), min_size=2, max_size=20))
def test_increments_telescope(readings: list[float]) -> None:
    """
    The increments of a series of readings add up to last - first, with no drift.
    """
    amounts = [amount_from_double(reading) or 0 for reading in readings]
    assert sum(b - a for a, b in itertools.pairwise(amounts)) == amounts[-1] - amounts[0]


@given(st.lists(st.integers(-(10**45), 10**45), min_size=1, max_size=30), st.randoms(use_true_random=False))
def test_sums_in_any_order_are_equal(units: list[int], shuffler: random.Random) -> None:
    """
    Addition is exact, so its order does not matter.
    """
    shuffled = list(units)
    shuffler.shuffle(shuffled)
    first, second = Quantity(0), Quantity(0)
    for a, b in zip(units, shuffled, strict=True):
        first, second = first + Quantity(a), second + Quantity(b)
    assert first == second
    assert first - second == Quantity(0)


@given(UNITS)
def test_text_is_the_shortest_plain_decimal_and_reads_back(units: int) -> None:
    """
    Text and back is the identity; no exponent, no trailing zero, no leading zero, no minus zero.
    """
    text = str(Quantity(units))
    assert Fraction(text) == Fraction(units, 10**30)
    assert Quantity.parse(text) == Quantity(units)
    assert "e" not in text.lower()
    assert not ("." in text and text.endswith(("0", ".")))
    assert text == "0" or not text.lstrip("-").startswith("00")
    assert text != "-0"


@pytest.mark.parametrize(
    ("text", "units"),
    [
        ("12", 12 * 10**30),
        ("-0.5", -5 * 10**29),
        ("+1.50", 15 * 10**29),
        ("-0", 0),
        ("-0.000", 0),
        ("0." + "0" * 29 + "1", 1),
    ],
)
def test_parse_reads_plain_decimals(text: str, units: int) -> None:
    """
    Signs, leading and trailing zeros are understood.
    """
    assert Quantity.parse(text).units == units


@pytest.mark.parametrize(
    "text",
    [
        "",
        " 1",
        "1 ",
        "1.",
        ".5",
        "1e3",
        "NaN",
        "inf",
        "0x1",
        "1_000",
        "\u0661",
        "1\n",
        "--1",
        "0." + "0" * 30 + "1",
        "1" + "0" * 20,
    ],
)
def test_parse_refuses_all_else(text: str) -> None:
    """
    Exponents, spaces, foreign digits, 31 places and 10^20 are ValueErrors that show the text.
    """
    with pytest.raises(ValueError, match="reading quantity"):
        Quantity.parse(text)


@given(st.integers(-AMOUNT_LIMIT + 1, AMOUNT_LIMIT - 1), st.integers(-(10**24), 10**24))
def test_scaling_is_the_exact_product_or_none(amount: int, factor: int) -> None:
    """
    Amount times factor is exact in units of 10^-30; from 10^20 on it is None.
    """
    product = Fraction(amount, 10**18) * Fraction(factor, 10**12)
    quantity = Quantity.of(amount, factor)
    assert (quantity is None) == (abs(product) >= 10**20)
    assert quantity is None or Fraction(quantity.units, 10**30) == product


def test_out_of_range_raises_instead_of_a_wrong_number() -> None:
    """
    A sum that leaves the range is an OverflowError.
    """
    largest = Quantity(10**50 - 1)
    with pytest.raises(OverflowError, match="10\\^20 or larger"):
        largest + Quantity(1)
    with pytest.raises(OverflowError, match="10\\^20 or larger"):
        Quantity(-(10**50))


@given(UNITS, UNITS)
def test_order_and_hash_follow_the_number(a: int, b: int) -> None:
    """
    Comparison is that of the numbers; equal quantities hash equal.
    """
    assert (Quantity(a) < Quantity(b)) == (a < b)
    assert (Quantity(a) == Quantity(b)) == (a == b)
    assert hash(Quantity(a)) == hash(Quantity(a))


@given(UNITS)
def test_int_truncates_and_is_integral_says_when_it_loses_nothing(units: int) -> None:
    """
    ``int`` goes toward zero like all of Python's.
    """
    quantity = Quantity(units)
    assert int(quantity) == math.trunc(Fraction(units, 10**30))
    assert quantity.is_integral == (int(quantity) * 10**30 == units)


@given(DOUBLES.filter(lambda x: abs(x) < 1e20))
def test_as_double_gives_back_the_double_it_came_from(value: float) -> None:
    """
    A double with at most 30 places survives the round trip; one that needs more has no exact double here.
    """
    units = Fraction(repr(value)) * 10**30
    if units.denominator == 1:
        assert Quantity(int(units)).as_double() == value


def test_as_double_is_none_when_digits_would_be_lost() -> None:
    """
    2^53 + 1 and 0.1 plus 10^-30 are no double's shortest form.
    """
    assert Quantity.parse("9007199254740993").as_double() is None
    assert Quantity.parse("0.100000000000000000000000000001").as_double() is None
    assert Quantity.parse("0.1").as_double() == 0.1


def test_format_units_with_fewer_places() -> None:
    """
    The same formatter prints amounts of 18 places.
    """
    assert format_units(15 * 10**17, 18) == "1.5"
    assert format_units(-1, 18) == "-0.000000000000000001"
