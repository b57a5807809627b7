"""
``match``: each form of a condition, what can be told from the context alone, and an independent oracle.
"""

import fnmatch
import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from meterline.kernel.reasons import Reason
from meterline.kernel.seam import ABSENT, Bad, Fields, PointType, Temporality

Make = Callable[..., Any]


def hits(asking: Make, condition: Any, value: Any) -> bool:
    """
    Say whether a rule with this condition on attribute ``x`` matches a point with this value.
    """
    rule = {"match": {"metric": "requests", "attributes": {"x": condition}}}
    return bool(asking(rule).verdict({} if value is ABSENT else {"x": value}).charges)


@pytest.mark.parametrize(
    ("condition", "value", "expected"),
    [
        ("GET", "GET", True),
        ("GET", "get", False),
        ("GET", "GETS", False),
        (200, 200, True),
        (200, "200", True),
        ("200", 200, True),
        (200, 200.0, True),
        (200, "200.0", False),
        (True, True, True),
        (True, "true", True),
        ("true", True, True),
        (True, 1, False),
        (1, True, False),
        (0.1, 0.1, True),
        ("0.1", 0.1, True),
        (1.5, Decimal("1.50"), True),
        ("eA==", b"x", True),
        ("x", ABSENT, False),
        ("None", None, False),
        ("x", ["x"], False),
        ("x", {"x": 1}, False),
        ("NaN", float("nan"), True),
    ],
)
def test_a_scalar_compares_by_canonical_text(asking: Make, condition: Any, value: Any, *, expected: bool) -> None:
    """Scalars are equal when their canonical texts are: 200 equals "200" and 200.0, true equals "true"."""
    assert hits(asking, condition, value) is expected


@pytest.mark.parametrize(
    ("glob", "value", "expected"),
    [
        ("/v1/*", "/v1/users/1", True),
        ("/v1/*", "/v1/", True),
        ("/v1/*", "/v1", False),
        ("*", "", True),
        ("a?c", "abc", True),
        ("a?c", "ac", False),
        ("a*c", "a\nb/c", True),
        ("a.c", "abc", False),
        ("a.*", "abc", False),
        ("[ab]*", "[ab]x", True),
        ("[ab]*", "ax", False),
        ("2*", 200, True),
        ("*", ABSENT, False),
        ("a?c", "a\U0001f600c", True),
    ],
)
def test_stars_and_question_marks_make_a_glob(asking: Make, glob: str, value: Any, *, expected: bool) -> None:
    """A match value with * or ? is a glob over the whole text, every character included."""
    assert hits(asking, glob, value) is expected
    assert hits(asking, {"glob": glob}, value) is expected


@pytest.mark.parametrize(
    ("condition", "value", "expected"),
    [
        (["GET", "HEAD"], "HEAD", True),
        (["GET", "HEAD"], "POST", False),
        ([200, "3*"], 304, True),
        ({"in": [200, 201]}, "201", True),
        ({"in": ["a*"]}, "abc", True),
        ({"equals": "a*"}, "a*", True),
        ({"equals": "a*"}, "ab", False),
        ({"regex": "^/v[0-9]+/"}, "/v12/x", True),
        ({"regex": "b"}, "abc", True),
        ({"regex": "^b"}, "abc", False),
        ({"regex": "(?i)get"}, "GET", True),
        ({"exists": True}, "", True),
        ({"exists": True}, None, True),
        ({"exists": True}, ABSENT, False),
        ({"exists": False}, ABSENT, True),
        ({"exists": False}, "x", False),
        ({"gte": 200, "lt": 300}, 200, True),
        ({"gte": 200, "lt": 300}, 300, False),
        ({"gte": 200, "lt": 300}, "299.9", True),
        ({"gt": 200}, 200, False),
        ({"lte": 0.1}, 0.1, True),
        ({"lt": "0.30000000000000004"}, 0.3, True),
        ({"lt": 0.3}, 0.30000000000000004, False),
        ({"gte": 9007199254740993}, 9007199254740992, False),
        ({"gte": 0}, "zero", False),
        ({"gte": 0}, True, False),
        ({"gte": 0}, float("nan"), False),
        ({"gte": 0}, ABSENT, False),
        ({"gte": 0}, "1e3", False),
        ({"gte": 0, "glob": "2*"}, 20, True),
        ({"gte": 0, "glob": "2*"}, 30, False),
    ],
)
def test_lists_regexes_existence_and_ranges(asking: Make, condition: Any, value: Any, *, expected: bool) -> None:
    """Each form of a condition holds exactly when its page says so; several in one mapping must all hold."""
    assert hits(asking, condition, value) is expected


def test_a_regular_expression_takes_linear_time(asking: Make) -> None:
    """A pattern that backtracks for ever elsewhere answers at once, on text of a stranger."""
    assert hits(asking, {"regex": "^(a+)+$"}, "a" * 100_000 + "!") is False


@pytest.mark.parametrize(
    ("match", "context", "expected"),
    [
        ({"metric": "requests"}, {}, True),
        ({"metric": "request"}, {}, False),
        ({"metric": "req*"}, {}, True),
        ({"metric": ["x", "requests"]}, {}, True),
        ({"metric": {"regex": "quest"}}, {}, True),
        ({"metric": "*", "unit": "By"}, {}, False),
        ({"metric": "*", "unit": ["1", "{request}"]}, {}, True),
        ({"metric": "*", "type": "sum"}, {}, True),
        ({"metric": "*", "type": "gauge"}, {}, False),
        ({"metric": "*", "type": "*histogram"}, {"type": PointType.EXPONENTIAL_HISTOGRAM}, True),
        ({"metric": "*", "resource": {"env": "prod"}}, {"resource": {"env": "prod"}}, True),
        ({"metric": "*", "resource": {"env": "prod"}}, {"resource": {"env": "test"}}, False),
        ({"metric": "*", "resource": {"env": "prod"}}, {}, False),
        ({"metric": "*", "resource": {"env": {"exists": False}}}, {}, True),
        ({"metric": "*", "scope": {"name": "lib*"}}, {"scope_name": "library"}, True),
        ({"metric": "*", "scope": {"version": 1}}, {"scope_version": "1"}, True),
        ({"metric": "*", "scope": {"name": "lib"}}, {"scope": {"name": "lib"}}, False),
        ({"metric": "*", "scope": {"tier": "a"}}, {"scope": {"tier": "a"}}, True),
        ({"log": True}, {}, False),
        ({"metric": "*"}, {"type": PointType.LOG, "name": ""}, False),
    ],
)
def test_what_a_context_decides(asking: Make, match: Any, context: Any, *, expected: bool) -> None:
    """Metric, unit, type, resource and scope decide before any point is looked at; nothing possible is SKIP."""
    extra = {"identity": "content"} if "log" in match else {}
    asked = asking({"match": match, **extra})

    verdict = asked.context(**context)

    assert (verdict.fields is not Fields.SKIP) is expected
    assert verdict.overflow == int(expected)


def test_fields_are_only_what_the_possible_rules_read(asking: Make) -> None:
    """The projection has each path once, of the rules that can match this context, and of no other."""
    asked = asking(
        {"match": {"metric": "requests", "attributes": {"a": 1}}, "customer": 'attributes["c"]'},
        {"match": {"metric": "req*", "attributes": {"a": 1}}, "customer": "${attributes.d}-${resource.e}"},
        {"match": {"metric": "other", "attributes": {"z": 1}}},
    )

    assert asked.context().fields == (("attributes", "a"), ("attributes", "c"), ("attributes", "d"))


def test_a_context_is_its_own_shape_where_no_point_is_read(asking: Make) -> None:
    """A rule that reads nothing of a point asks for no fields, so that its verdict is asked once."""
    asked = asking({})

    assert asked.context().fields == ()
    assert asked.charge().customer == "acme"


def test_log_parts_match(asking: Make) -> None:
    """Logs match by attributes, body fields, severity and event name."""
    match = {"log": True, "severity": "ERROR", "event_name": "pay*", "body": {"order.kind": "new"}}
    asked = asking({"match": match, "identity": "content"})
    record = {"severity": "ERROR", "event_name": "payment", "body": {"order": {"kind": "new"}}}

    assert len(asked.log(**record).charges) == 1
    assert asked.log(**{**record, "severity": "INFO"}).charges == ()
    assert asked.log(**{**record, "body": {"order.kind": "new"}}).charges == ()
    assert asked.log(**{**record, "event_name": "x"}).charges == ()


def test_a_bad_value_that_a_rule_must_read_rejects_the_point(asking: Make) -> None:
    """A value that cannot be read quarantines the point when a rule had to read it."""
    asked = asking({"match": {"metric": "*", "attributes": {"a": "x", "b": "y"}}})
    bad = Bad(Reason.BAD_UTF8)

    assert asked.verdict({"a": bad, "b": "y"}).reject is Reason.BAD_UTF8
    assert asked.verdict({"a": "x", "b": Bad(Reason.TOO_DEEP)}).reject is Reason.TOO_DEEP


def test_a_bad_value_beside_a_condition_that_fails_is_not_needed(asking: Make) -> None:
    """Where another condition already says no, in any order, the bad value does not matter: unmatched, not quarantined."""
    bad = Bad(Reason.BAD_UTF8)
    for keys in (("a", "b"), ("b", "a")):
        asked = asking({"match": {"metric": "*", "attributes": dict.fromkeys(keys, "x")}})
        verdict = asked.verdict({"a": bad, "b": "other"})

        assert (verdict.charges, verdict.reject) == ((), None)


def test_a_bad_resource_value_rejects_only_what_needs_it(asking: Make) -> None:
    """A resource value that cannot be read leaves the decision to the shape."""
    asked = asking({"match": {"metric": "*", "resource": {"r": "x"}, "attributes": {"a": "1"}}})
    resource = {"r": Bad(Reason.UNDECODABLE_VALUE)}

    assert asked.verdict({"a": "1"}, resource=resource).reject is Reason.UNDECODABLE_VALUE
    assert asked.verdict({"a": "2"}, resource=resource).reject is None
    assert asked.context(resource=resource).overflow == 1


def test_a_bad_value_that_nobody_reads_is_none_of_the_rules_business(asking: Make) -> None:
    """Attributes that no rule names may be anything."""
    asked = asking({"match": {"metric": "*", "attributes": {"a": {"exists": True}}}})

    assert asked.verdict({"a": Bad(Reason.BAD_UTF8), "b": Bad(Reason.TOO_DEEP)}).reject is None
    assert len(asked.verdict({"a": 1, "b": Bad(Reason.TOO_DEEP)}).charges) == 1


SCALARS = st.one_of(
    st.booleans(), st.integers(-5, 300), st.sampled_from([0.5, 200.0, 1e21, -0.0]), st.text("ab*?12.", max_size=3)
)
CONDITIONS = st.one_of(
    SCALARS,
    st.lists(SCALARS, max_size=3),
    st.fixed_dictionaries({"exists": st.booleans()}),
    st.fixed_dictionaries({"gte": st.integers(-5, 300)}, optional={"lt": st.integers(-5, 300)}),
    st.fixed_dictionaries({"regex": st.sampled_from(["a", "^a", "b$", "^1.*2$"])}),
)
VALUES = st.one_of(st.just(ABSENT), st.none(), SCALARS, st.lists(st.integers(), max_size=1))


def oracle(condition: Any, value: Any) -> bool:
    """
    The rules of ``match`` once more, in the plainest way.
    """
    if isinstance(condition, dict):
        return all(_clause(key, wanted, value) for key, wanted in condition.items())
    wanted = condition if isinstance(condition, list) else [condition]
    text = _text(value)
    return text is not None and any(_like(_text(one), text) for one in wanted)


def _clause(key: str, wanted: Any, value: Any) -> bool:
    if key == "exists":
        return (value is not ABSENT) is wanted
    text = _text(value)
    if key == "regex":
        return text is not None and re.search(wanted, text) is not None
    if text is None or isinstance(value, bool) or not re.fullmatch(r"-?\d+(\.\d+)?", text):
        return False
    return Decimal(text) >= wanted if key == "gte" else Decimal(text) < wanted


def _text(value: Any) -> str | None:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{Decimal(repr(value)).normalize() + 0:f}"
    return str(value) if isinstance(value, int | str) else None


def _like(pattern: str | None, text: str) -> bool:
    assert pattern is not None
    return fnmatch.fnmatchcase(text, pattern.replace("[", "[[]"))


@settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture], max_examples=200)
@given(
    conditions=st.dictionaries(st.sampled_from("xy"), CONDITIONS, max_size=2),
    point=st.dictionaries(st.sampled_from("xy"), VALUES),
)
def test_match_agrees_with_an_oracle(asking: Make, conditions: Any, point: Any) -> None:
    """Random conditions on random values: the compiled match and the plain one agree."""
    present = {key: value for key, value in point.items() if value is not ABSENT}
    expected = all(oracle(condition, present.get(key, ABSENT)) for key, condition in conditions.items())

    verdict = asking({"match": {"metric": "requests", "attributes": conditions}}).verdict(present)

    assert bool(verdict.charges) is expected


@settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture], max_examples=100)
@given(
    patterns=st.lists(st.text("ab*?", min_size=1, max_size=3), min_size=1, max_size=4),
    name=st.text("ab", min_size=1, max_size=3),
)
def test_the_index_by_name_loses_no_rule(asking: Make, patterns: list[str], name: str) -> None:
    """Exact names and globs are found through the index exactly as by trying every rule, in the order of the file."""
    rules = [{"match": {"metric": pattern}, "dimension": f"d{at}"} for at, pattern in enumerate(patterns)]

    charges = asking(*rules).verdict(name=name).charges

    expected = [f"d{at}" for at, pattern in enumerate(patterns) if _like(pattern, name)]
    assert [charge.dimension for charge in charges] == expected


def test_temporality_does_not_decide_a_match(asking: Make) -> None:
    """Cumulative and delta points of one name match alike."""
    assert asking({}).context(temporality=Temporality.CUMULATIVE).fields == ()
