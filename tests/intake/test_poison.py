"""
Bodies that no attempt can do anything with.
"""

from meterline.poison import CONDEMNED, MAX_BODIES, Poison

ERROR = ZeroDivisionError("planted")


def test_a_body_is_condemned_the_third_time() -> None:
    """It is counted by what read it and by its bytes; from the third time on there is a reason."""
    poison = Poison()
    for count in range(1, CONDEMNED):
        assert poison.blame("a", b"x", ERROR) == count
        assert poison.reason("a", b"x") is None
    for count in (CONDEMNED, CONDEMNED + 1):
        assert poison.blame("a", b"x", ERROR) == count
        assert poison.reason("a", b"x") == "ZeroDivisionError: planted"
    for kind, body in (("b", b"x"), ("a", b"y")):
        assert poison.reason(kind, body) is None
        assert poison.blame(kind, body, ERROR) == 1


def test_the_bodies_that_failed_last_are_remembered() -> None:
    """Of very many bodies those are forgotten whose last failure is the longest ago."""
    poison = Poison()
    for body in (b"old", b"again", b"again"):
        poison.blame("a", body, ERROR)
    for number in range(MAX_BODIES - 2):
        poison.blame("a", str(number).encode(), ERROR)
    poison.blame("a", b"again", ERROR)
    poison.blame("a", b"one more", ERROR)

    assert poison.reason("a", b"again") == "ZeroDivisionError: planted"
    assert poison.blame("a", b"old", ERROR) == 1
