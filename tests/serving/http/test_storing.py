"""
Several bodies and one answer; bodies that a decoder fails on.
"""

import itertools
import threading

from hypothesis import given
from hypothesis import strategies as st

from meterline.api import ANONYMOUS, Answer, Body, Format, ItemResult, Status
from meterline.serving.poison import quarantined_whole
from meterline.serving.seam import Decoded
from meterline.serving.storing import merged, store
from meterline.testing.fake_intake import FakeIntake

answers = st.builds(Answer, st.sampled_from(Status), st.integers(0, 9), st.integers(0, 9), st.sampled_from(["", "why"]))


@given(st.lists(answers, min_size=1, max_size=6))
def test_the_worst_answer_is_the_answer(given_answers: list[Answer]) -> None:
    """
    RETRY before UNDECODABLE before TOO_LARGE before STORED, in whatever order they come; points are summed up.
    """
    statuses = {answer.status for answer in given_answers}
    worst = next(s for s in (Status.RETRY, Status.UNDECODABLE, Status.TOO_LARGE, Status.STORED) if s in statuses)
    for order in itertools.islice(itertools.permutations(given_answers), 6):
        answer = merged(order)
        assert answer.status is worst
        assert answer.points == sum(a.points for a in given_answers)
        assert answer.rejected == (sum(a.rejected for a in given_answers) if worst is Status.STORED else 0)


def test_the_longest_delay_is_the_delay() -> None:
    """
    A sender comes again when the last of its bodies may be stored.
    """
    retries = [Answer(Status.RETRY, retry_after_secs=secs) for secs in (2.0, None, 7.0)]
    assert merged(retries).retry_after_secs == 7.0
    assert merged([Answer(Status.RETRY)]).retry_after_secs is None


def test_every_body_says_what_became_of_it() -> None:
    """
    Points and items that no point could be made of are bodies of their own: the sender is told of both, and nothing twice.
    """
    said = ["1 in quarantine (missing_customer: 1)", "", "2 in quarantine (duplicate_key: 2)"]
    answers = [Answer(Status.STORED, 3, 1, said[0]), Answer(Status.STORED, 1), Answer(Status.STORED, 2, 2, said[2])]
    assert merged(answers).message == f"{said[0]}; {said[2]}"
    assert merged([answers[0], answers[0]]).message == said[0]


def test_items_keep_their_order() -> None:
    """
    Results of several bodies are in the order of the bodies, whichever is answered first.
    """
    intake = FakeIntake()
    results = [ItemResult("recorded", f"{n:032x}") for n in range(3)]
    intake.script = [Answer(Status.STORED, 1, items=(result,)) for result in results]
    bodies = [Body(Format.USAGE, bytes([n])) for n in range(3)]
    told: list[Answer] = []
    done = threading.Event()
    store(intake, "r", ANONYMOUS, Decoded(bodies), lambda answer: (told.append(answer), done.set()))
    assert done.wait(10)
    assert told[0].items == tuple(results)
    assert len(told) == 1


def test_a_condemned_body_is_one_reject_without_the_errors_words() -> None:
    """
    The error's message may quote a payload; its type says enough.
    """
    (body,) = quarantined_whole(b"all of it", ValueError("secret")).bodies
    assert body.fmt is Format.REJECTS
    assert b"all of it" in body.data
    assert b"internal_error" in body.data
    assert b"ValueError" in body.data
    assert b"secret" not in body.data
