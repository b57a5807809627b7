"""
Exact decimal quantities: no float touches a sum.

Readings and amounts are plain ints, multiples of 10^-18 (``Amount``), below 10^20 in size: 128 bits hold them. What a
record carries is a ``Quantity``: an amount times a rule's exact scale, a multiple of 10^-30, below 10^20.
"""

import re
from dataclasses import dataclass
from decimal import MAX_EMAX, MIN_EMIN, ROUND_HALF_EVEN, Context, Decimal
from typing import Final, TypeAlias

Amount: TypeAlias = int
"""A reading or an increment of one: an int in units of 10^-18."""

AMOUNT_PLACES: Final = 18
AMOUNT_ONE: Final = 10**AMOUNT_PLACES
AMOUNT_LIMIT: Final = 10**38
"""Amounts are smaller than this in size: below 10^20."""

QUANTITY_PLACES: Final = 30
QUANTITY_ONE: Final = 10**QUANTITY_PLACES
QUANTITY_LIMIT: Final = 10**50
"""Quantities are smaller than this many units in size: below 10^20."""

UNIT_FACTOR: Final = 10**12
"""The factor of a rule without a scale: a rule's scale has at most 12 places, its factor is scale x 10^12."""

_INTEGER_DIGITS: Final = 20
_INTEGER_LIMIT: Final = 10**_INTEGER_DIGITS
_EXACT_DOUBLE: Final = 2.0**53
_POWERS: Final[tuple[int, ...]] = tuple(10**n for n in range(QUANTITY_PLACES + 1))
_AMOUNT_STEP: Final = Decimal(1).scaleb(-AMOUNT_PLACES)
_WIDE: Final = Context(prec=80, rounding=ROUND_HALF_EVEN, Emin=MIN_EMIN, Emax=MAX_EMAX, traps=[])
_PLAIN: Final = re.compile(r"([+-]?)([0-9]{1,40})(?:\.([0-9]{1,60}))?")


def amount_from_int(value: int) -> Amount | None:
    """
    Return the integer as an amount; None when it is 10^20 or larger in size. Every int64 fits.
    """
    return value * AMOUNT_ONE if -_INTEGER_LIMIT < value < _INTEGER_LIMIT else None


def amount_from_double(value: float) -> Amount | None:
    """
    Return the double by its shortest decimal form, to the nearest multiple of 10^-18 (half-even); so 0.1 is one tenth.

    None for NaN, infinities and what is 10^20 or larger in size.
    """
    if -_EXACT_DOUBLE < value < _EXACT_DOUBLE and value.is_integer():
        return int(value) * AMOUNT_ONE
    text = repr(value)
    whole, dot, places = text.partition(".")
    if dot and len(places) <= AMOUNT_PLACES and places.isdigit():
        return int(whole + places) * _POWERS[AMOUNT_PLACES - len(places)]
    return amount_from_decimal(Decimal(text))


def amount_from_decimal(value: Decimal) -> Amount | None:
    """
    Return the decimal to the nearest multiple of 10^-18 (half-even); None for NaN, infinities, and from 10^20 on.
    """
    if not value.is_finite():
        return None
    if value.adjusted() >= _INTEGER_DIGITS:
        return None if value else 0
    amount = int(value.quantize(_AMOUNT_STEP, context=_WIDE).scaleb(AMOUNT_PLACES, context=_WIDE))
    return amount if -AMOUNT_LIMIT < amount < AMOUNT_LIMIT else None


def format_units(units: int, places: int = QUANTITY_PLACES) -> str:
    """
    Return ``units`` x 10^-``places`` as the shortest plain decimal: no exponent, no trailing zeros, "0" for zero.
    """
    digits = str(units)
    if len(digits) <= places + 1:  # "-" takes a place too
        sign, digits = ("-", digits[1:]) if units < 0 else ("", digits)
        digits = sign + digits.zfill(places + 1)
    rest = digits[-places:].rstrip("0")
    return f"{digits[:-places]}.{rest}" if rest else digits[:-places]


@dataclass(frozen=True, slots=True, order=True)
class Quantity:
    """
    An exact decimal of at most 30 places below 10^20 in size. ``units``: multiples of 10^-30.

    :raises OverflowError: when made with, or added up to, 10^20 or larger; a wrong number never comes out.
    """

    units: int

    def __post_init__(self) -> None:
        if not -QUANTITY_LIMIT < self.units < QUANTITY_LIMIT:
            raise OverflowError(f"making quantity {self.units}e-{QUANTITY_PLACES}: 10^20 or larger")

    @staticmethod
    def of(amount: Amount, factor: int = UNIT_FACTOR) -> "Quantity | None":
        """
        Return the exact product of an amount and a rule's factor (scale x 10^12); None when it is out of range.
        """
        units = amount * factor
        return Quantity(units) if -QUANTITY_LIMIT < units < QUANTITY_LIMIT else None

    @staticmethod
    def parse(text: str) -> "Quantity":
        """
        Read a plain decimal: ``12``, ``-0.5``; no exponent. Raises ValueError for all else, and out of range.
        """
        match = _PLAIN.fullmatch(text)
        places = ((match[3] or "").rstrip("0")) if match else ""
        if match is None or len(places) > QUANTITY_PLACES:
            raise ValueError(f"reading quantity {text!r}: not a plain decimal of at most {QUANTITY_PLACES} places")
        units = int(match[1] + match[2] + places) * _POWERS[QUANTITY_PLACES - len(places)]
        if not -QUANTITY_LIMIT < units < QUANTITY_LIMIT:
            raise ValueError(f"reading quantity {text!r}: 10^20 or larger")
        return Quantity(units)

    def __str__(self) -> str:
        return format_units(self.units)

    def __add__(self, other: "Quantity") -> "Quantity":
        return Quantity(self.units + other.units)

    def __sub__(self, other: "Quantity") -> "Quantity":
        return Quantity(self.units - other.units)

    def __neg__(self) -> "Quantity":
        return Quantity(-self.units)

    def __bool__(self) -> bool:
        return self.units != 0

    def __int__(self) -> int:
        whole = abs(self.units) // QUANTITY_ONE
        return -whole if self.units < 0 else whole

    @property
    def is_integral(self) -> bool:
        """
        Say whether ``int`` loses nothing.
        """
        return self.units % QUANTITY_ONE == 0

    def as_double(self) -> float | None:
        """
        Return the double whose shortest decimal form is this quantity; None when there is none.
        """
        double = float(str(self))
        shortest = Decimal(repr(double)).scaleb(QUANTITY_PLACES, context=_WIDE)
        return double if shortest == self.units else None
