"""
Random input of all types, orders, resets, repeats and restarts through the seam, against the model that shares no code.
"""

import random
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meterline.kernel import load_kernel
from meterline.testing.histories import Run, marked, play
from meterline.testing.kernel import KernelHarness
from meterline.testing.model import Claim, Model, ModelPoint
from meterline.testing.otlp import Metrics, Point
from meterline.testing.random_points import Replicas, Sender, Told, metrics_request


@given(st.integers(0, 2**32), st.integers(1, 40), st.sampled_from([2, 4, 20]))
def test_records_totals_and_balance_are_the_models(seed: int, requests: int, size: int) -> None:
    """
    Random points of all types, in requests of all sizes, resent, rolled back, restarted, evicted: equal to the last digit.
    """
    play(seed, requests, size)


@given(st.integers(0, 2**32), st.integers(1, 40), st.sampled_from([2, 4, 20]), st.sampled_from([Told, Replicas]))
def test_what_a_receiver_says_more_is_the_models(seed: int, requests: int, size: int, sender: type[Sender]) -> None:
    """
    The same with types that come late and change, writers that take turns, and points with identities of their own.
    """
    play(seed, requests, size, sender)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("sender", [Sender, Told, Replicas])
def test_long_histories(sender: type[Sender]) -> None:
    """
    The same for longer, so that epochs, intervals and windows run out.
    """
    first = random.randrange(2**32)
    print(f"seeds from {first}")  # noqa: T201 - shown when it fails
    for seed in range(first, first + 30):
        play(seed, requests=250, size=6, make=sender)


@given(st.integers(0, 2**32), st.sampled_from([2, 3, 7]))
def test_the_size_of_requests_does_not_matter(seed: int, size: int) -> None:
    """
    The same points one by one, in requests of any size mixed with other metrics, or all at once: the same records.
    """
    sender = Sender(random.Random(seed))
    drawn = [sender.point() for _ in range(40)]
    made = [each for each in drawn if not marked(each.point) and each.point.invalid is None]
    made.sort(key=lambda each: each.point.time)  # the order in which the points of one request are stepped
    records = []
    for step in (1, size, len(made) + 1):
        run = Run(random.Random(seed))
        for at in range(0, len(made), step):
            run.harness.send(metrics_request(made[at : at + step])[0])
        records.append(run.records())
    assert records[0] == records[1] == records[2]


@pytest.mark.parametrize("restart", [None, "frames", "snapshot"])
def test_a_double_that_only_repeats_an_int_is_not_forgotten(restart: Any) -> None:
    """
    The stream is in another scale from then on, and must be after a replay, or its next increment is wrong.
    """
    harness = KernelHarness(load_kernel())
    harness.send(Metrics().sum([Point(132, 132, 0)]))
    harness.send(Metrics().sum([Point(132, 132, 0.0)]).sum([Point(132, 134, 0.6)]))
    if restart:
        harness.restart(restart)
    harness.send(Metrics().sum([Point(132, 135, 0.9)]))
    assert harness.values() == {"acme": "0.9"}


def test_the_model_itself_on_the_vectors() -> None:
    """
    The judge agrees with the specification: T5, T8, T10 and T11 by hand.
    """
    histories = {
        36: [(100, 110, 10), (100, 120, 30), (125, 130, 4), (125, 140, 6)],
        15: [(0, 110, 1000), (0, 120, 1010), (0, 130, 3), (0, 140, 5)],
        105: [(100, 110, 100), (100, 120, 40), (100, 130, 45)],
        10 + 5: [(100, 110, 10), (105, 111, 3), (100, 120, 15)],
    }
    for expected, readings in histories.items():
        model = Model()
        point = ModelPoint("cumulative", "s", 0, 0)
        for start, time, value in readings:
            model.feed([replace(point, start=start, time=time, claims=(Claim("r", "c", "d", value),))])
        assert model.totals["c", "d"] == expected
