"""
What activation is told of each rule, against the definition spelled out.
"""

from itertools import pairwise
from typing import Any

import apsw
from hypothesis import given
from hypothesis import strategies as st

from meterline.generations import RuleKey
from meterline.ledger import open_reader, schema
from meterline.ledger.generations import activate

NAMES = ("a", "b", "c")
RULE_SETS = st.dictionaries(st.sampled_from(NAMES), st.sampled_from("xyz"))


def keys(rules: dict[str, str]) -> list[RuleKey]:
    """The rule keys of name -> match hash."""
    return [RuleKey(name, match) for name, match in sorted(rules.items())]


def test_the_same_rules_keep_their_generation(ledger: Any, clock: Any) -> None:
    """A restart with the same rule set changes nothing, however much later."""
    first = ledger.activate_rules("h1", keys({"a": "x"}), "text")
    clock.advance(3600)
    assert ledger.activate_rules("h1", keys({"a": "x"}), "text") == first
    assert (first.gen, first.since, first.continuous_from_gen) == (1, {"a": clock.wall - 3600 * 10**9}, {"a": 1})


def test_an_edit_elsewhere_keeps_since(ledger: Any, clock: Any) -> None:
    """A rule whose match stays has its old instant in the next generation; a changed one begins now, a new one too."""
    t1 = clock.wall
    ledger.activate_rules("h1", keys({"a": "x", "b": "x"}), "1")
    clock.advance(10)
    second = ledger.activate_rules("h2", keys({"a": "x", "b": "y", "c": "x"}), "2")
    assert second.gen == 2
    assert second.since == {"a": t1, "b": clock.wall, "c": clock.wall}
    assert second.continuous_from_gen == {"a": 1, "b": 1, "c": 2}


def test_going_back_is_a_new_generation(ledger: Any, clock: Any) -> None:
    """Rules A, B, A are three generations: a rule that B lacked was interrupted."""
    for rules_hash, rules in (("h1", {"a": "x"}), ("h2", {"b": "x"})):
        ledger.activate_rules(rules_hash, keys(rules), rules_hash)
        clock.advance(1)
    third = ledger.activate_rules("h1", keys({"a": "x"}), "h1")
    assert (third.gen, third.since, third.continuous_from_gen) == (3, {"a": clock.wall}, {"a": 3})


def test_generations_survive_and_are_read(open_ledger: Any, path: Any) -> None:
    """After a restart the generation is the same one, and its text can be read."""
    ledger = open_ledger()
    first = ledger.activate_rules("h1", keys({"a": "x"}), "rules: []")
    ledger.close()
    assert open_ledger().activate_rules("h1", keys({"a": "x"}), "rules: []") == first
    with open_reader(path) as reader:
        assert reader.rules(1).text == "rules: []"
        assert reader.rules(2) is None


@given(st.lists(RULE_SETS, min_size=1, max_size=8))
def test_continuous_is_as_defined(history: list[dict[str, str]]) -> None:
    """Present in every generation since, with at most one change of match in between; and no earlier generation has that."""
    connection = apsw.Connection(":memory:")
    schema.create(connection)
    for gen, rules in enumerate(history, start=1):
        got = activate(connection, f"h{gen}", keys(rules), "", gen)
        assert got.gen == gen
        assert got.continuous_from_gen == {name: continuous_from(history[:gen], name) for name in rules}
        assert got.since == {name: since(history[:gen], name) for name in rules}


def continuous_from(history: list[dict[str, str]], name: str) -> int:
    """The definition, word by word."""
    for first in range(1, len(history) + 1):
        run = [rules.get(name) for rules in history[first - 1 :]]
        if None not in run and sum(a != b for a, b in pairwise(run)) <= 1:
            return first
    raise AssertionError("the last generation alone fits")


def since(history: list[dict[str, str]], name: str) -> int:
    """The time (here: number) of the generation in which the unbroken run with the present match began."""
    gen = len(history)
    while gen > 1 and history[gen - 2].get(name) == history[-1][name]:
        gen -= 1
    return gen
