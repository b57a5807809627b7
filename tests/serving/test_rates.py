"""
Rates of principals: how much passes, and when the next comes in.
"""

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meterline.api import Limits, OverloadedError, Principal
from meterline.serving.rates import Rates


@dataclass
class StoodClock:
    """
    A monotonic clock that stands until it is moved.
    """

    secs: float = 0.0

    def monotonic(self) -> float:
        return self.secs

    def now_ns(self) -> int:
        return 0


def limited(name: str = "p", **limits: float) -> Principal:
    """
    Return a principal with these rates.
    """
    return Principal(name, limits=Limits(**limits))  # type: ignore[arg-type]


def refused(rates: Rates, principal: Principal, nbytes: int = 0) -> OverloadedError:
    """
    Return how a request is refused, which it must be.
    """
    with pytest.raises(OverloadedError) as caught:
        rates.admit(principal, nbytes)
    return caught.value


def test_without_a_rate_everything_passes() -> None:
    """
    A principal without rates costs no bucket.
    """
    rates = Rates(StoodClock())

    for _ in range(1000):
        rates.admit(limited(), 10**9)
        rates.spend(limited(), 10**9, 10**9)

    assert rates._buckets == {}


def test_requests_pass_at_their_rate() -> None:
    """
    A second's worth at once, then one for each part of a second; the refusal says when.
    """
    clock = StoodClock()
    rates, principal = Rates(clock), limited(max_requests_per_sec=4)
    for _ in range(4):
        rates.admit(principal)

    error = refused(rates, principal)

    assert "'p' is over its max_requests_per_sec (4)" in str(error)
    assert error.retry_after_secs == pytest.approx(0.25)
    clock.secs = 0.25
    rates.admit(principal)
    refused(rates, principal)


def test_less_than_one_request_a_second_is_a_rate_too() -> None:
    """
    One request in ten seconds: the first passes, the next ten seconds later.
    """
    clock = StoodClock()
    rates, principal = Rates(clock), limited(max_requests_per_sec=0.1)
    rates.admit(principal)

    assert refused(rates, principal).retry_after_secs == pytest.approx(10)
    clock.secs = 10
    rates.admit(principal)


@pytest.mark.parametrize("kind", ["bytes", "points"])
def test_a_large_request_passes_and_is_paid_off(kind: str) -> None:
    """
    However large, a request passes while there is no debt; after it nothing passes until it is paid.
    """
    clock = StoodClock()
    rates, principal = Rates(clock), limited(**{f"max_{kind}_per_sec": 100})
    rates.admit(principal)
    rates.spend(principal, 1000 * (kind == "points"), 1000 * (kind == "bytes"))

    assert refused(rates, principal).retry_after_secs == pytest.approx(9)
    clock.secs = 8.9
    refused(rates, principal)
    clock.secs = 9.0
    rates.admit(principal)


def test_principals_do_not_spend_each_others() -> None:
    """
    One that is over its rate holds up nobody else.
    """
    rates = Rates(StoodClock())
    rates.admit(limited("a", max_requests_per_sec=1))
    refused(rates, limited("a", max_requests_per_sec=1))

    rates.admit(limited("b", max_requests_per_sec=1))


def test_a_refused_request_costs_nothing() -> None:
    """
    Who comes again too soon is not set back further.
    """
    clock = StoodClock()
    rates, principal = Rates(clock), limited(max_requests_per_sec=1, max_bytes_per_sec=10)
    rates.admit(principal, 10)
    for _ in range(100):
        refused(rates, principal, 10)

    clock.secs = 1.0
    rates.admit(principal, 10)


@given(st.lists(st.tuples(st.floats(0, 3), st.integers(0, 500)), max_size=60), st.integers(1, 100))
def test_no_more_passes_than_the_rate_and_one_burst(sends: list[tuple[float, int]], rate: int) -> None:
    """
    Whatever is sent when, what passed before the last request is within the time's worth and a second's.
    """
    clock = StoodClock()
    rates, principal = Rates(clock), limited(max_bytes_per_sec=rate)
    passed = last = 0
    for pause, nbytes in sends:
        clock.secs += pause
        try:
            rates.admit(principal, nbytes)
        except OverloadedError:
            continue
        passed, last = passed + nbytes, nbytes

    assert passed - last <= rate * (clock.secs + 1) + 1e-6


def test_the_number_of_buckets_is_bounded() -> None:
    """
    A provider's tokens may name ever new principals; those that were away longest are forgotten first.
    """
    rates = Rates(StoodClock())
    rates.admit(limited("kept", max_requests_per_sec=1))
    for number in range(10_050):
        if number % 1000 == 0:
            refused(rates, limited("kept", max_requests_per_sec=1))
        rates.admit(limited(f"p{number}", max_requests_per_sec=1))

    assert len(rates._buckets) <= 10_000
    refused(rates, limited("kept", max_requests_per_sec=1))
