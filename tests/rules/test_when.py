"""
``when``: CEL whose errors and truthy values never bill anybody, and what is decided with the shape or per point.
"""

from collections.abc import Callable
from typing import Any

import pytest
from cel_expr_python import cel

from meterline.kernel.reasons import Reason
from meterline.kernel.seam import Bad, Fields, Temporality
from meterline.rules import Predicate, RuleError
from meterline.rules.cel_reads import reads_of

Make = Callable[..., Any]


def outcome(asking: Make, when: str, point: Any, **context: Any) -> Any:
    """
    Return False (no charge), True (a charge), or the failure of the charge.
    """
    charges = asking({"when": when}).verdict(point, **context).charges
    return (charges[0].failure or True) if charges else False


@pytest.mark.parametrize(
    ("when", "point", "expected"),
    [
        ('attributes["code"] < 500', {"code": 200}, True),
        ('attributes["code"] < 500', {"code": 500}, False),
        ('attributes["code"] < 500', {"code": 499.5}, True),
        ('attributes["code"] < 500', {}, Reason.RULE_ERROR),
        ('attributes["code"] < 500', {"code": "200"}, Reason.RULE_ERROR),
        ('attributes["code"] == "200"', {"code": 200}, False),
        ('"code" in attributes && attributes["code"] < 500', {}, False),
        ("has(attributes.code)", {"code": None}, True),
        ('attributes["a"]["b"] == 1', {"a": {"b": 1}}, True),
        ('attributes["l"][0] == "x"', {"l": ["x"]}, True),
        ('attributes["l"].exists(e, e == "x")', {"l": ["y", "x"]}, True),
        ('attributes["s"].matches("^/v[0-9]")', {"s": "/v1"}, True),
        ('attributes["x"] == null', {"x": None}, True),
        ('attributes["b"] == b"x"', {"b": b"x"}, True),
        ('attributes["a"] == 1 || true', {}, True),
        ('attributes["a"] == 1 && false', {}, False),
        ('attributes["a"] / attributes["b"] > 1', {"a": 1, "b": 0}, Reason.RULE_ERROR),
        ('attributes["a"] + 1 > 0', {"a": 2**63 - 1}, Reason.RULE_ERROR),
        ('attributes["flag"] == true', {"flag": True}, True),
        ('attributes.exists(k, k.startsWith("x-"))', {"x-1": 0}, True),
        ('attributes.exists(k, k.startsWith("x-"))', {"y": 0}, False),
        ("size(attributes) > 1", {"a": 1, "b": 2}, True),
        ('attributes[resource["key"]] == "v"', {"dyn": "v"}, True),
        ('resource["key"] == "dyn" && scope.name == "lib" && scope["tier"] == "gold"', {}, True),
        ('metric.name == "requests" && metric.unit == "1" && metric.type == "sum"', {}, True),
        ('metric.temporality == "delta" && metric.monotonic', {}, True),
    ],
)
def test_conditions_over_what_is_constant(asking: Make, when: str, point: Any, expected: Any) -> None:
    """True makes a claim, false none, and an error is a claim with rule_error: never true, never false."""
    context = {
        "resource": {"key": "dyn"},
        "scope_name": "lib",
        "scope": {"tier": "gold"},
        "temporality": Temporality.DELTA,
    }

    assert outcome(asking, when, point, **context) == expected


def test_an_error_is_a_truthy_text_in_the_library_and_an_exception_here() -> None:
    """The trap of cel-expr-python: an error's value is a non-empty text. The predicate raises instead."""
    predicate = Predicate('attributes["a"] < 1', log=False)

    with pytest.raises(RuleError, match="Key not found"):
        predicate.holds({"attributes": {}})


def test_a_result_that_is_a_truthy_text_is_refused_when_compiled(problems: Make) -> None:
    """An expression must be BOOL by type: a text, or a value of unknown type, is no condition."""
    for when in ('"false"', 'attributes["flag"]', "1", "resource"):
        (problem,) = problems({"when": when})
        assert (problem.where, problem.code) == ((0, "when"), "ML045")


def test_a_value_that_breaks_the_library_is_a_rule_error() -> None:
    """An exception inside the evaluation (here: a lone surrogate) is an error of the rule as well."""
    with pytest.raises(RuleError):
        Predicate('attributes["a"] == "x"', log=False).holds({"attributes": {"a": "\ud800"}})


@pytest.mark.parametrize(
    ("when", "fields"),
    [
        ('attributes["a.b"] == 1 && has(attributes.c) && "d" in attributes', {"a.b", "c", "d"}),
        ('attributes["a"]["b"] == 1', {"a"}),
        ('["x"].exists(attributes, attributes == "x")', set()),
        ('resource["r"] == "x"', set()),
        ('attributes["a"] == "x" || ["k"].exists(k, attributes[k] == "y")', None),
        ("attributes == attributes", None),
    ],
)
def test_constant_keys_become_fields(asking: Make, when: str, fields: set[str] | None) -> None:
    """Attributes read by a constant key are the projection; anything dynamic needs the whole point."""
    verdict = asking({"when": when}).context(resource={"r": "x"})

    assert (
        verdict.fields == Fields.ALL
        if fields is None
        else set(verdict.fields) == {("attributes", key) for key in fields}
    )


@pytest.mark.parametrize(
    ("expression", "whole", "keys"),
    [
        ("value > 3", {"value"}, set()),
        ('{"value": 1}["value"] == 1', set(), set()),
        ("[1].exists(value, value == 1)", set(), set()),
        ("[1].exists(v, v == value)", {"value"}, set()),
        ("[[1]].exists(value, value.exists(time, time == 1)) && value == 1", {"value"}, set()),
        ('.attributes["a"] == 1', set(), {("attributes", "a")}),
        ("type(value) == int", {"value", "int"}, set()),
        ('[attributes["x"]].map(e, [e, value]).size() > 0', {"value"}, {("attributes", "x")}),
        ("has(attributes.a) ? value > 1 : false", {"value"}, {("attributes", "a")}),
    ],
)
def test_what_an_expression_reads_is_found_exactly(
    expression: str, whole: set[str], keys: set[tuple[str, str]]
) -> None:
    """The syntax tree says what is read: bound names of comprehensions and texts that look alike do not count."""
    reads = Predicate(expression, log=False).reads

    assert (reads.whole, reads.keys) == (whole, keys)


def test_a_syntax_tree_that_is_not_understood_is_refused() -> None:
    """A newer library whose tree has another form cannot make a rule read less than it does."""
    whole, group = cel.NewEnv(variables={"value": cel.Type.DYN}).compile("value > 1").serialize(), b"\x0b\x0c"
    assert reads_of(whole).whole == {"value"}
    broken = (b"", b"\x12\x02\x22\x00", b"\x12\x04\x22\x02\x52\x00", b"\x0b", whole[:-1])
    for damaged in (*broken, group + whole, whole + group):
        with pytest.raises(ValueError, match="CEL syntax tree"):
            reads_of(damaged)


@pytest.mark.parametrize(
    ("when", "reading", "expected"),
    [
        ("value > 3", {"value": 4}, (1, 0)),
        ("value > 3", {"value": 3}, (0, 0)),
        ("value > 3", {"value": 3.5}, (1, 0)),
        ("value > 3", {"value": None}, (0, 1)),
        ('value > 3 && attributes["a"] == "x"', {"value": 4}, (1, 0)),
        ('value > 3 && attributes["b"] == "x"', {"value": 4}, (0, 1)),
        ('value > 3 && attributes["b"] == "x"', {"value": 1}, (0, 0)),
        ("count > 10", {"count": 11}, (1, 0)),
        ('time >= timestamp("2026-01-01T00:00:00Z")', {"time": 1_767_225_600 * 10**9}, (1, 0)),
        ('time >= timestamp("2026-01-01T00:00:00Z")', {"time": 1_767_225_600 * 10**9 - 1}, (0, 0)),
        ("time.getHours() < 6", {"time": 5 * 3600 * 10**9}, (1, 0)),
        ('attributes.exists(k, k == "a") && value > 0', {"value": 1}, (1, 0)),
    ],
)
def test_conditions_over_reading_and_time_are_gates(
    asking: Make, when: str, reading: Any, expected: tuple[int, int]
) -> None:
    """What reads value, count or time is a match, gated, and answered per point: held, or erred."""
    asked = asking({"when": when})
    point = {"a": "x"}

    assert asked.charge(point).gated
    assert asked.gates(point, **reading) == expected


def test_gates_answer_by_the_position_of_the_charge(asking: Make) -> None:
    """The masks have one bit a charge; charges without a gate have none."""
    asked = asking({"when": "value > 1"}, {}, {"when": "value < 1"}, {"when": 'value > attributes["missing"]'})

    assert asked.gates({}, value=5) == (0b0001, 0b1000)
    assert asked.gates({}, value=0) == (0b0100, 0b1000)


def test_a_gate_over_a_bad_value_errs(asking: Make) -> None:
    """A gate that must read a broken attribute is an error of the rule."""
    assert asking({"when": 'value > 1 && attributes["a"] == "x"'}).gates({"a": Bad(Reason.BAD_UTF8)}, value=2) == (0, 1)


def test_a_condition_over_a_bad_value_rejects(asking: Make) -> None:
    """A condition decided with the shape that must read a broken attribute quarantines the point."""
    assert asking({"when": 'attributes["a"] == "x"'}).verdict({"a": Bad(Reason.TOO_DEEP)}).reject is Reason.TOO_DEEP


def test_a_condition_over_the_context_is_decided_there(asking: Make) -> None:
    """A resource that fails the condition makes the context SKIP; one that errs stays, and fails as rule_error."""
    asked = asking({"when": 'resource["env"] == "prod"'})

    assert asked.context(resource={"env": "test"}).fields is Fields.SKIP
    assert asked.context(resource={"env": "prod"}).overflow == 1
    assert asked.verdict({}, resource={}).charges[0].failure is Reason.RULE_ERROR


@pytest.mark.parametrize(
    ("when", "record", "expected"),
    [
        ('severity == "ERROR"', {"severity": "ERROR"}, 1),
        ('severity == ""', {}, 1),
        ("severity_number >= 17", {"severity_number": 17}, 1),
        ('event_name == "pay"', {"event_name": "pay"}, 1),
        ('body == "text"', {"body": "text"}, 1),
        ('body.contains("ex")', {"body": "text"}, 1),
        ("body.n > 3", {"body": {"n": 4}}, 1),
        ('"x" in body', {"body": ["x"]}, 1),
        ("has(body.n) && body.n > 3", {"body": "text"}, 0),
        ('attributes.exists(k, k == "a") && severity == "ERROR"', {"severity": "ERROR", "attributes": {"a": 1}}, 1),
        ('attributes.exists(k, k == "a") && severity == "ERROR"', {"severity": "INFO", "attributes": {"a": 1}}, 0),
    ],
)
def test_conditions_over_logs(asking: Make, when: str, record: Any, expected: int) -> None:
    """Logs add body, severity, its number and the event name."""
    attributes = record.pop("attributes", {})
    asked = asking({"match": {"log": True}, "identity": "content", "when": when})

    charges = asked.log(attributes, **record).charges

    assert [charge.failure for charge in charges] == [None] * expected


def test_numbers_of_a_json_body_compare(asking: Make) -> None:
    """Numbers of a parsed body reach CEL as integers or doubles, whatever their size."""
    rule = {"match": {"log": True}, "identity": "content", "parse_body": "json"}
    for when in ("body.n == 3", "body.n < 3.5", "body.big > 1.0e30", 'body["list"][0] == 0.5'):
        asked = asking({**rule, "when": when})
        assert len(asked.log(body='{"n": 3, "big": 1e31, "list": [0.5]}').charges) == 1


@pytest.mark.parametrize(
    ("when", "log", "help_"),
    [
        ("body == 1", False, "`body` is there for logs only"),
        ("value > 1", True, "`value` is there for metrics only"),
        ("attribute == 1", False, "did you mean `attributes`?"),
        ('attributes.http.route == "/x"', False, 'write attributes["http.route"]'),
        ('metric.nmae == "x"', False, "did you mean `name`?"),
    ],
)
def test_mistakes_are_found_when_compiled(problems: Make, when: str, log: bool, help_: str) -> None:  # noqa: FBT001 - a parameter of the case
    """What can never work is an error of the config, with the remedy."""
    rule = {"match": {"log": True}, "identity": "content"} if log else {}

    (problem,) = problems({**rule, "when": when})

    assert problem.where == (0, "when")
    assert problem.help.startswith(help_)


def test_a_compile_error_says_where_it_is(problems: Make) -> None:
    """Offset and length point into the expression, also on its second line."""
    (problem,) = problems({"when": 'attributes["a"] == 1 &&\n  nope == 2'})

    assert (problem.offset, problem.length) == (26, 4)
    assert "undeclared reference to 'nope'" in problem.message
