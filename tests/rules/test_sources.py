"""
Customers, dimensions and metadata: literals, selectors, templates, first-of lists, lookup tables.
"""

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meterline.kernel.reasons import Reason
from meterline.kernel.seam import Bad
from meterline.rules.selectors import parse_selector

Make = Callable[..., Any]

POINT = {"customer.id": "acme", "n": 7, "a": {"b": "nested", "b.c": "dotted"}, 'q"': "quoted", "empty": "", "real": 1.5}
CONTEXT = {
    "resource": {"service.name": "shop", "host": {"name": "h1"}},
    "scope_name": "lib",
    "scope_version": "2",
    "scope": {"tier": "gold", "name": "of the attribute"},
    "name": "requests",
    "unit": "{request}",
}


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        ('attributes["customer.id"]', "acme"),
        ("attributes['customer.id']", "acme"),
        ("attributes.customer.id", "acme"),
        ("attributes.n", "7"),
        ('attributes["a"]["b"]', "nested"),
        ('attributes["a"].b', "nested"),
        ('attributes["a"]["b.c"]', "dotted"),
        ("attributes.a.b", None),
        (r'attributes["q\""]', "quoted"),
        ("attributes['q\"']", "quoted"),
        ('attributes[ "n" ]', "7"),
        ('resource["service.name"]', "shop"),
        ("resource.service.name", "shop"),
        ('resource["host"]["name"]', "h1"),
        ("metric.name", "requests"),
        ("metric.unit", "{request}"),
        ("scope.name", "lib"),
        ("scope.version", "2"),
        ('scope["name"]', "of the attribute"),
        ("scope.tier", "gold"),
        ("resource", "resource"),
        ("attributes", "attributes"),
        ("metric.type", "metric.type"),
        ("acme", "acme"),
        ("a resource.x", "a resource.x"),
    ],
)
def test_selectors_and_literals(asking: Make, selector: str, expected: str | None) -> None:
    """A text that begins as a selector is one; everything else is itself."""
    assert asking({"customer": selector}).charge(POINT, **CONTEXT).customer == expected


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        ("body.a.b", "deep"),
        ('body["a"]["b"]', "deep"),
        ('body["x.y"]', "dotted"),
        ("body.x.y", None),
        ("severity", "WARN"),
    ],
)
def test_log_selectors(asking: Make, selector: str, expected: str | None) -> None:
    """In a body every dot nests; severity is a selector."""
    asked = asking({"match": {"log": True}, "customer": selector, "identity": "content"})

    (charge,) = asked.log(body={"a": {"b": "deep"}, "x.y": "dotted"}, severity="WARN").charges

    assert charge.customer == expected


def test_a_text_body_is_read_as_json_only_when_asked(asking: Make) -> None:
    """``parse_body: json`` makes body selectors read a text; without it a text has no fields."""
    rule = {"match": {"log": True, "body": {"event": "call"}}, "customer": "body.user.id", "identity": "content"}
    body = '{"event": "call", "user": {"id": 12}}'

    (charge,) = asking({**rule, "parse_body": "json"}).log(body=body).charges
    assert charge.customer == "12"
    assert asking(rule).log(body=body).charges == ()


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("acme", "acme"),
        (42, "42"),
        (-1, "-1"),
        (Decimal(12345678901234567890), "12345678901234567890"),
        ("", None),
        (True, None),
        (1.0, None),
        (Decimal("1.5"), None),
        (None, None),
        (b"acme", None),
        (["acme"], None),
        ({"id": "acme"}, None),
    ],
)
@pytest.mark.parametrize("key", ["customer", "dimension"])
def test_customer_and_dimension_are_text_or_integers(asking: Make, key: str, value: Any, expected: str | None) -> None:
    """Text stays, an integer becomes its decimal text; empty, non-scalar, fractional or absent is missing."""
    charge = asking({key: "attributes.x"}).charge({"x": value})

    assert getattr(charge, key) == expected
    assert asking({key: "attributes.x"}).charge({}).failure is Reason[f"MISSING_{key.upper()}"]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("x", "x"),
        ("", ""),
        (42, "42"),
        (True, "true"),
        (1.5, "1.5"),
        (1e21, "1000000000000000000000"),
        (b"x", "eA=="),
        ([1, "a", None, 0.5], '[1,"a",null,0.5]'),
        ({"b": [True], "a": Decimal("1.10")}, '{"a":1.1,"b":[true]}'),
        ({"é": 'q"'}, '{"é":"q\\""}'),
        ([float("nan"), float("inf"), b"x"], '["NaN","Infinity","eA=="]'),
        (Decimal("1e999999999"), "1E+999999999"),
        (None, None),
    ],
)
def test_metadata_is_canonical_text_or_compact_json(asking: Make, value: Any, expected: str | None) -> None:
    """Scalars become their canonical text, the rest compact JSON with sorted keys; null and absent are left out."""
    charge = asking({"metadata": {"m": "attributes.x", "k": "fixed"}}).charge({"x": value})

    assert dict(charge.metadata) == ({"m": expected} if expected is not None else {}) | {"k": "fixed"}
    assert dict(asking({"metadata": {"m": "attributes.x"}}).charge({}).metadata) == {}


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("${attributes.n}", "7"),
        ('c-${attributes["customer.id"]}', "c-acme"),
        ('${resource["service.name"]}/${metric.name}', "shop/requests"),
        ("$$${attributes.n}", "$7"),
        ("$${attributes.n}", "${attributes.n}"),
        ("5$", "5$"),
        ("a$$b", "a$b"),
        ("${attributes.n}${attributes.n}", "77"),
        ("x${attributes.missing}", None),
        ("x${attributes.empty}", None),
        ("x${attributes.real}", None),
        ("""${attributes["a"]['b']}}""", "nested}"),
    ],
)
def test_templates(asking: Make, template: str, expected: str | None) -> None:
    """``${selector}`` stands for its value, ``$$`` for a dollar sign; a part that is missing makes the whole missing."""
    assert asking({"customer": template}).charge(POINT, **CONTEXT).customer == expected


@pytest.mark.parametrize(
    ("parse_body", "template", "body", "expected"),
    [
        ({}, "x-${body}", "acme", "x-acme"),
        ({}, "x-${body}", {"a": 1}, None),
        ({"parse_body": "json"}, "x-${body}", "[1]", None),
        ({"parse_body": "json"}, "x-${body.n}", '{"n": 12345678901234567890}', "x-12345678901234567890"),
    ],
)
def test_a_template_can_name_the_whole_body(
    asking: Make, *, parse_body: Any, template: str, body: Any, expected: str | None
) -> None:
    """``${body}`` is the body itself: a text, or what JSON makes of it."""
    asked = asking({"match": {"log": True}, "identity": "content", "customer": template, **parse_body})

    (charge,) = asked.log(body=body).charges

    assert charge.customer == expected


def test_a_resource_that_is_no_mapping_inside_has_no_fields(asking: Make) -> None:
    """A path into a scalar is absent; a broken value on the way is broken."""
    rule = {"customer": 'resource["a"]["b"]'}

    assert asking(rule).charge(resource={"a": "x"}).customer is None
    assert asking(rule).verdict(resource={"a": Bad(Reason.TOO_DEEP)}).reject is Reason.TOO_DEEP


def test_a_quoted_brace_does_not_end_a_template(asking: Make) -> None:
    """A key may have a closing brace in its quotes."""
    assert asking({"customer": 'x${attributes["a}b"]}'}).charge({"a}b": "y"}).customer == "xy"


@pytest.mark.parametrize(
    ("point", "expected"),
    [({"a": "1", "b": "2"}, "1"), ({"a": "", "b": "2"}, "2"), ({"a": True}, "nobody"), ({}, "nobody")],
)
def test_a_list_takes_the_first_that_is_there(asking: Make, point: Any, expected: str) -> None:
    """A list of sources answers with the first that is not missing."""
    assert asking({"customer": ["attributes.a", "attributes.b", "nobody"]}).charge(point).customer == expected


CSV = 'key,customer,tier\nk1,acme,gold\n0042,globex,silver\n\n"a,b",initech,\n'
YAML = "k1: acme\n0042: globex\nk3: {name: initech, tier: gold}\n"


def looked_up(asking: Make, tmp_path: Path, name: str, text: str, point: Any, **options: Any) -> str | None:
    """
    Write a table, and look a customer up in it by attribute ``k``.
    """
    (tmp_path / name).write_text(text, encoding="utf-8")
    lookup = {"file": name, "key": "attributes.k", **options}
    answer: str | None = asking({"customer": {"lookup": lookup}}).charge(point).customer
    return answer


@pytest.mark.parametrize(
    ("key", "options", "expected"),
    [
        ("k1", {}, "acme"),
        ("0042", {}, "globex"),
        ("a,b", {}, "initech"),
        (42, {}, None),
        ("K1", {}, None),
        ("k1", {"value_column": "tier"}, "gold"),
        ("acme", {"key_column": "customer", "value_column": "key"}, "k1"),
        ("a,b", {"value_column": "tier"}, None),
        ("none", {"default": "other"}, "other"),
        ("none", {"default": "${attributes.k}!"}, "none!"),
        (None, {"default": "other"}, "other"),
        (["k1"], {}, None),
    ],
)
def test_csv_tables(asking: Make, tmp_path: Path, key: Any, options: Any, expected: str | None) -> None:
    """A CSV table answers by its columns; keys are texts as written; an empty answer is none; a default steps in."""
    assert looked_up(asking, tmp_path, "t.csv", CSV, {"k": key}, **options) == expected


@pytest.mark.parametrize(("key", "expected"), [("k1", "acme"), ("0042", "globex"), (42, None)])
def test_yaml_tables(asking: Make, tmp_path: Path, key: Any, expected: str | None) -> None:
    """A YAML mapping answers with keys and values as written: 0042 is not 42."""
    text = YAML.splitlines(keepends=True)
    assert looked_up(asking, tmp_path, "t.yaml", "".join(text[:2]), {"k": key}) == expected


def test_yaml_tables_with_fields(asking: Make, tmp_path: Path) -> None:
    """``value_column`` names the field of nested entries."""
    assert looked_up(asking, tmp_path, "t.yaml", YAML.splitlines()[2], {"k": "k3"}, value_column="tier") == "gold"


def test_lookups_stand_in_lists_and_metadata(asking: Make, tmp_path: Path) -> None:
    """A lookup is a source like any other."""
    (tmp_path / "t.csv").write_text(CSV)
    lookup = {"lookup": {"file": "t.csv", "key": "${attributes.p}${attributes.k}"}}
    rule = {"customer": [lookup, "attributes.k"], "metadata": {"found": lookup}}

    assert asking(rule).charge({"p": "k", "k": "1"}).customer == "acme"
    assert asking(rule).charge({"p": "k", "k": "9"}).customer == "9"
    assert asking(rule).charge({"p": "k", "k": "1"}).metadata == (("found", "acme"),)


def test_bad_values_that_a_source_reads_reject_the_point(asking: Make) -> None:
    """A customer, dimension or metadata value that cannot be read quarantines the point as raw."""
    for rule in ({"customer": "attributes.x"}, {"dimension": "a-${attributes.x}"}, {"metadata": {"m": "attributes.x"}}):
        assert asking(rule).verdict({"x": Bad(Reason.BAD_UTF8)}).reject is Reason.BAD_UTF8


def test_a_bad_value_inside_metadata_rejects_the_point(asking: Make) -> None:
    """Nested broken values count as read when the whole is written out."""
    assert asking({"metadata": {"m": "attributes.x"}}).verdict({"x": [Bad(Reason.TOO_DEEP)]}).reject is Reason.TOO_DEEP


@given(st.lists(st.text(min_size=1), min_size=1, max_size=3))
def test_any_key_can_be_quoted(keys: list[str]) -> None:
    """A selector can name every key there is, with backslashes before quotes and backslashes."""
    text = "attributes" + "".join('["' + key.replace("\\", "\\\\").replace('"', '\\"') + '"]' for key in keys)

    assert parse_selector(text).path == ("attributes", *keys)
